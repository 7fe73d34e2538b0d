-- What the hub's topic told of and is still to be fetched. A row goes when its credential was kept, or is gone.
CREATE SEQUENCE vitne_notice_number;
CREATE TABLE vitne_wanted (
    handle    text PRIMARY KEY,
    pseudonym text        NOT NULL,
    kind      text        NOT NULL,
    provider  text        NOT NULL,
    -- Another one with each notice: an answer to an older question does not count as the newest.
    number    bigint      NOT NULL DEFAULT nextval('vitne_notice_number'),
    due_at    timestamptz NOT NULL,
    attempts  integer     NOT NULL DEFAULT 0
);
CREATE INDEX vitne_wanted_due_at ON vitne_wanted (due_at);
