-- What learners share. A link and a code open it; neither is kept. What is shown is sealed under the learner's key and
-- goes with her row, with the share's withdrawal, and with the credential.

CREATE TABLE share (
    id           uuid PRIMARY KEY,
    pseudonym    text        NOT NULL REFERENCES subscriber ON DELETE CASCADE,
    -- SHA-256 of the link's token: a reader of this table can't open anything.
    token_hash   bytea       NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    -- Of the code, by a slow function with the token as its salt: without the link it can't be tried out.
    code_hash    bytea       NOT NULL CHECK (length(code_hash) = 32),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    withdrawn_at timestamptz,
    -- In a row, since the right code or a new link; each is counted before it is looked at.
    wrong_codes  integer     NOT NULL DEFAULT 0
);
CREATE INDEX share_pseudonym ON share (pseudonym);
CREATE INDEX share_expires_at ON share (expires_at);

CREATE TABLE share_item (
    share    uuid    NOT NULL REFERENCES share ON DELETE CASCADE,
    position integer NOT NULL,
    -- The credential's name for this hub. No reference: a rebuild empties that table for a while.
    handle   text    NOT NULL CHECK (length(handle) = 43),
    -- The presentation, without the disclosures that were not chosen; sealed.
    content  bytea   NOT NULL,
    PRIMARY KEY (share, position)
);
CREATE INDEX share_item_handle ON share_item (handle);

CREATE TABLE share_opening (
    share     uuid        NOT NULL REFERENCES share ON DELETE CASCADE,
    opened_at timestamptz NOT NULL
);
CREATE INDEX share_opening_share ON share_opening (share, opened_at);

-- Who gave the right code may look for a while without giving it again.
CREATE TABLE share_visit (
    id         bytea PRIMARY KEY, -- SHA-256 of the cookie
    share      uuid        NOT NULL REFERENCES share ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX share_visit_share ON share_visit (share);
CREATE INDEX share_visit_expires_at ON share_visit (expires_at);
