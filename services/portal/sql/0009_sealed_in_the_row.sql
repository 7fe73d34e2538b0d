-- A sealed credential is some 3 kB and does not get smaller: it stays in its row, so that a page reads one block for each
-- instead of six. Rows of before are moved when they are fetched again. How the column is stored stays as it is, since a
-- change of that makes statements stale which replicas of the release before have prepared.
ALTER TABLE credential SET (toast_tuple_target = 4080);
