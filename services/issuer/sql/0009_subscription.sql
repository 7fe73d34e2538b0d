-- What hubs want to be told of; a hub without a row wants everything. An empty list excludes nothing.
CREATE TABLE subscription (
    hub text PRIMARY KEY,
    -- Counts changes, from 1.
    revision integer NOT NULL,
    kinds text[] NOT NULL,
    countries text[] NOT NULL,
    providers text[] NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Which revision of the hub's subscription was carried out for the learner; 0: none was there.
ALTER TABLE registration ADD COLUMN subscription_revision integer NOT NULL DEFAULT 0;

CREATE INDEX registration_subscription ON registration (hub, subscription_revision) WHERE withdrawn_at IS NULL;
