-- When what the newest notice tells of happened, to measure how long it takes until it is shown, and the trace that
-- the notice belongs to where that is sampled. Rows of before have neither: they are not measured.
ALTER TABLE credential ADD COLUMN happened timestamptz;
ALTER TABLE credential ADD COLUMN traceparent text;
