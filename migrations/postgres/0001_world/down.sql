DROP TABLE meta;
DROP TABLE accounts;
DROP TABLE sectors;
DROP TABLE entities;
