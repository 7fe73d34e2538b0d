-- When a share has ended, as it is swept out by: what was there was read from beginning to end each time one was made.
CREATE INDEX share_ended ON share (least(expires_at, coalesce(withdrawn_at, expires_at)));
DROP INDEX share_expires_at;
