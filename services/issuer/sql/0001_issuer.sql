-- The issuer's state. Rows hold ids, ciphertext and keyed hashes; whatever says something of a learner is sealed under
-- that learner's own key, which is kept in another database (sql_keys/).

CREATE TABLE learner (
    id uuid PRIMARY KEY,
    -- HMAC-SHA-256(index key, scheme ‖ 0x00 ‖ value): how the learner is found at issuance.
    lookup bytea NOT NULL UNIQUE CHECK (octet_length(lookup) = 32),
    -- Scheme and value, sealed.
    identity bytea NOT NULL,
    -- 32 random bytes that pseudonyms and handles derive from, sealed.
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE credential (
    id uuid PRIMARY KEY,
    provider text NOT NULL,
    -- No foreign key: the credential's row outlives its learner's, unreadable.
    learner uuid NOT NULL,
    achievement uuid NOT NULL,
    achievement_version integer NOT NULL,
    kind text NOT NULL,
    -- vitne.credential.v1.RetentionClass.
    retention smallint NOT NULL,
    issued_at timestamptz NOT NULL,
    -- The client's name for the issuance. `request_item` is a keyed hash, since clients choose what they put in an
    -- item id; it is empty for a unary call.
    request_id uuid NOT NULL,
    request_item bytea NOT NULL,
    -- Keyed hash of the request's body: a plain one could be guessed from a national identity number.
    request_digest bytea NOT NULL,
    decision bytea NOT NULL,
    status_list text NOT NULL,
    status_index integer NOT NULL,
    -- vitne.credential.v1.Status, as the ledger last told.
    status smallint NOT NULL,
    signing_key text NOT NULL,
    -- What is to be signed, with its disclosures, sealed: stored before it is signed.
    prepared bytea NOT NULL,
    -- Set together, once: from then on the credential is issued. Until then it is pending.
    signature bytea,
    digest bytea UNIQUE CHECK (octet_length(digest) = 32),
    CHECK ((signature IS NULL) = (digest IS NULL)),
    -- Provider last: a request's id finds the row, and ids that grow with time keep the index's hot end small.
    UNIQUE (request_id, request_item, provider),
    -- An index is given once.
    UNIQUE (status_list, status_index)
) WITH (toast_tuple_target = 4080); -- a sealed credential is some 2.5 kB: keep it in the row

CREATE INDEX credential_of_provider ON credential (provider, id DESC) WHERE signature IS NOT NULL;
CREATE INDEX credential_of_learner ON credential (learner, id);
CREATE INDEX credential_pending ON credential (id) WHERE signature IS NULL;

-- Blocks of status indexes that the ledger leased to this issuer; a block that is used up is deleted, so there are only
-- a handful.
CREATE TABLE index_lease (
    -- The request to the ledger: recorded before it is sent, so that after a crash the same request is repeated and
    -- no block is lost.
    request_id uuid PRIMARY KEY,
    country text NOT NULL,
    requested_at timestamptz NOT NULL,
    -- How many were asked for, then how many the ledger gave.
    size integer NOT NULL CHECK (size > 0),
    -- The ledger's answer; null while there is none.
    list text,
    indexes integer[],
    -- How many of `indexes`, from the front, have been given to credentials.
    taken integer NOT NULL DEFAULT 0 CHECK (taken BETWEEN 0 AND size),
    CHECK ((list IS NULL) = (indexes IS NULL))
);

-- One open request a country, however many replicas there are.
CREATE UNIQUE INDEX index_lease_open ON index_lease (country) WHERE list IS NULL;

-- Whose a key in custody is. The registry names a provider's keys, but only this says that the private part was made for
-- that provider: otherwise whoever registers another's public key could have it used.
CREATE TABLE signing_key (
    -- JWK thumbprint, base64url.
    key_id text PRIMARY KEY,
    provider text NOT NULL,
    created_at timestamptz NOT NULL
);

-- Which learner is registered with which hub, and since when; ended registrations stay as the record of the ground.
CREATE TABLE registration (
    id uuid PRIMARY KEY,
    hub text NOT NULL,
    learner uuid NOT NULL,
    -- The learner's name for this hub, base64url.
    pseudonym text NOT NULL,
    -- Why: the learner's own act with its level of assurance, or a legal ground.
    ground text NOT NULL,
    registered_at timestamptz NOT NULL,
    withdrawn_at timestamptz
);

CREATE UNIQUE INDEX registration_active ON registration (learner, hub) WHERE withdrawn_at IS NULL;
CREATE UNIQUE INDEX registration_pseudonym ON registration (hub, pseudonym) WHERE withdrawn_at IS NULL;

-- What a hub may fetch. Rows exist only while the learner is registered with the hub.
CREATE TABLE hub_credential (
    hub text NOT NULL,
    -- The credential's name for this hub, base64url.
    handle text NOT NULL,
    credential uuid NOT NULL,
    learner uuid NOT NULL,
    PRIMARY KEY (hub, handle),
    UNIQUE (credential, hub)
);

CREATE INDEX hub_credential_of_learner ON hub_credential (learner, hub);
