-- What the act is about that is confirmed by a log-in, where there may be several: an import. Null: it is about her.
ALTER TABLE session ADD COLUMN confirming_subject uuid;
