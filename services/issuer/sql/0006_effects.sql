-- How many credentials a change of an accreditation touches, as it was told last: only what is new is told again.
CREATE TABLE effect (
    registry_revision integer PRIMARY KEY,  -- of the fact
    credentials       integer NOT NULL,
    told_at           timestamptz NOT NULL
);
