-- What an audit compares of outbox and consumers: revisions and places, never a value.
GRANT SELECT (aggregate, topic, key, revision) ON aggregate_revision TO auditor;
GRANT SELECT (topic, published_at) ON outbox TO auditor;
GRANT SELECT (consumer, topic, partition, next_offset) ON consumer_offset TO auditor;
GRANT SELECT (consumer, topic, partition, "offset", state, reason) ON consumer_parked TO auditor;
