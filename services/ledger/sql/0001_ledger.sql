-- Status lists. Everything that a list's places went through is in status_change;
-- this row is the lock under which its statuses change.
CREATE TABLE status_list (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url         text        NOT NULL UNIQUE,
    country     text        NOT NULL,
    year        integer     NOT NULL,
    number      integer     NOT NULL CHECK (number >= 1),
    size        integer     NOT NULL CHECK (size > 0),
    -- Notices a lost or exchanged secret before it gives out an index twice.
    order_check bytea       NOT NULL,
    leased      integer     NOT NULL DEFAULT 0 CHECK (leased BETWEEN 0 AND size),
    -- Number of the list's last status change.
    changes     bigint      NOT NULL DEFAULT 0,
    opened      timestamptz NOT NULL,
    UNIQUE (country, year, number)
);

-- Who leased which positions of a list's order; a position is in one lease only.
CREATE TABLE lease (
    list_id  integer     NOT NULL REFERENCES status_list (id),
    first    integer     NOT NULL,
    count    integer     NOT NULL CHECK (count > 0),
    caller   text        NOT NULL,
    recorded timestamptz NOT NULL,
    PRIMARY KEY (list_id, first)
);

-- Every change of a status, for ever. What a place's status is: its last change; none: valid.
CREATE TABLE status_change (
    list_id      integer     NOT NULL REFERENCES status_list (id),
    number       bigint      NOT NULL,
    index        integer     NOT NULL,
    -- As in a Token Status List: 0 valid, 1 revoked, 2 suspended.
    status       smallint    NOT NULL CHECK (status BETWEEN 0 AND 2),
    effective    timestamptz NOT NULL,
    recorded     timestamptz NOT NULL CHECK (effective <= recorded),
    -- Kept here and nowhere else: never in an event, never in the log.
    reason       text        NOT NULL,
    on_behalf_of text        NOT NULL,
    caller       text        NOT NULL,
    PRIMARY KEY (list_id, number)
);
CREATE INDEX status_change_place ON status_change (list_id, index, number DESC);

-- Every version of a list that was ever signed: what was said, and when.
CREATE TABLE list_version (
    list_id   integer     NOT NULL REFERENCES status_list (id),
    version   integer     NOT NULL CHECK (version >= 1),
    -- The last status change that it shows, and the size of the log whose status leaves it shows.
    changes   bigint      NOT NULL,
    tree_size bigint      NOT NULL,
    token     bytea       NOT NULL,
    digest    bytea       NOT NULL,
    published timestamptz NOT NULL,
    -- When its leaf was queued for the log; most versions of a busy list have none.
    logged    timestamptz,
    PRIMARY KEY (list_id, version)
);
CREATE INDEX list_version_logged ON list_version (list_id, logged) WHERE logged IS NOT NULL;
ALTER TABLE list_version ALTER COLUMN token SET STORAGE EXTERNAL; -- compressed already

-- The log: one row. `epoch` fences out a sequencer that was replaced without noticing.
CREATE TABLE log (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    origin     text   NOT NULL,
    epoch      bigint NOT NULL,
    size       bigint NOT NULL CHECK (size >= 0),
    root       bytea  NOT NULL,
    checkpoint text   NOT NULL
);

-- Leaves that wait to be integrated. Taken as they become visible, never by `number > last`.
CREATE TABLE queued_leaf (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record bytea NOT NULL
);

-- Integrated leaves. The hash is unique: a leaf that comes again is the same leaf.
CREATE TABLE leaf (
    leaf_index bigint PRIMARY KEY,
    hash       bytea NOT NULL UNIQUE,
    record     bytea NOT NULL
);

-- Hashes in tiles of 256 (C2SP tlog-tiles); the last of each level grows, all others are fixed.
CREATE TABLE tile (
    level  smallint NOT NULL,
    number bigint   NOT NULL,
    hashes bytea    NOT NULL,
    PRIMARY KEY (level, number)
);
ALTER TABLE tile ALTER COLUMN hashes SET STORAGE EXTERNAL; -- hashes do not compress
