-- What an audit compares: the log, and what was leased, changed and published; not why, nor for whom.
GRANT SELECT (size, root) ON log TO auditor;
GRANT SELECT (shard, origin, size, root) ON closed_log TO auditor;
GRANT SELECT (number, statement) ON succession TO auditor;
GRANT SELECT (leaf_index, record) ON leaf TO auditor;
GRANT SELECT (number) ON queued_leaf TO auditor;
GRANT SELECT (id, url, size, leased) ON status_list TO auditor;
GRANT SELECT (list_id, first, count, caller, recorded) ON lease TO auditor;
GRANT SELECT (list_id, number, index, status, effective, recorded) ON status_change TO auditor;
GRANT SELECT (list_id, version, changes, tree_size, digest, logged) ON list_version TO auditor;
GRANT SELECT (reconciled_at) ON restore TO auditor;
