-- What a share was of, so that she can tell those apart that ended; names for this hub, which lead to what she still has.
-- Of shares of before it is what is in them now.
ALTER TABLE share
    ADD COLUMN handles text[] NOT NULL DEFAULT '{}',
    -- Who set `withdrawn_at`. Null: nobody did, or a release of before.
    ADD COLUMN ended_by text CHECK (ended_by IN ('learner', 'operator'));
UPDATE share s SET handles =
    ARRAY(SELECT handle FROM share_item i WHERE i.share = s.id ORDER BY position);
