-- Leaves are found by the first seven bytes of their hashes (docs/decisions/0036). An index of whole hashes takes 73 bytes
-- for each leaf, this one 28, and since hashes come at random its size decides what an append costs in a large log: once
-- it outgrows the database's memory, each leaf reads a page and writes it back, to the write-ahead log too. That no hash
-- is there twice is seen to by whoever holds the log's row, the only one who may add any.
--
-- The strongest lock first: who reads leaves and then adds some would otherwise wait for the index, and the second
-- statement for them.
LOCK TABLE leaf IN ACCESS EXCLUSIVE MODE;
CREATE INDEX leaf_found_by ON leaf (substring(hash FROM 1 FOR 7));
ALTER TABLE leaf DROP CONSTRAINT leaf_hash_key;

-- The places of leaves, in the order of their hashes; NULL for those that are in no log. Never by reading the whole table:
-- the planner would choose that as long as nobody has counted its rows, and keep to it while it grows.
CREATE FUNCTION leaf_places(hashes bytea[]) RETURNS bigint[] LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT (
            SELECT leaf_index FROM leaf
            WHERE substring(leaf.hash FROM 1 FOR 7) = substring(asked.hash FROM 1 FOR 7) AND leaf.hash = asked.hash
            LIMIT 1
        )
        FROM unnest(hashes) WITH ORDINALITY AS asked (hash, place) ORDER BY place
    );
END
$$;
