-- On which legal grounds hubs may register learners who did not ask for it: what the operator entered, on whose decision.
-- Nothing here is about a learner. A ground that ended stays, as the record of what rested on it.
CREATE TABLE legal_ground (
    id uuid PRIMARY KEY,
    hub text NOT NULL,
    -- The provision, as a learner is shown it, and the case in which it was decided.
    citation text NOT NULL,
    reference text NOT NULL,
    -- Who decided: an organisation, and its name for the learner to read.
    decided_by text NOT NULL,
    decided_by_name text NOT NULL,
    -- Who entered it: organisation and client.
    granted_by text NOT NULL,
    granted_client text NOT NULL,
    granted_at timestamptz NOT NULL,
    ended_by text,
    ended_client text,
    ended_at timestamptz,
    CHECK (num_nulls(ended_by, ended_client, ended_at) IN (0, 3))
);

CREATE INDEX legal_ground_of_hub ON legal_ground (hub, granted_at);

-- What a registration rests on; null: on the learner's own act.
ALTER TABLE registration ADD COLUMN legal_ground uuid REFERENCES legal_ground;

CREATE INDEX registration_legal_ground ON registration (legal_ground)
    WHERE legal_ground IS NOT NULL AND withdrawn_at IS NULL;
