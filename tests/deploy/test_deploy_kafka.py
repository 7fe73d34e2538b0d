"""Topics and principals are those of docs/events.md: names, partitions and retention as the code has them."""

from __future__ import annotations

import pytest

from services.issuer.statuses import CONSUMER as ISSUER_GROUP
from services.ledger.intake import ALLOWED
from services.ledger.intake import CONSUMER as LEDGER_GROUP
from services.portal.wiring import CONSUMER as PORTAL_GROUP
from tests.deploy.manifests import K8S, SERVICES, Installation, Manifest, read
from vitne.identifiers import OrganisationId
from vitne.messaging import topics
from vitne.messaging.topics import dead_topic, describe, fixed_topics, hub_topic

HUB = hub_topic(OrganisationId.parse("0192:919477822"))
DEAD = {dead_topic(name) for name in (*(topic.name for topic in fixed_topics()), HUB)}

#: Who writes and reads what, as the services' wiring has it. A consumer writes to the dead letters of what it reads.
WRITES = {
    "registry": {topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT, topics.REGISTRY_LEAVES},
    "issuer": {topics.ISSUER_LEAVES, topics.ISSUER_EFFECTS, HUB, dead_topic(topics.LEDGER_STATUS)},
    "ledger": {topics.LEDGER_STATUS, topics.LEDGER_LOG, *(dead_topic(name) for name in ALLOWED)},
    "portal": {dead_topic(HUB)},
}
READS = {
    # Their own, too: after a restore.
    "registry": {topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT, topics.REGISTRY_LEAVES},
    "issuer": {topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT, topics.LEDGER_STATUS, HUB}
    | {topics.ISSUER_LEAVES, topics.ISSUER_EFFECTS},
    "ledger": {*ALLOWED, topics.LEDGER_STATUS, topics.LEDGER_LOG},
    "auditor": {*(topic.name for topic in fixed_topics()), HUB} | DEAD,
    "verifier": {topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT},
    "portal": {HUB},
    "operators": DEAD,
    "subscriber": {topics.REGISTRY_FACTS, topics.ISSUER_EFFECTS, topics.LEDGER_STATUS, topics.LEDGER_LOG},
}
GROUPS = {
    "issuer": {(ISSUER_GROUP, "literal")},
    "ledger": {(LEDGER_GROUP, "literal")},
    "portal": {(PORTAL_GROUP, "literal")},
    "operators": {("operators.", "prefix")},
    "subscriber": {("subscriber.", "prefix")},
}


def _granted(user: Manifest, kind: str, operation: str) -> set[str]:
    return {
        acl["resource"]["name"]
        for acl in user["spec"]["authorization"]["acls"]
        if acl["resource"]["type"] == kind and operation in acl["operations"]
    }


def test_topics_are_those_of_the_code(installation: Installation) -> None:
    found = {topic["metadata"]["name"]: topic for topic in installation.all("KafkaTopic")}
    assert set(found) == {topic.name for topic in fixed_topics()} | {HUB} | DEAD
    for name, manifest in found.items():
        topic, spec = describe(name), manifest["spec"]
        retention = -1 if topic.retention is None else topic.retention.total_seconds() * 1000
        assert spec["partitions"] == topic.partitions, name
        assert spec["config"]["retention.ms"] == retention, name
        assert spec["config"]["cleanup.policy"] == "delete", name  # never compacted: history is the point


def test_what_is_acknowledged_is_on_two_machines(production: Installation) -> None:
    for topic in production.all("KafkaTopic"):
        assert topic["spec"]["replicas"] == 3
        assert topic["spec"]["config"]["min.insync.replicas"] == 2
    config = production.one("Kafka", "kafka")["spec"]["kafka"]["config"]
    assert config["auto.create.topics.enable"] is False
    for cluster in production.all("Cluster"):
        assert cluster["spec"]["postgresql"]["synchronous"]["dataDurability"] == "required"


def test_principals_may_do_what_their_wiring_does(installation: Installation) -> None:
    users = {user["metadata"]["name"]: user for user in installation.all("KafkaUser")}
    assert set(users) == {*SERVICES, "auditor", "operators", "subscriber"}
    for name, user in users.items():
        assert _granted(user, "topic", "Write") == WRITES.get(name, set()), name
        assert _granted(user, "topic", "Read") == READS.get(name, set()), name
        groups = {
            (acl["resource"]["name"], acl["resource"].get("patternType", "literal"))
            for acl in user["spec"]["authorization"]["acls"]
            if acl["resource"]["type"] == "group"
        }
        assert groups == GROUPS.get(name, set()), name
        for acl in user["spec"]["authorization"]["acls"]:
            assert set(acl["operations"]) <= {"Read", "Write", "Describe"}, name
            assert acl["resource"]["type"] in {"topic", "group"}, name


def test_a_hub_reads_no_other_topic_of_hubs(installation: Installation) -> None:
    for user in installation.all("KafkaUser"):
        for acl in user["spec"]["authorization"]["acls"]:
            if acl["resource"]["type"] == "topic":
                assert acl["resource"].get("patternType", "literal") == "literal"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_its_certificate(installation: Installation, service: str) -> None:
    """Strimzi gives the rights of a user with an external certificate to ``CN=<name>``, the whole subject."""
    user = installation.one("KafkaUser", service)
    assert user["spec"]["authentication"] == {"type": "tls-external"}
    certificate = installation.one("Certificate", service)["spec"]
    assert certificate["commonName"] == service
    assert "subject" not in certificate
    assert "client auth" in certificate["usages"]


def test_lag_scales_no_further_than_partitions_go() -> None:
    consumed = {"issuer": [topics.LEDGER_STATUS], "ledger": list(ALLOWED), "portal": [HUB]}
    scaled = read((K8S / "components" / "lag-scaling" / "scaled-objects.yaml").read_text())
    assert {manifest["metadata"]["name"] for manifest in scaled} == set(consumed)
    for manifest in scaled:
        name = manifest["metadata"]["name"]
        assert manifest["spec"]["scaleTargetRef"] == {"name": name}
        assert manifest["spec"]["maxReplicaCount"] <= max(describe(topic).partitions for topic in consumed[name])
        assert [trigger["type"] for trigger in manifest["spec"]["triggers"]] == ["cpu", "prometheus"]
