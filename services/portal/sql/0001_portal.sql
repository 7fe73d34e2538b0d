-- What one hub has gathered for its learners. Nothing here says who anybody is: learners are a pseudonym and a keyed
-- hash, and what credentials say is encrypted under a key for each learner.

CREATE TABLE subscriber (
    pseudonym     text PRIMARY KEY CHECK (length(pseudonym) = 43),
    -- The learner's data key under the portal's key-encryption key. Without this row her credentials can't be read.
    wrapped_key   bytea       NOT NULL,
    -- HMAC(index key, scheme, number); null while events came before the registration's answer.
    lookup        bytea UNIQUE,
    created_at    timestamptz NOT NULL,
    registered_at timestamptz
);

CREATE TABLE credential (
    handle     text PRIMARY KEY CHECK (length(handle) = 43),
    pseudonym  text        NOT NULL REFERENCES subscriber ON DELETE CASCADE,
    kind       text        NOT NULL,
    provider   text        NOT NULL,
    -- Notices that told of it: a fetch that began before the last of them does not count as the newest.
    notices    bigint      NOT NULL DEFAULT 1,
    -- When it is to be fetched (again); null: what is here is the newest that is known of.
    fetch_at   timestamptz,
    attempts   integer     NOT NULL DEFAULT 0,
    -- The artefact, sealed; null until fetched for the first time.
    content    bytea,
    status     text CHECK (status IN ('valid', 'suspended', 'revoked', 'unknown')),
    fetched_at timestamptz,
    CHECK ((content IS NULL) = (fetched_at IS NULL) AND (content IS NULL) = (status IS NULL))
);
CREATE INDEX credential_pseudonym ON credential (pseudonym);
CREATE INDEX credential_fetch_at ON credential (fetch_at) WHERE fetch_at IS NOT NULL;

CREATE TABLE session (
    id         bytea PRIMARY KEY, -- SHA-256 of the cookie: a reader of this table can't log in
    lookup     bytea       NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX session_expires_at ON session (expires_at);
