-- Steps of cases are facts as all others.
ALTER TABLE fact DROP CONSTRAINT fact_kind_check;
ALTER TABLE fact ADD CONSTRAINT fact_kind_check
    CHECK (kind IN ('authority', 'provider', 'key', 'accreditation', 'achievement', 'qualification', 'case_step'));

-- Who an officer is whom a fact names: nowhere else, so that facts, which are public and for ever, say of no person more
-- than that two who decided a case are two. Deleting a row leaves a name that leads nowhere.
CREATE TABLE officer (
    case_id      uuid NOT NULL,  -- the accreditation's id
    organisation text NOT NULL,
    subject      text NOT NULL,  -- the token issuer's name for the person, opaque
    alias        text NOT NULL UNIQUE,  -- what facts say: 16 random bytes, base64url
    PRIMARY KEY (case_id, organisation, subject)
);
