-- Copies of all that is held of a learner, for the minutes in which she may fetch hers. Sealed under the portal's key.
CREATE TABLE export (
    lookup     bytea PRIMARY KEY,
    content    bytea       NOT NULL,
    made_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX export_expires_at ON export (expires_at);
