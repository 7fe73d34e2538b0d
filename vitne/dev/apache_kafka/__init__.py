"""A real Apache Kafka for development and tests: one node in KRaft mode, plain or with mTLS and access rules.

Needs Java 17 or newer, and Maven the first time, which fetches what ``pom.xml`` names.
"""

from vitne.dev.apache_kafka.access import AccessRule, Operation, Pattern, ResourceType, publisher, rules_of, subscriber
from vitne.dev.apache_kafka.server import ADMIN_PRINCIPAL, BROKER_PRINCIPAL, EmbeddedKafka
from vitne.dev.apache_kafka.topics import RetainedTopic

__all__ = [
    "ADMIN_PRINCIPAL",
    "BROKER_PRINCIPAL",
    "AccessRule",
    "EmbeddedKafka",
    "Operation",
    "Pattern",
    "ResourceType",
    "RetainedTopic",
    "publisher",
    "rules_of",
    "subscriber",
]
