"""Who may write and read which topic; and that the cluster's objects say the same."""

from __future__ import annotations

from pathlib import Path

import yaml

from vitne.identifiers import OrganisationId
from vitne.messaging.access import Access, access_list
from vitne.messaging.topics import fixed_topics, hub_topic

ROOT = Path(__file__).resolve().parents[2]
HUB = OrganisationId.parse("0192:919477822")
OTHER = OrganisationId.parse("0192:971035854")


def test_a_hub_reads_its_own_topic_and_no_other() -> None:
    accesses = {access.principal: access for access in access_list({"one": HUB, "two": OTHER})}
    assert accesses["one"].reads == (hub_topic(HUB),)
    assert accesses["two"].reads == (hub_topic(OTHER),)
    # Besides the hub: the issuer, who wrote it; who compares everything; and of dead letters, who looks at these.
    readers = {name for name, access in accesses.items() if any(hub_topic(HUB) in topic for topic in access.reads)}
    assert readers == {"one", "issuer", "auditor", "operators"}


def test_every_topic_has_one_writer() -> None:
    accesses = access_list({"portal": HUB})
    for topic in (*(topic.name for topic in fixed_topics()), hub_topic(HUB)):
        assert len([access for access in accesses if topic in access.writes]) == 1


def test_the_objects_for_kubernetes_say_the_same() -> None:
    found = set()
    path = ROOT / "deploy/k8s/components/kafka/users.yaml"
    for user in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        writes: set[str] = set()
        reads: set[str] = set()
        groups: set[str] = set()
        prefix = ""
        for rule in user["spec"]["authorization"]["acls"]:
            kind, name = rule["resource"]["type"], rule["resource"]["name"]
            operations = set(rule["operations"]) - {"Describe"}  # READ and WRITE include it.
            if rule["resource"].get("patternType") == "prefix":
                assert (kind, operations, prefix) == ("group", {"Read"}, "")
                prefix = name
            elif kind == "group":
                assert operations == {"Read"}
                groups.add(name)
            else:
                assert (kind, operations) in [("topic", {"Write"}), ("topic", {"Read"})]
                (writes if operations == {"Write"} else reads).add(name)
        found.add(
            Access(
                user["metadata"]["name"],
                tuple(sorted(writes)),
                tuple(sorted(reads)),
                tuple(sorted(groups)),
                prefix,
            )
        )
    expected = {
        Access(
            each.principal,
            tuple(sorted(each.writes)),
            tuple(sorted(each.reads)),
            tuple(sorted(each.groups)),
            each.group_prefix,
        )
        for each in access_list({"portal": HUB})
    }
    assert found == expected
