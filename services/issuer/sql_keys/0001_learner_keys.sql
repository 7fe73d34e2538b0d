-- Learners' data keys, in a database of their own: what erases a person is the deletion of a row here, so this
-- database is left out of long-lived backups (RECORDS: what survives erasure).

CREATE TABLE learner_key (
    learner uuid PRIMARY KEY,
    -- AES-256 key, sealed under the key-encryption key named by `wrapped_by`; bound to the learner's id.
    wrapped bytea NOT NULL,
    -- Which key-encryption key sealed it, so that keys can be re-wrapped one by one after a rotation.
    wrapped_by text NOT NULL,
    created_at timestamptz NOT NULL
);
