-- Which checkpoint of each log is shown to whoever asks for its newest, while that is not simply the newest that the log
-- signed. It is written over what is smaller or of the same size only, and begins with whatever may have been shown
-- until then: nobody is shown a checkpoint and then a smaller one, whichever replica answers and whatever its clock says.
CREATE TABLE shown_checkpoint (
    shard integer PRIMARY KEY,
    size  bigint NOT NULL CHECK (size >= 0),
    note  text   NOT NULL
);

-- What witnesses cosigned of all of a log is shown on; of any other, all is shown until they have cosigned as much.
INSERT INTO shown_checkpoint
    SELECT shard, size, note
    FROM (SELECT DISTINCT ON (shard) * FROM witnessed_checkpoint ORDER BY shard, cosigned DESC) AS last
    WHERE size = (SELECT size FROM log WHERE log.shard = last.shard)
        OR size = (SELECT size FROM closed_log WHERE closed_log.shard = last.shard);

-- `meanwhile`, `meanwhile_size` and `outgrown` are for replicas of the release before, which run beside this one while
-- it is brought in.
