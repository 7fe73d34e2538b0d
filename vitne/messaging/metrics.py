"""What outbox and consumers measure (docs/operating/metrics.md)."""

from __future__ import annotations

from typing import Final

from vitne.metrics import counter, gauge, histogram

OUTBOX_PUBLISHED: Final = counter("vitne.outbox.published", "{event}", "events that Kafka acknowledged", "topic")
OUTBOX_FAILED: Final = counter("vitne.outbox.failed", "{event}", "attempts that Kafka did not acknowledge", "topic")
OUTBOX_DELAY: Final = histogram(
    "vitne.outbox.delay",
    "s",
    "from when it happened to when Kafka had it",
    "topic",
    # From one turn of the relay to an outage that somebody has to notice.
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0),
)
OUTBOX_OLDEST: Final = gauge("vitne.outbox.oldest", "s", "age of the oldest event that Kafka has not acknowledged")

CONSUMER_MESSAGES: Final = counter(
    "vitne.consumer.messages",
    "{message}",
    "messages by what became of them: handled, repeated, waiting, failed",
    "consumer",
    "topic",
    "outcome",
)
CONSUMER_LAG: Final = gauge(
    "vitne.consumer.lag", "s", "age of the oldest message that a consumer has not dealt with", "consumer", "topic"
)
CONSUMER_PARKED_KEYS: Final = gauge(
    "vitne.consumer.parked_keys", "{key}", "keys of which messages are parked", "consumer", "topic", "state"
)
CONSUMER_PARKED_AGE: Final = gauge(
    "vitne.consumer.parked_age", "s", "age of the oldest parked message", "consumer", "topic", "state"
)
