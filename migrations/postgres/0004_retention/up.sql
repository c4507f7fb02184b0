-- What deals that are removed had moved, as one row for each holder, so that the deals that stay and this still add up
-- to every wallet, store and market. Holders that other moves change too (world, entities, void) have one row together,
-- of kind 1 under the nil id: so all rows of a commodity add up to zero.
CREATE TABLE carried (
    kind      SMALLINT NOT NULL,
    id        BYTEA    NOT NULL CHECK (octet_length(id) = 16),
    place     BYTEA    NOT NULL CHECK (octet_length(place) = 16),
    commodity SMALLINT NOT NULL,
    amount    BIGINT   NOT NULL,
    PRIMARY KEY (kind, id, place, commodity)
);

CREATE INDEX deals_by_age ON deals (created_at);
CREATE INDEX entities_gone_by_age ON entities (updated_at) WHERE deleted;
