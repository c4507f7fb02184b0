-- What marks a file as Sidereal's ("SDRL"), so that no other program's database is taken for one.
PRAGMA application_id = 1396986444;

-- The last stored state of every entity. A deleted row stays: it holds the fence that keeps an older write from
-- bringing the entity back.
CREATE TABLE entities (
    id         BLOB     NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind       SMALLINT NOT NULL,
    owner      BLOB     NULL CHECK (length(owner) = 16),
    sector_x   INTEGER  NOT NULL,
    sector_y   INTEGER  NOT NULL,
    epoch      BIGINT   NOT NULL,
    version    BIGINT   NOT NULL,
    tick       BIGINT   NOT NULL,
    record     BLOB     NOT NULL,
    deleted    BOOLEAN  NOT NULL DEFAULT FALSE,
    updated_at BIGINT   NOT NULL
);

-- A sector's load; owned entities come with their account instead.
CREATE INDEX entities_by_sector ON entities (sector_x, sector_y) WHERE NOT deleted AND owner IS NULL;

-- The sectors that were generated and stored: what is missing there is really gone.
CREATE TABLE sectors (
    x                 INTEGER NOT NULL,
    y                 INTEGER NOT NULL,
    generated_at_tick BIGINT  NOT NULL,
    PRIMARY KEY (x, y)
);

CREATE TABLE accounts (
    id            BLOB   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    ship_id       BLOB   NULL CHECK (length(ship_id) = 16),
    created_at    BIGINT NOT NULL
);

CREATE UNIQUE INDEX accounts_by_name ON accounts (lower(name));

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
