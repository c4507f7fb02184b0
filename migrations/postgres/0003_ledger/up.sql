-- Who has how much: one row for each holder and commodity that ever moved. Whatever one holder gets another one
-- gives, so that all rows of a commodity add up to zero. Holders, by kind: 0 the world (what rocks were born with,
-- as a debt), 1 an entity (rock, hold, crate), 2 an account's wallet, 3 an account's store at the station `place`,
-- 4 a station's market, 5 the void. Commodities: 1 ore, 2 credits.
CREATE TABLE balances (
    kind      SMALLINT NOT NULL,
    id        BYTEA    NOT NULL CHECK (octet_length(id) = 16),
    place     BYTEA    NOT NULL CHECK (octet_length(place) = 16),
    commodity SMALLINT NOT NULL,
    amount    BIGINT   NOT NULL,
    PRIMARY KEY (kind, id, place, commodity),
    CHECK (amount >= 0 OR kind IN (0, 4))
);

-- Every deal that was done, by the key that its asker gave it: asked for again, it is found here.
CREATE TABLE deals (
    id         BYTEA   NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    account    BYTEA   NOT NULL CHECK (octet_length(account) = 16),
    bargain    BYTEA   NOT NULL,
    answer     TEXT   NOT NULL,
    run        BYTEA   NOT NULL CHECK (octet_length(run) = 16),
    tick       BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- What each deal moved; the lines of a deal add up to zero in each commodity.
CREATE TABLE postings (
    deal      BYTEA    NOT NULL CHECK (octet_length(deal) = 16),
    line      SMALLINT NOT NULL,
    kind      SMALLINT NOT NULL,
    id        BYTEA    NOT NULL CHECK (octet_length(id) = 16),
    place     BYTEA    NOT NULL CHECK (octet_length(place) = 16),
    commodity SMALLINT NOT NULL,
    delta     BIGINT   NOT NULL,
    PRIMARY KEY (deal, line)
);

CREATE INDEX postings_by_holder ON postings (kind, id, place, commodity);
