-- The same schema as migrations/sqlite/0001_world. Tables are made in the first schema of the search path.

-- The last stored state of every entity. A deleted row stays: it holds the fence that keeps an older write from
-- bringing the entity back.
CREATE TABLE entities (
    id         BYTEA    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind       SMALLINT NOT NULL,
    owner      BYTEA    NULL CHECK (length(owner) = 16),
    sector_x   INTEGER  NOT NULL,
    sector_y   INTEGER  NOT NULL,
    epoch      BIGINT   NOT NULL,
    version    BIGINT   NOT NULL,
    tick       BIGINT   NOT NULL,
    record     BYTEA    NOT NULL,
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

-- By the collation "C", lower() changes ASCII letters only, as it does in SQLite.
CREATE TABLE accounts (
    id            BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT   COLLATE "C" NOT NULL,
    password_hash TEXT   NOT NULL,
    ship_id       BYTEA  NULL CHECK (length(ship_id) = 16),
    created_at    BIGINT NOT NULL
);

CREATE UNIQUE INDEX accounts_by_name ON accounts (lower(name));

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- What marks a schema as Sidereal's, so that no other program's is taken for one.
COMMENT ON TABLE meta IS 'SDRL';
