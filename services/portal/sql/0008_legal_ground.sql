-- Of a learner whom the hub registered on a legal ground, as the issuer answered: what she is shown of it. All null: she
-- registered herself.
ALTER TABLE subscriber
    ADD COLUMN ground_citation text,
    ADD COLUMN ground_reference text,
    ADD COLUMN ground_decided_by text,
    ADD COLUMN ground_recorded_at timestamptz,
    ADD CHECK (num_nulls(ground_citation, ground_reference, ground_decided_by, ground_recorded_at) IN (0, 4));
