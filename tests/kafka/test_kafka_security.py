"""Certificates and access rules: nobody is let in without the one, and nothing is allowed without the other."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)

from tests.kafka.clients import publish, read
from vitne.clock import SystemClock
from vitne.dev.apache_kafka import AccessRule, EmbeddedKafka, Operation, Pattern, ResourceType, publisher, subscriber
from vitne.dev.apache_kafka.access import create_access_rules
from vitne.dev.broker import TopicSpec
from vitne.dev.certificates import CertificateAuthority
from vitne.errors import FailedPrecondition, InvalidArgument, Unavailable

pytestmark = pytest.mark.kafka

TOPICS = ("hub.one.v1", "hub.two.v1")
#: An organisation's identifier, as hubs have it.
HUB = "0184:30859480"


@pytest.fixture(scope="module")
async def hubs(secure: EmbeddedKafka) -> EmbeddedKafka:
    """Two topics with a record each; ``HUB`` may read the first, the issuer may publish to both."""
    await secure.create_topics(TopicSpec(topic) for topic in TOPICS)
    await secure.create_access_rules(
        [
            *subscriber(HUB, TOPICS[0], "hub-one"),
            *(rule for topic in TOPICS for rule in publisher("issuer", topic)),
        ]
    )
    for topic in TOPICS:
        await publish(secure.client_options("issuer"), topic, [topic.encode()])
    return secure


async def test_a_principal_reads_its_own_topic(hubs: EmbeddedKafka) -> None:
    assert await read(hubs.client_options(HUB), TOPICS[0], 1, group="hub-one") == [TOPICS[0].encode()]
    assert await read(hubs.client_options(HUB), TOPICS[0], 1) == [TOPICS[0].encode()]


async def test_a_principal_reads_no_other_topic(hubs: EmbeddedKafka) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await read(hubs.client_options(HUB), TOPICS[1], 1)


async def test_a_principal_joins_no_other_group(hubs: EmbeddedKafka) -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        await read(hubs.client_options(HUB), TOPICS[0], 1, group="hub-two")


async def test_a_reader_does_not_publish(hubs: EmbeddedKafka) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await publish(hubs.client_options(HUB), TOPICS[0], [b"forged"], idempotent=False)
    with pytest.raises(ClusterAuthorizationFailedError):  # Who writes to no topic is given no producer id.
        await publish(hubs.client_options(HUB), TOPICS[0], [b"forged"])


async def test_a_publisher_does_not_read(hubs: EmbeddedKafka) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await read(hubs.client_options("issuer"), TOPICS[0], 1)


async def test_a_certificate_without_a_rule_is_allowed_nothing(hubs: EmbeddedKafka) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await read(hubs.client_options("stranger"), TOPICS[0], 1)
    await hubs.create_topics([TopicSpec("no-rule-at-all")])
    with pytest.raises(TopicAuthorizationFailedError):
        await read(hubs.client_options("stranger"), "no-rule-at-all", 1)
    admin = AIOKafkaAdminClient(**hubs.client_options("stranger"))
    await admin.start()
    try:
        assert await admin.list_topics() == []
        answer = await admin.delete_topics([TOPICS[0]])
    finally:
        await admin.close()
    assert [code for _, code in answer.topic_error_codes] != [0]


async def test_only_the_administrator_changes_rules(hubs: EmbeddedKafka) -> None:

    with pytest.raises(Unavailable, match="ACCESS_RULE_NOT_CREATED"):
        await create_access_rules(hubs.client_options(HUB), subscriber(HUB, TOPICS[1], "hub-one"))


async def test_a_rule_for_a_prefix_covers_names_that_begin_so_and_no_others(hubs: EmbeddedKafka) -> None:
    rule = AccessRule("auditor", Operation.READ, ResourceType.TOPIC, "hub.two.", Pattern.PREFIXED)
    await hubs.create_access_rules([rule])
    await hubs.create_access_rules([rule])  # Again is harmless.
    assert await read(hubs.client_options("auditor"), TOPICS[1], 1) == [TOPICS[1].encode()]
    with pytest.raises(TopicAuthorizationFailedError):
        await read(hubs.client_options("auditor"), TOPICS[0], 1)


async def test_a_client_without_a_certificate_is_refused(hubs: EmbeddedKafka) -> None:
    with pytest.raises(KafkaConnectionError):
        await read(hubs.client_options(None), TOPICS[0], 1)


async def test_a_client_that_speaks_no_tls_is_refused(hubs: EmbeddedKafka) -> None:
    with pytest.raises(KafkaConnectionError):
        await read({"bootstrap_servers": hubs.bootstrap_servers, "request_timeout_ms": 3000}, TOPICS[0], 1)


async def test_a_certificate_of_another_authority_is_refused(hubs: EmbeddedKafka, tmp_path: Path) -> None:
    other = CertificateAuthority(tmp_path, SystemClock())
    context = ssl.create_default_context(cafile=str(hubs.authority_path))
    context.load_cert_chain(other.issue(HUB))
    with pytest.raises(KafkaConnectionError):
        await read({**hubs.client_options(HUB), "ssl_context": context}, TOPICS[0], 1)


async def test_clients_refuse_a_broker_of_another_authority(hubs: EmbeddedKafka, tmp_path: Path) -> None:
    other = CertificateAuthority(tmp_path, SystemClock())
    with pytest.raises(KafkaConnectionError):
        await read({**hubs.client_options(HUB), "ssl_context": other.context(hubs.identity_path(HUB))}, TOPICS[0], 1)


async def test_rules_records_and_certificates_outlive_a_crash(kafka_folder: Path) -> None:
    async with EmbeddedKafka(kafka_folder / "secure-restarted", secure=True) as kafka:
        await kafka.create_topics([TopicSpec("mine")])
        await kafka.create_access_rules([*publisher("me", "mine"), *subscriber("me", "mine", "mine")])
        options = kafka.client_options("me")
        await publish(options, "mine", [b"1"])
        kafka.kill()
        await kafka.start()
        assert await read(options, "mine", 1, group="mine") == [b"1"]
        with pytest.raises(TopicAuthorizationFailedError):
            await read(kafka.client_options("you"), "mine", 1)


async def test_private_keys_are_for_the_owner_only(hubs: EmbeddedKafka) -> None:
    keys = [path for path in hubs.authority_path.parent.rglob("*.pem") if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert hubs.identity_path(HUB) in keys


@pytest.mark.parametrize("name", ["", "a b", "a,CN=admin", "ø", "a/b", "x" * 65, "admin\n"])
async def test_a_principal_has_a_plain_name(hubs: EmbeddedKafka, name: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_PRINCIPAL"):
        hubs.identity_path(name)


async def test_an_open_broker_has_no_certificates(plain: EmbeddedKafka) -> None:
    with pytest.raises(FailedPrecondition, match="NOT_SECURE"):
        plain.identity_path(HUB)
    with pytest.raises(FailedPrecondition, match="NOT_SECURE"):
        await plain.create_access_rules(publisher("issuer", TOPICS[0]))
