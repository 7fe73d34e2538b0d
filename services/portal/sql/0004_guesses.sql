-- How often something that can be guessed was tried in a window. What is counted stands here only as a hash under the
-- portal's index key.
CREATE TABLE guess (
    id      bytea PRIMARY KEY,
    tries   integer     NOT NULL CHECK (tries > 0),
    ends_at timestamptz NOT NULL
);
CREATE INDEX guess_ends_at ON guess (ends_at);
