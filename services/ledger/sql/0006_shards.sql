-- The log ends with its year, and another goes on (docs/decisions/0021). `log` holds the one that grows, closed_log those
-- that ended. Leaves and tiles count on over all of them: a log's own leaf 0 is leaf_index `leaves_before`, its tile 0 of
-- each level has the number `tiles_before`. So no row is rewritten, and replicas of the release before go on as they are
-- until the first log is closed.
ALTER TABLE log ADD COLUMN shard integer NOT NULL DEFAULT 1;
ALTER TABLE log ADD COLUMN leaves_before bigint NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN tiles_before bigint NOT NULL DEFAULT 0;
-- Which of the keys for checkpoints signs, and until when the one before it signs, too.
ALTER TABLE log ADD COLUMN key_number integer NOT NULL DEFAULT 1;
ALTER TABLE log ADD COLUMN former_until timestamptz;

CREATE TABLE closed_log (
    shard         integer     PRIMARY KEY,
    origin        text        NOT NULL UNIQUE,
    leaves_before bigint      NOT NULL,
    tiles_before  bigint      NOT NULL,
    size          bigint      NOT NULL CHECK (size >= 1),
    root          bytea       NOT NULL,
    -- Of its last tree, for ever.
    checkpoint    text        NOT NULL,
    closed        timestamptz NOT NULL
);

-- Statements of succession: of logs that ended, and of keys that were replaced. The n-th brought key n + 1.
CREATE TABLE succession (
    number    integer     PRIMARY KEY CHECK (number >= 1),
    statement text        NOT NULL,
    stated    timestamptz NOT NULL
);

-- Sizes are those of the log that was cosigned.
ALTER TABLE witnessed_checkpoint ADD COLUMN shard integer NOT NULL DEFAULT 1;
DROP INDEX witnessed_checkpoint_size;
CREATE INDEX witnessed_checkpoint_size ON witnessed_checkpoint (shard, size, cosigned);
