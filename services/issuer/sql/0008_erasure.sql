-- An erasure that has begun is completed, whatever comes between. Nothing is issued to its learner meanwhile.
ALTER TABLE learner ADD COLUMN erasing_since timestamptz;

CREATE INDEX learner_erasing ON learner (id) WHERE erasing_since IS NOT NULL;
