-- Credentials that learners take over to a wallet of theirs. Of what opens an offer only hashes are here; the credential
-- itself is not: it is read under her key when the wallet asks. All goes with her row.

CREATE TABLE wallet_offer (
    id               uuid PRIMARY KEY,
    pseudonym        text        NOT NULL REFERENCES subscriber ON DELETE CASCADE,
    -- The credential's name for this hub. No reference: a rebuild empties that table for a while.
    handle           text        NOT NULL CHECK (length(handle) = 43),
    -- SHA-256 of what the link ends in, and of the pre-authorized code, which is derived from that.
    reference_hash   bytea       NOT NULL UNIQUE CHECK (length(reference_hash) = 32),
    code_hash        bytea       NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    -- Of the transaction code, under the pre-authorized code: without that it can't be tried out.
    tx_code_hash     bytea       NOT NULL CHECK (length(tx_code_hash) = 32),
    made_at          timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    -- Each is counted before the transaction code is looked at.
    tries            integer     NOT NULL DEFAULT 0,
    -- SHA-256 of the access token that a wallet got for the code; null until one did.
    token_hash       bytea UNIQUE CHECK (length(token_hash) = 32),
    token_expires_at timestamptz,
    -- When the credential was handed over for the first time.
    taken_at         timestamptz,
    -- When she ended it, or made another one for the same credential.
    ended_at         timestamptz,
    CHECK ((token_hash IS NULL) = (token_expires_at IS NULL)),
    CHECK (taken_at IS NULL OR token_hash IS NOT NULL)
);
CREATE INDEX wallet_offer_pseudonym ON wallet_offer (pseudonym, handle);
CREATE INDEX wallet_offer_untaken ON wallet_offer (expires_at) WHERE taken_at IS NULL;
