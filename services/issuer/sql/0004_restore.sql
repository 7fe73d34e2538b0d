-- What a restore of this database to an earlier instant did not bring back (docs/decisions/0014): nothing is passed over
-- in silence.

-- When the issuer was reconciled after a restore.
CREATE TABLE restore (
    reconciled_at timestamptz PRIMARY KEY
);

-- Credentials that the log has and this table's database has no longer: issued after the instant of the restore. They
-- are what they were to whoever holds them; their institutions can end them by id, and ask for new ones.
CREATE TABLE lost_credential (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    -- From the leaf's event; null where a release wrote it that did not say.
    id uuid UNIQUE,
    provider text,
    request_id uuid,
    status_list text,
    status_index integer,
    issued_at timestamptz,
    restore timestamptz NOT NULL REFERENCES restore,
    UNIQUE (status_list, status_index),
    CHECK (num_nulls(id, provider, request_id, status_list, status_index, issued_at) IN (0, 6))
);
