-- Employers see what employees let them see. Nothing is copied: a consent names credentials, which are read under the
-- employee's key while it lasts, and goes with her row.

CREATE TABLE employer_invitation (
    token_hash   bytea PRIMARY KEY CHECK (length(token_hash) = 32), -- SHA-256 of what the link ends in
    organisation text        NOT NULL,
    name         text        NOT NULL, -- as the log-in's provider calls it
    expires_at   timestamptz NOT NULL
);
CREATE INDEX employer_invitation_expires_at ON employer_invitation (expires_at);

CREATE TABLE employer_consent (
    id           uuid PRIMARY KEY,
    pseudonym    text        NOT NULL REFERENCES subscriber ON DELETE CASCADE,
    organisation text        NOT NULL,
    name         text        NOT NULL,
    given_at     timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    UNIQUE (pseudonym, organisation)
);
CREATE INDEX employer_consent_organisation ON employer_consent (organisation);

CREATE TABLE employer_consent_item (
    consent uuid NOT NULL REFERENCES employer_consent ON DELETE CASCADE,
    -- The credential's name for this hub. No reference: a rebuild empties that table for a while.
    handle  text NOT NULL CHECK (length(handle) = 43),
    PRIMARY KEY (consent, handle)
);

CREATE TABLE employer_session (
    id           bytea PRIMARY KEY, -- SHA-256 of the cookie
    organisation text        NOT NULL,
    name         text        NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX employer_session_expires_at ON employer_session (expires_at);
