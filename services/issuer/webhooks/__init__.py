"""Webhooks: organisations without Kafka are told the same thin events, signed, in order, until they acknowledge."""
