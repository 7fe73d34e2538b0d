-- Idempotency (AIP-155): what a request was answered the first time.
-- Answers are stored as they were sent: a service whose answers hold personal data stores
-- what leads to them instead (the issuer: the credential's id), never the data.
CREATE TABLE request (
    caller      text        NOT NULL,  -- organisation on whose behalf it was made
    method      text        NOT NULL,  -- full name of the RPC method
    request_id  uuid        NOT NULL,
    body_digest bytea       NOT NULL CHECK (octet_length(body_digest) = 32),
    response    bytea       NOT NULL,
    recorded    timestamptz NOT NULL,
    PRIMARY KEY (caller, method, request_id)
);
