DROP TABLE identities;
DROP TABLE registrations;
DROP TABLE session_tokens;
DROP TABLE sessions;
