-- What an audit compares: facts, which are public, with their topic.
GRANT SELECT (kind, body) ON fact TO auditor;
