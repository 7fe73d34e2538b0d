-- What an audit compares: identifiers, places and digests, neither what credentials say nor who learners are.
GRANT SELECT (id, provider, request_id, request_item, learner, kind, status_list, status_index, status, digest)
    ON credential TO auditor;
GRANT SELECT (hub, pseudonym, learner, withdrawn_at) ON registration TO auditor;
GRANT SELECT (hub, handle, credential, learner) ON hub_credential TO auditor;
GRANT SELECT (digest, credential) ON artefact TO auditor;
GRANT SELECT (request_id, list, indexes, taken, size) ON index_lease TO auditor;
GRANT SELECT (digest, id, provider, status_list, status_index) ON lost_credential TO auditor;
GRANT SELECT (reconciled_at) ON restore TO auditor;
