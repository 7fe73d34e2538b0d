-- Qualifications are facts as all others.
ALTER TABLE fact DROP CONSTRAINT fact_kind_check;
ALTER TABLE fact ADD CONSTRAINT fact_kind_check
    CHECK (kind IN ('authority', 'provider', 'key', 'accreditation', 'achievement', 'qualification'));
