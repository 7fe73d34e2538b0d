-- Whose key was destroyed: the one record of an erasure that a restore of the issuer's database can't undo. The ids are
-- nobody's any more.
CREATE TABLE erased_learner (
    learner uuid PRIMARY KEY,
    erased_at timestamptz NOT NULL
);
