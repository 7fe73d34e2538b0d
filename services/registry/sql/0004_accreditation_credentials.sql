-- Accreditations as the authorities' keys signed them. Not state: each can be signed again from its fact.
CREATE TABLE accreditation_credential (
    accreditation uuid        NOT NULL,
    revision      integer     NOT NULL CHECK (revision >= 1),
    key_id        text        NOT NULL,  -- thumbprint of the key that signed
    signed_at     timestamptz NOT NULL,
    compact       text        NOT NULL,  -- vc+jwt
    PRIMARY KEY (accreditation, revision, key_id)
);
