-- The log's order is told as it grows, so that a ledger that is restored to an earlier instant gets the same log again,
-- and contradicts no checkpoint that it signed since (docs/decisions/0014). Leaves before this are in an event; replicas
-- of the release before leave it behind, and the next of this release makes up for that.
ALTER TABLE log ADD COLUMN journaled bigint NOT NULL DEFAULT 0;

-- When the ledger was reconciled after a restore.
CREATE TABLE restore (
    reconciled_at timestamptz PRIMARY KEY
);
