-- The registry's state is its facts: immutable, numbered without a gap. Everything else is folded from them.

-- The newest revision. Its one row is the lock that makes revisions gapless: whoever writes holds it until the
-- end of the transaction, so facts also commit in the order of their numbers.
CREATE TABLE registry_head (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    revision  integer     NOT NULL CHECK (revision >= 0),
    beat_at   timestamptz NOT NULL  -- when the last heartbeat was written
);
INSERT INTO registry_head (revision, beat_at) VALUES (0, '-infinity');

CREATE TABLE fact (
    registry_revision integer     PRIMARY KEY CHECK (registry_revision >= 1),
    id                uuid        NOT NULL UNIQUE,
    subject           text        NOT NULL,  -- the organisation that it is about
    subject_revision  integer     NOT NULL CHECK (subject_revision >= 1),
    kind              text        NOT NULL CHECK (kind IN ('authority', 'provider', 'key', 'accreditation', 'achievement')),
    recorded_at       timestamptz NOT NULL,
    actor             text        NOT NULL,  -- the organisation that made it so
    digest            bytea       NOT NULL CHECK (octet_length(digest) = 32),
    body              bytea       NOT NULL,  -- vitne.registry.v1.Fact
    UNIQUE (subject, subject_revision)
);
CREATE INDEX fact_by_subject ON fact (subject, registry_revision);

CREATE FUNCTION refuse_to_change_a_fact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a fact is never changed or deleted: a later one says something else';
END
$$;

CREATE TRIGGER fact_is_immutable BEFORE UPDATE OR DELETE ON fact
    FOR EACH ROW EXECUTE FUNCTION refuse_to_change_a_fact();
CREATE TRIGGER fact_is_never_truncated BEFORE TRUNCATE ON fact
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_a_fact();
