"""The checker sees each kind of disagreement: a world in which all is well, changed in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from tests.faults.sim.grounds import Grounds
from tests.faults.sim.plan import Operation, Scenario
from tests.faults.sim.runner import run
from vitne.audit.agreement import compare
from vitne.audit.snapshots import Block, Lost, ParkedMessage, WorldSnapshot
from vitne_api.events.v1 import events_pb2

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def world(grounds: Grounds) -> WorldSnapshot:
    """Issued, registered, suspended, withdrawn: a learner of each sort, and no fault."""
    operations = [
        Operation(1000, 0, "register", (0,)),
        Operation(1500, 1, "register", (1,)),
        Operation(2000, 2, "batch", (0, 0, 1, 2)),
        Operation(4000, 3, "change", of=2, change="suspend"),
        Operation(6000, 4, "withdraw", (1,)),
    ]
    outcome = run(grounds, Scenario(1, operations, []))
    assert outcome.disagreements == []
    return outcome.snapshot


def issuer(world: WorldSnapshot, **changes: Any) -> WorldSnapshot:
    return replace(world, issuer=replace(world.issuer, **changes))


def log(world: WorldSnapshot, **changes: Any) -> WorldSnapshot:
    return replace(world, ledger=replace(world.ledger, log=replace(world.ledger.log, **changes)))


def lists(world: WorldSnapshot, change: Callable[[Any], Any]) -> WorldSnapshot:
    """Change the list that has a change of a status."""
    changed = [change(each) if each.changes else each for each in world.ledger.lists]
    return replace(world, ledger=replace(world.ledger, lists=changed))


def portal(world: WorldSnapshot, change: Callable[[list[Any]], list[Any]]) -> WorldSnapshot:
    only = world.portals[0]
    return replace(world, portals=[replace(only, gathered=change(list(only.gathered)))])


def first(world: WorldSnapshot, **changes: Any) -> WorldSnapshot:
    """Change the first credential."""
    head, *rest = world.issuer.credentials
    return issuer(world, credentials=[replace(head, **changes), *rest])


def hub_topic(world: WorldSnapshot, change: Callable[[list[Any]], list[Any]]) -> WorldSnapshot:
    name = next(name for name in world.topics if name.startswith("vitne.hub.") and not name.endswith(".dead"))
    topic = world.topics[name]
    return replace(world, topics={**world.topics, name: replace(topic, records=change(list(topic.records)))})


def ended(records: list[Any]) -> Any:
    """What would follow on the newest record of a learner who has something, if her registration ended."""
    newest = {record.key: record for record in records}
    last = next(
        record
        for record in reversed(newest.values())
        if events_pb2.HubCredentialNotice.FromString(record.value).notice
        in (events_pb2.HUB_NOTICE_ISSUED, events_pb2.HUB_NOTICE_STATUS_CHANGED)
    )
    notice = events_pb2.HubCredentialNotice(notice=events_pb2.HUB_NOTICE_REGISTRATION_ENDED, pseudonym=last.key)
    return replace(last, offset=last.offset + 1, revision=last.revision + 1, value=notice.SerializeToString())


def parked(world: WorldSnapshot) -> WorldSnapshot:
    stuck = [ParkedMessage("issuer", "vitne.ledger.status.v1", 0, 1, "failed", "BAD_EVENT")]
    return issuer(world, messaging=replace(world.issuer.messaging, parked=stuck))


CASES: Final[dict[str, Callable[[WorldSnapshot], WorldSnapshot]]] = {
    "credential.pending": lambda world: first(world, digest=None),
    "request.twice": lambda world: first(world, request=world.issuer.credentials[1].request),
    "digest.twice": lambda world: first(world, digest=world.issuer.credentials[1].digest),
    "index.twice": lambda world: first(world, index=world.issuer.credentials[1].index),
    "index.lost": lambda world: issuer(world, blocks=[]),
    "index.invented": lambda world: issuer(
        world,
        blocks=[
            *world.issuer.blocks,
            Block(world.issuer.credentials[0].id, world.issuer.credentials[0].list_url, (0,), 1),
        ],
    ),
    "status.issuer": lambda world: first(world, status="revoked"),
    "answer.lost": lambda world: issuer(world, credentials=world.issuer.credentials[1:]),
    "answer.changed": lambda world: first(world, digest=bytes(32)),
    "outbox.unpublished": lambda world: issuer(world, messaging=replace(world.issuer.messaging, unpublished=1)),
    "consumer.parked": parked,
    "consumer.offset": lambda world: issuer(
        world,
        messaging=replace(
            world.issuer.messaging,
            progress=[replace(each, next_offset=each.next_offset + 1) for each in world.issuer.messaging.progress],
        ),
    ),
    "log.queued": lambda world: log(world, queued=1),
    "log.root": lambda world: log(world, root=bytes(32)),
    "log.gap": lambda world: log(
        world, leaves={index: leaf for index, leaf in world.ledger.log.leaves.items() if index != 2}
    ),
    "leaf.twice": lambda world: log(
        world, leaves={**world.ledger.log.leaves, world.ledger.log.size: world.ledger.log.leaves[0]}
    ),
    "leaf.malformed": lambda world: log(world, leaves={**world.ledger.log.leaves, 0: b"{}"}),
    "leaf.missing": lambda world: log(
        world, leaves={index: leaf for index, leaf in world.ledger.log.leaves.items() if b'"status"' not in leaf}
    ),
    "leaf.unexplained": lambda world: replace(world, registry=None),
    "list.unpublished": lambda world: lists(world, lambda each: replace(each, published=None)),
    "status.list": lambda world: lists(world, lambda each: replace(each, published={})),
    "list.stale": lambda world: lists(world, lambda each: replace(each, published_digest=bytes(32))),
    "version.number": lambda world: lists(world, lambda each: replace(each, versions=each.versions[1:])),
    "change.number": lambda world: lists(
        world, lambda each: replace(each, changes=[replace(change, number=2) for change in each.changes])
    ),
    "lease.overlap": lambda world: lists(
        world, lambda each: replace(each, leases=[replace(lease, first=lease.first + 1) for lease in each.leases])
    ),
    "handle.missing": lambda world: issuer(world, handles=world.issuer.handles[1:]),
    "handle.unregistered": lambda world: issuer(world, registrations=[]),
    "notice.unregistered": lambda world: issuer(world, registrations=[], handles=[]),
    "notice.missing": lambda world: hub_topic(world, lambda records: []),
    "notice.left": lambda world: hub_topic(world, lambda records: [*records, ended(records)]),
    "event.gap": lambda world: hub_topic(world, lambda records: records[1:]),
    "event.differs": lambda world: hub_topic(
        world, lambda records: [*records, replace(records[0], offset=99, value=b"")]
    ),
    "event.partition": lambda world: hub_topic(world, lambda records: [*records, replace(records[0], partition=9)]),
    "portal.missing": lambda world: portal(world, lambda rows: rows[1:]),
    "portal.unexplained": lambda world: portal(world, lambda rows: [*rows, replace(rows[0], handle="another")]),
    "portal.pending": lambda world: portal(world, lambda rows: [replace(rows[0], pending=True), *rows[1:]]),
    "portal.status": lambda world: portal(world, lambda rows: [replace(row, status="revoked") for row in rows]),
    "portal.artefact": lambda world: portal(world, lambda rows: [replace(rows[0], digest=bytes(32)), *rows[1:]]),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_checker_sees(world: WorldSnapshot, kind: str) -> None:
    found = compare(CASES[kind](world))
    assert kind in {disagreement.kind for disagreement in found}, found


def test_an_open_lease_is_no_excuse_for_what_the_ledger_has_given(world: WorldSnapshot) -> None:
    """The issuer repeats the request until it is answered, however large its stock is."""
    opened = [replace(block, list_url=None, indexes=(), size=len(block.indexes)) for block in world.issuer.blocks]
    assert opened
    assert {found.kind for found in compare(issuer(world, blocks=opened))} == {"index.lost"}


#: Later than everything in the world, and before all of it.
LATER, EARLIER = datetime(2100, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC)


def restored(world: WorldSnapshot, at: datetime = LATER, **record: Any) -> WorldSnapshot:
    """A credential that no hub was told of is lost in a restore, and recorded so."""
    told = {handle.credential for handle in world.issuer.handles}
    gone = next(each for each in world.issuer.credentials if each.id not in told)
    lost = Lost(gone.digest or b"", gone.id, gone.provider, gone.list_url, gone.index)
    return issuer(
        world,
        credentials=[each for each in world.issuer.credentials if each != gone],
        blocks=[],
        lost=[replace(lost, **record)],
        restores=[at],
    )


def found(world: WorldSnapshot) -> set[str]:
    return {each.kind for each in compare(world)}


def test_what_a_restore_lost_and_recorded_is_explained(world: WorldSnapshot) -> None:
    assert found(restored(world)) == set()


def test_a_loss_without_a_record_is_none(world: WorldSnapshot) -> None:
    silent = restored(world)
    assert found(replace(silent, issuer=replace(silent.issuer, lost=()))) >= {"leaf.unexplained", "answer.lost"}


def test_the_place_of_what_was_lost_is_taken(world: WorldSnapshot) -> None:
    taken = world.issuer.credentials[-1]
    assert "index.twice" in found(restored(world, list_url=taken.list_url, index=taken.index))


def test_places_that_were_leased_since_the_restore_are_not_forgiven(world: WorldSnapshot) -> None:
    assert "index.lost" in found(restored(world, EARLIER))


def test_places_that_a_restored_ledger_closed_are_nobodys(world: WorldSnapshot) -> None:
    def close(each: Any) -> Any:
        rest = replace(each.leases[0], first=each.leased, count=each.size - each.leased, closed=True)
        return replace(each, leased=each.size, leases=[*each.leases, rest])

    assert found(lists(world, close)) == set()
    unclosed = lists(
        world,
        lambda each: (
            (changed := close(each))
            and replace(changed, leases=[replace(lease, closed=False) for lease in changed.leases])
        ),
    )
    assert "index.lost" in found(unclosed)
