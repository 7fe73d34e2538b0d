-- Results that learners import from elsewhere (EMREX), from the moment one asks for them. What says something of her
-- is sealed under her key and goes with her row.

CREATE TABLE emrex_import (
    id           uuid PRIMARY KEY,
    pseudonym    text        NOT NULL REFERENCES subscriber ON DELETE CASCADE,
    -- The data provider that she chose, by its acronym.
    provider     text        NOT NULL,
    -- SHA-256 of the session id that its answer brings: a reader of this table can't answer.
    session_hash bytea       NOT NULL UNIQUE CHECK (length(session_hash) = 32),
    -- The session id; sealed.
    session_id   bytea       NOT NULL,
    -- The day of birth that the log-in says; sealed. Null until she has confirmed by one that it is her, and again once
    -- the answer is here.
    birth_date   bytea,
    begun_at     timestamptz NOT NULL,
    -- From when on nothing is left of it; null: she keeps it.
    expires_at   timestamptz,
    -- Null until the answer is here.
    code         text CHECK (code IN ('NCP_OK', 'NCP_CANCEL', 'NCP_ERROR', 'NCP_NO_RESULTS')),
    answered_at  timestamptz,
    -- SHA-256 of the answer, to know it again when a browser sends it twice.
    digest       bytea,
    -- How sure it is that the results are hers.
    match        text CHECK (match IN ('same', 'unsure')),
    -- The ELMO document; of an error, what the provider says of it. Sealed.
    content      bytea,
    CHECK ((code IS NULL) = (answered_at IS NULL) AND (code IS NULL) = (digest IS NULL)),
    CHECK ((match IS NULL) = (code IS DISTINCT FROM 'NCP_OK'))
);
CREATE INDEX emrex_import_pseudonym ON emrex_import (pseudonym);
CREATE INDEX emrex_import_expires_at ON emrex_import (expires_at);
