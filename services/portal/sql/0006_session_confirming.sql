-- When she was sent to confirm an act by a log-in: a provider that asked her before that did not ask her anew.
ALTER TABLE session ADD COLUMN confirming_at timestamptz;
