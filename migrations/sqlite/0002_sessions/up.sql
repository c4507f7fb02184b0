-- A log in that lasts: what a player comes back with, without the password. It ends when it was not used for long.
CREATE TABLE sessions (
    id         BLOB   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id BLOB   NOT NULL REFERENCES accounts (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_by_account ON sessions (account_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- The tokens that a session had: the one without rotated_at is the present one. Only SHA-256 of a token is kept.
CREATE TABLE session_tokens (
    token_hash BLOB   NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    session_id BLOB   NOT NULL REFERENCES sessions (id),
    issued_at  BIGINT NOT NULL,
    rotated_at BIGINT NULL
);

CREATE INDEX session_tokens_by_session ON session_tokens (session_id, issued_at);

-- Keys of registrations, so that one that is sent again makes no second account.
CREATE TABLE registrations (
    idempotency_key TEXT   NOT NULL PRIMARY KEY,
    account_id      BLOB   NOT NULL REFERENCES accounts (id),
    created_at      BIGINT NOT NULL
);

CREATE INDEX registrations_by_age ON registrations (created_at);

-- Who an account is to another issuer of tokens.
CREATE TABLE identities (
    issuer     TEXT   NOT NULL,
    subject    BLOB   NOT NULL CHECK (length(subject) = 16),
    account_id BLOB   NOT NULL UNIQUE REFERENCES accounts (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
