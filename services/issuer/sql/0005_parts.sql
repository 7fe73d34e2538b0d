-- Which credentials were counted towards which, as the institution stated that issued the whole.
CREATE TABLE counted_part (
    -- The whole's id. No foreign key: erasing its learner deletes these rows, and leaves the credential's.
    whole uuid NOT NULL,
    -- Keyed hash of the part's status list and index: what a revocation is matched by. In clear it would link the
    -- two credentials for whoever reads the table.
    place bytea NOT NULL CHECK (octet_length(place) = 32),
    -- The part as the institution stated it, sealed under the key of the whole's learner.
    part bytea NOT NULL,
    -- When the institution stated the parts anew, without this one; null: it counts.
    until timestamptz,
    PRIMARY KEY (whole, place)
);

CREATE INDEX counted_part_of_place ON counted_part (place);

-- Places of status lists where something was revoked, anybody's, by the same keyed hash. A row does not wait for a whole
-- that counts it: which of the two comes first, the revocation or the whole, does not matter.
CREATE TABLE revoked_place (
    place bytea PRIMARY KEY CHECK (octet_length(place) = 32),
    -- When the ledger recorded it.
    revoked_at timestamptz NOT NULL
);
