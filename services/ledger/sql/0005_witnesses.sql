-- Checkpoints that enough witnesses cosigned, the signed note with their lines: what they saw, and when. Kept for ever,
-- but of those that are old only the first of a minute: a proof of what stood at an instant rests on one.
CREATE TABLE witnessed_checkpoint (
    cosigned timestamptz NOT NULL PRIMARY KEY,
    size     bigint      NOT NULL CHECK (size >= 0),
    note     text        NOT NULL
);
CREATE INDEX witnessed_checkpoint_size ON witnessed_checkpoint (size, cosigned);
