-- Pending credentials that can't be completed are tried again less and less often; those that never can are given up.
-- `request_digest` is made under the learner's own key from now on, so that nobody tests a guess against it once that is
-- gone; `request_item` is found before the learner is known, so erasure overwrites it with random bytes.
ALTER TABLE credential
    -- While pending: when completing it is tried again, if that failed.
    ADD COLUMN next_try timestamptz,
    -- Its learner was erased while it was pending: it never will be issued.
    ADD COLUMN void boolean NOT NULL DEFAULT false,
    ADD CHECK (NOT void OR signature IS NULL);

DROP INDEX credential_pending;
CREATE INDEX credential_pending ON credential (id) WHERE signature IS NULL AND NOT void;
