-- What the archives acts keep of learners who were erased (docs/decisions/0026). It is with the keys, since this database
-- is never restored to an earlier instant: what an erasure restricted was readable by a key that is gone.
CREATE TABLE archived_credential (
    credential uuid PRIMARY KEY,
    provider text NOT NULL,
    -- AES-256 key of its own, sealed under the key-encryption key named by `wrapped_by`: without it, once its time is
    -- over, the content is nothing.
    wrapped bytea NOT NULL,
    wrapped_by text NOT NULL,
    -- vitne.issuer.v1.IssuedCredential with all artefacts, sealed.
    content bytea NOT NULL,
    archived_at timestamptz NOT NULL
);

-- Who read it, and why; written before it is answered.
CREATE TABLE archive_reading (
    provider text NOT NULL,
    request_id uuid NOT NULL,
    credential uuid NOT NULL REFERENCES archived_credential ON DELETE CASCADE,
    -- vitne.issuer.v1.ArchiveGround.
    ground smallint NOT NULL,
    reference text NOT NULL,
    -- The client that asked.
    client text NOT NULL,
    read_at timestamptz NOT NULL,
    PRIMARY KEY (provider, request_id)
);
