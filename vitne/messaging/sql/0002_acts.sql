-- What operators did about parked messages: who, when and why. Rows are added and never changed: a rebuild, which meets
-- the same messages again, repeats what was decided about them.
CREATE TABLE consumer_act (
    -- The operator's request: repeated, it is answered as it was the first time.
    id        uuid        PRIMARY KEY,
    consumer  text        NOT NULL,
    act       text        NOT NULL CHECK (act IN ('replayed', 'dropped', 'skipped')),
    topic     text        NOT NULL,
    -- Where the message was; null for a gap, which is nowhere.
    partition integer,
    "offset"  bigint,
    key       text        NOT NULL,
    -- Of the message, or the last of a gap; null: the headers did not parse.
    revision  bigint,
    -- Why it could not be handled, as the consumer said.
    cause     text        NOT NULL,
    actor     text        NOT NULL,
    ground    text        NOT NULL,
    at        timestamptz NOT NULL,
    CHECK ((partition IS NULL) = (act = 'skipped') AND ("offset" IS NULL) = (act = 'skipped')),
    CHECK (act <> 'skipped' OR revision IS NOT NULL)
);
CREATE INDEX consumer_act_at ON consumer_act (at, id);
