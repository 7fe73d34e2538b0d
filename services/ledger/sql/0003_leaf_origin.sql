-- When a leaf that waits happened, to measure how long that takes, and the trace that it belongs to where that is
-- sampled. Rows of before, and of replicas of the release before, have neither: they are not measured.
ALTER TABLE queued_leaf ADD COLUMN happened timestamptz;
ALTER TABLE queued_leaf ADD COLUMN traceparent text;
