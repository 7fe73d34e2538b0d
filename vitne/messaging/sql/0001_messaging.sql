-- Outbox and consumer (RECORDS: "Outbox and consumer"). One set of these tables in each service's database.

-- The last revision of each aggregate. Its row is the aggregate's lock: whoever takes a revision holds it
-- until the end of the transaction, so revisions commit in order and without gaps.
CREATE TABLE aggregate_revision (
    aggregate text PRIMARY KEY,
    revision  bigint NOT NULL CHECK (revision >= 0),
    -- Where its events go, fixed by the first: revisions without gaps make sense only within one topic and key.
    topic     text,
    key       text
);

CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     uuid        NOT NULL,
    topic        text        NOT NULL,
    key          text        NOT NULL,
    aggregate    text        NOT NULL,
    revision     bigint      NOT NULL CHECK (revision >= 1),
    type         text        NOT NULL,
    source       text        NOT NULL,
    time         timestamptz NOT NULL,
    value        bytea       NOT NULL,
    traceparent  text,
    published_at timestamptz,
    UNIQUE (aggregate, revision)
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- How far a consumer got; moved in the transaction of the effect, by compare-and-set.
CREATE TABLE consumer_offset (
    consumer    text    NOT NULL,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (consumer, topic, partition)
);

-- The last revision that took effect, by key (which is the aggregate's id within the topic).
CREATE TABLE consumer_seen (
    consumer text   NOT NULL,
    topic    text   NOT NULL,
    key      text   NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (consumer, topic, key)
);

-- Messages that could not be handled ("failed"), and those that wait: behind a failed one of their key, or for a
-- revision that is missing before them.
CREATE TABLE consumer_parked (
    consumer  text        NOT NULL,
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    key       text        NOT NULL,
    revision  bigint,     -- null: the headers do not parse
    state     text        NOT NULL CHECK (state IN ('failed', 'waiting')),
    reason    text        NOT NULL DEFAULT '',
    detail    text        NOT NULL DEFAULT '',
    raw_key   bytea,
    value     bytea,
    headers   bytea       NOT NULL, -- as vitne.messaging.headers packs them
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (consumer, topic, partition, "offset")
);
CREATE INDEX consumer_parked_key ON consumer_parked (consumer, topic, key, state);
