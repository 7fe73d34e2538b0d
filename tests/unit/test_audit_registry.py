"""A registry that lies about its past is found out: what it shows is held against what it logged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.unit.accreditation_samples import (
    DAI,
    OPERATOR_KEY,
    UCL,
    Chronicle,
    achievement,
    days,
    operator_key_fact,
    scope,
    uuid,
)
from vitne.accreditation import leaf_of, timestamp
from vitne.audit.agreement import check_registry_facts
from vitne.audit.snapshots import (
    IssuerSnapshot,
    LedgerSnapshot,
    LogSnapshot,
    Messaging,
    RegistrySnapshot,
    WorldSnapshot,
)
from vitne_api.registry.v1 import facts_pb2

QUIET = Messaging("service", 0, [], [], [])


def history() -> list[facts_pb2.Fact]:
    chronicle = Chronicle()
    chronicle.authority(DAI, "DK")
    chronicle.provider(UCL)
    operator_key_fact(chronicle)
    covered = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects")
    chronicle.accredit(UCL, "dk.institution", covered, authority=DAI)
    chronicle.accredit(UCL, "dk.institution", covered, authority=DAI, revision=2, valid_until=days(400))
    chronicle.publish(achievement(UCL, "dk.micro_credential"))
    return chronicle.facts


def world(logged: Sequence[facts_pb2.Fact], shown: Sequence[facts_pb2.Fact]) -> WorldSnapshot:
    leaves = [leaf.to_bytes() for fact in logged if (leaf := leaf_of(fact)) is not None]
    log = LogSnapshot(len(leaves), bytes(32), dict(enumerate(leaves)), 0)
    return WorldSnapshot(
        issuer=IssuerSnapshot([], [], [], [], QUIET),
        ledger=LedgerSnapshot(log, [], QUIET),
        topics={},
        registry=RegistrySnapshot(leaves, shown={"table": shown, "topic": logged}),
    )


def test_a_registry_that_shows_what_it_logged_tells_the_truth() -> None:
    assert list(check_registry_facts(world(history(), history()))) == []


def widened(facts: list[facts_pb2.Fact]) -> None:
    facts[3].accreditation.scope.credential_kinds.append("dk.module")


def dated_back(facts: list[facts_pb2.Fact]) -> None:
    facts[2].key.valid_from.CopyFrom(timestamp(days(-100)))


def unsaid(facts: list[facts_pb2.Fact]) -> None:
    del facts[4]


def invented(facts: list[facts_pb2.Fact]) -> None:
    made = facts_pb2.Fact()
    made.CopyFrom(facts[3])
    made.accreditation.id = uuid(0xA002)
    facts.append(made)


@pytest.mark.parametrize(
    ("lie", "kind", "subject"),
    [
        (widened, "fact.rewritten", f"accreditation {uuid(0xA001)} revision 1"),
        (dated_back, "fact.rewritten", f"key {OPERATOR_KEY.key_id} revision 1"),
        (unsaid, "fact.hidden", f"accreditation {uuid(0xA001)} revision 2"),
        (invented, "fact.unlogged", f"accreditation {uuid(0xA002)} revision 1"),
    ],
)
def test_a_lie_is_named(lie: Callable[[list[facts_pb2.Fact]], None], kind: str, subject: str) -> None:
    shown = [facts_pb2.Fact.FromString(fact.SerializeToString()) for fact in history()]
    lie(shown)
    found = list(check_registry_facts(world(history(), shown)))
    assert [(one.kind, one.subject) for one in found] == [(kind, subject)]
    assert "the registry's table" in found[0].detail
