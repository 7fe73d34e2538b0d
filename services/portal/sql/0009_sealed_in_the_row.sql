-- A sealed credential is some 3 kB and does not get smaller: it is not tried to compress it, and it stays in its row, so
-- that a page reads one block for each instead of six. Rows of before are moved when they are fetched again.
ALTER TABLE credential SET (toast_tuple_target = 4080);
ALTER TABLE credential ALTER COLUMN content SET STORAGE EXTERNAL;
