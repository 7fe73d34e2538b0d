-- Webhooks: what organisations without Kafka are told, and how far that got (docs/webhooks.md).
-- Whoever locks several of these rows goes in this order: endpoint, lanes (by key), deliveries.

CREATE TABLE webhook_endpoint (
    id uuid PRIMARY KEY,
    organisation text NOT NULL,
    -- The organisation's topic, were it a hub: what the trigger below goes by.
    hub_topic text NOT NULL,
    -- Sealed, since people put tokens into URLs.
    url bytea NOT NULL,
    -- vitne.issuer.v1.WebhookEventKind; empty: all.
    kinds smallint[] NOT NULL,
    created_at timestamptz NOT NULL,
    -- Both or none; the reason is a vitne.issuer.v1.WebhookDisabledReason.
    disabled_at timestamptz,
    disabled_reason smallint,
    -- Attempts that failed since the last that did not, and since when.
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    -- Nothing is sent before this: it asked for time, or seems to be down.
    paused_until timestamptz,
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CHECK ((failures = 0) = (failing_since IS NULL))
);

CREATE INDEX webhook_endpoint_of_organisation ON webhook_endpoint (organisation, id);
CREATE INDEX webhook_endpoint_topic ON webhook_endpoint (hub_topic);

CREATE TABLE webhook_secret (
    id uuid PRIMARY KEY,
    endpoint uuid NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    -- The request that made it: repeated, it is answered with the same secret, which is nowhere else.
    request_id uuid NOT NULL,
    -- 32 random bytes, sealed.
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Until when it signs; null: it is the present one.
    expires_at timestamptz
);

CREATE INDEX webhook_secret_of_endpoint ON webhook_secret (endpoint, id DESC);

-- What happened, for organisations with an endpoint; written in the transaction of the state.
CREATE TABLE webhook_event (
    -- Within a key, numbers rise in the order of the commits, since the key's aggregate is locked from before the row
    -- is written; between keys they say nothing.
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- UUIDv7: `webhook-id`; for a hub's notices also their `ce_id`.
    id uuid NOT NULL UNIQUE,
    organisation text NOT NULL,
    -- What is kept in order: the learner's pseudonym, or the institution's credential.
    key text NOT NULL,
    -- Of a hub's notices: the aggregate's revision.
    revision bigint,
    -- Which message `value` is: a `ce_type`, or the body's `type`.
    type text NOT NULL,
    time timestamptz NOT NULL,
    value bytea NOT NULL,
    -- vitne.issuer.v1.WebhookEventKind; null: no deliveries were made of it yet; 0: this release doesn't know it.
    kind smallint
);

CREATE INDEX webhook_event_fresh ON webhook_event (number) WHERE kind IS NULL;
CREATE INDEX webhook_event_of_organisation ON webhook_event (organisation, time);
CREATE INDEX webhook_event_time ON webhook_event (time);

-- An event on its way to an endpoint.
CREATE TABLE webhook_delivery (
    endpoint uuid NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    event bigint NOT NULL REFERENCES webhook_event ON DELETE CASCADE,
    key text NOT NULL,
    -- vitne.issuer.v1.WebhookDeliveryState.
    state smallint NOT NULL,
    -- Replays of it: an attempt that began before a replay does not count as delivery after it.
    round integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    last_attempt_at timestamptz,
    -- vitne.issuer.v1.WebhookOutcome, and the HTTP status if there was one.
    last_outcome smallint NOT NULL DEFAULT 0,
    last_status smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (endpoint, event)
);

-- 1: waiting.
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (endpoint, key, event) WHERE state = 1;
CREATE INDEX webhook_delivery_of_event ON webhook_delivery (event);

-- What of a key waits for an endpoint is one lane: only its first is ever sent. A lane with nothing in it is deleted.
CREATE TABLE webhook_lane (
    endpoint uuid NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    key text NOT NULL,
    -- Who is sending its first; null: nobody.
    lease uuid,
    -- When its first may be sent; with a lease: when that ends, should its holder have died.
    due_at timestamptz NOT NULL,
    PRIMARY KEY (endpoint, key)
);

CREATE INDEX webhook_lane_due ON webhook_lane (endpoint, due_at);

-- A hub is told by webhook exactly what its topic is told: whatever road a notice takes into the outbox, its row is
-- copied in the same statement, with its id, time and revision, if the hub has an endpoint.
CREATE FUNCTION webhook_copy_notices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_event (id, organisation, key, revision, type, time, value)
    SELECT fresh.event_id, hub.organisation, fresh.key, fresh.revision, fresh.type, fresh.time, fresh.value
    FROM fresh
    JOIN (SELECT DISTINCT organisation, hub_topic FROM webhook_endpoint) AS hub ON hub.hub_topic = fresh.topic
    ORDER BY fresh.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER webhook_copy_notices AFTER INSERT ON outbox
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION webhook_copy_notices();
