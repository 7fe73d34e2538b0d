-- A signed list is of use until it expires, and for ever only where the log names its version: the tokens of all others
-- are dropped then, while number and digest stay. Rows of before, and of replicas of the release before, are taken to
-- live as long as any list may.
ALTER TABLE list_version ADD COLUMN expires timestamptz NOT NULL DEFAULT now() + interval '7 days';
ALTER TABLE list_version ALTER COLUMN token DROP NOT NULL;
CREATE INDEX list_version_token ON list_version (expires) WHERE token IS NOT NULL AND logged IS NULL;

-- Answers to requests are dropped by age. They come in the order of it.
CREATE INDEX request_recorded ON request USING brin (recorded);
