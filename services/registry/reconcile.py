"""``python -m services.registry reconcile``: after the registry's database was restored to an earlier instant.

Facts are the registry's whole state, and all of them are in its topic: those that the database has forgotten are
entered again as they were recorded, under their own numbers (docs/decisions/0014-after-a-restore.md). A leaf that was
not told of any more is told now. What is lost is the answers under request ids.

One transaction, before the registry serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from services.registry.events import HEARTBEAT_AGGREGATE, events_of, leaf_aggregate, subject_aggregate
from services.registry.officers import case_id_of
from services.registry.store import enter, lock_head, officer_known
from vitne.accreditation import fact_digest
from vitne.clock import Clock
from vitne.errors import DataLoss
from vitne.messaging import recovery
from vitne.messaging.event_types import LOG_LEAF, REGISTRY_FACT
from vitne.messaging.headers import Message
from vitne.messaging.outbox import append
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2

_DIGESTS: Final = "SELECT registry_revision, digest FROM fact"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found and done.

    Attributes:
        facts: entered again.
        leaves: of these, that the log is told of now.
        revisions: aggregates that go on from where their topic is.
        cases: in which an officer acted who is not known any more: who proposed there can't be told from who confirms.
    """

    facts: int
    leaves: int
    revisions: int
    cases: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


async def reconcile(
    pool: asyncpg.Pool,
    facts: Sequence[Message],
    leaves: Sequence[Message],
    heartbeats: Sequence[Message],
    *,
    clock: Clock,
    new_id: Callable[[], UUID],
) -> Reconciled:
    """Put a restored database back in step, in one transaction.

    Args:
        pool: the registry's database; nothing else writes to it.
        facts: all of the registry's own in ``vitne.registry.facts.v1``.
        leaves: all of its own in ``vitne.registry.leaves.v1``.
        heartbeats: all that are left in ``vitne.registry.heartbeat.v1``.
        clock: says when it was.
        new_id: makes UUIDv7.

    Raises:
        FailedPrecondition: ``SERVICE_RUNNING``: a registry uses the database.
        DataLoss: ``FACTS_CONTRADICTED``: database and topic have different facts under one number;
            ``FACTS_INCOMPLETE``: they don't meet; ``UNKNOWN_FACT``: a later release recorded it.
    """
    now = clock.now()
    told = [(subject_aggregate(each.key), each) for each in facts]
    told += [(leaf_aggregate(each.key), each) for each in leaves]
    told += [(HEARTBEAT_AGGREGATE, each) for each in heartbeats]
    async with pool.acquire() as conn, conn.transaction():
        await recovery.require_alone(conn)
        newest = await lock_head(conn)
        known = {row["registry_revision"]: row["digest"] for row in await conn.fetch(_DIGESTS)}
        revisions = await recovery.catch_up(conn, told, now)
        logged = {each.key for each in leaves if each.type == LOG_LEAF}
        entered = leaves_told = 0
        cases = set()
        for fact in _in_order(facts):
            if fact.registry_revision <= newest:
                if known.get(fact.registry_revision) != fact_digest(fact):
                    raise _contradicted(fact)
                continue
            if fact.registry_revision != newest + 1:
                raise _incomplete(newest, fact)
            newest = fact.registry_revision
            await enter(conn, fact)
            entered += 1
            if fact.officer and not await officer_known(conn, fact.officer):
                cases.add(case_id_of(fact))
            if fact.id not in logged:
                untold = [event for event in events_of(fact, new_id=new_id) if event.type == LOG_LEAF]
                await append(conn, untold)
                leaves_told += len(untold)
    return Reconciled(entered, leaves_told, revisions, tuple(sorted(cases)))


def _in_order(messages: Sequence[Message]) -> list[facts_pb2.Fact]:
    """Each fact once, however often it was published."""
    facts = {
        fact.registry_revision: fact
        for fact in (
            events_pb2.RegistryFactRecorded.FromString(each.value).fact
            for each in messages
            if each.type == REGISTRY_FACT
        )
    }
    return [facts[revision] for revision in sorted(facts)]


def _contradicted(fact: facts_pb2.Fact) -> DataLoss:
    return DataLoss(
        "FACTS_CONTRADICTED",
        f"database and topic have different facts under number {fact.registry_revision}",
        rule="a fact is never changed",
        remedy="find out which of them the log has a leaf of; do not serve until then",
        metadata={"fact": fact.id},
    )


def _incomplete(newest: int, fact: facts_pb2.Fact) -> DataLoss:
    return DataLoss(
        "FACTS_INCOMPLETE",
        f"the database has facts to {newest}, the topic goes on from {fact.registry_revision}",
        rule="registry revisions have no gaps",
        remedy="restore to a later instant, or the topic; what is between them can't be made up",
        metadata={"fact": fact.id},
    )
