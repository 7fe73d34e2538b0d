-- What a list said at an instant is found by its date: from the newest version back, a busy list has a million a day, of
-- which a minute's first keeps its token.
CREATE INDEX list_version_kept ON list_version (list_id, published) WHERE token IS NOT NULL;
