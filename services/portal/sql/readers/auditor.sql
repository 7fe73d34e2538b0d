-- What an audit compares: what was gathered under which name; neither content nor keys nor whose name it is.
GRANT SELECT (handle, pseudonym, kind, provider, status, fetch_at) ON credential TO auditor;
