-- What its learner calls a share, for herself alone: for whom it is. Sealed under her key. It stays when the share ends, so
-- that she can tell apart what ended, and goes with the row. Null: she calls it nothing.
ALTER TABLE share ADD COLUMN label bytea;
