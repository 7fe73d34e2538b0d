-- While witnesses are silent, whoever asks is shown what only the log has signed. When they are back, the newest of that
-- is shown on until they have cosigned as much: no reader sees a checkpoint and then a smaller one.
ALTER TABLE witnessed_checkpoint ADD COLUMN meanwhile_size bigint, ADD COLUMN meanwhile text;

-- When the log last grew beyond what witnesses had cosigned of it: a log at rest is behind nobody.
ALTER TABLE log ADD COLUMN outgrown timestamptz;
