-- A credential in one more format than SD-JWT VC. Like the credential itself it is stored before it is signed, sealed
-- under its learner's key, and unreadable once that is gone.
CREATE TABLE artefact (
    credential uuid NOT NULL,
    -- vitne.credential.v1.Format.
    format smallint NOT NULL,
    -- Where the sealed value belongs.
    id uuid NOT NULL UNIQUE,
    prepared bytea NOT NULL,
    -- Set together, once.
    signature bytea,
    digest bytea UNIQUE CHECK (octet_length(digest) = 32),
    PRIMARY KEY (credential, format),
    CHECK ((signature IS NULL) = (digest IS NULL))
);
