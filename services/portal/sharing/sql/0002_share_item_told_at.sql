-- When what the newest notice told of the credential happened, as it was shared: a withdrawal from then on ends this,
-- however late it is read. Of rows of before, and of releases of before, only the share's own instant is known.
ALTER TABLE share_item ADD COLUMN told_at timestamptz;
