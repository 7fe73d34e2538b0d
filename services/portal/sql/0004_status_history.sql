-- Statuses that were seen, oldest first, and when each began as far as notices told: what a learner is shown of them.
-- Of rows of before, only what they have now is known.
ALTER TABLE credential
    ADD COLUMN statuses text[] NOT NULL DEFAULT '{}',
    ADD COLUMN statuses_at timestamptz[] NOT NULL DEFAULT '{}',
    ADD CHECK (cardinality(statuses) = cardinality(statuses_at));
UPDATE credential SET statuses = ARRAY[status], statuses_at = ARRAY[fetched_at] WHERE status IS NOT NULL;
