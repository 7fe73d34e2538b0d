"""The table of facts: appended to under one lock, read in order, never changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from services.registry.events import events_of, heartbeat, subject_aggregate
from vitne.accreditation import fact_digest, instant, timestamp
from vitne.accreditation.facts import content_kind
from vitne.messaging import outbox
from vitne_api.registry.v1 import facts_pb2


async def lock_head(conn: Any) -> int:
    """The newest revision; nobody else writes until the transaction ends."""
    revision: int = await conn.fetchval("SELECT revision FROM registry_head FOR UPDATE")
    return revision


async def head(conn: Any) -> int:
    """The newest committed revision."""
    revision: int = await conn.fetchval("SELECT revision FROM registry_head")
    return revision


async def append(
    conn: Any, draft: facts_pb2.Fact, *, newest: int, actor: str, at: datetime, new_id: Callable[[], UUID]
) -> facts_pb2.Fact:
    """Record a fact and what is told of it, in the transaction that holds the lock of :func:`lock_head`.

    Args:
        conn: with that transaction.
        draft: subject and content; the rest is set here.
        newest: what :func:`lock_head` answered.
        actor: the organisation that made it so.
        at: when it is recorded.
        new_id: makes UUIDv7.
    """
    fact = facts_pb2.Fact()
    fact.CopyFrom(draft)
    fact.id = str(new_id())
    fact.registry_revision = newest + 1
    fact.subject_revision = await outbox.next_revision(conn, subject_aggregate(fact.subject))
    fact.recorded_at.CopyFrom(timestamp(at))
    fact.actor = actor
    await enter(conn, fact)
    await outbox.append(conn, events_of(fact, new_id=new_id))
    return fact


async def enter(conn: Any, fact: facts_pb2.Fact) -> None:
    """Enter a whole fact as the newest, in the transaction that holds the lock of :func:`lock_head`.

    Raises:
        DataLoss: ``UNKNOWN_FACT``: it says what this release does not know.
    """
    await conn.execute(
        """
        INSERT INTO fact (registry_revision, id, subject, subject_revision, kind, recorded_at, actor, digest, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        fact.registry_revision,
        UUID(fact.id),
        fact.subject,
        fact.subject_revision,
        content_kind(fact),
        instant(fact.recorded_at),
        fact.actor,
        fact_digest(fact),
        fact.SerializeToString(deterministic=True),
    )
    await conn.execute("UPDATE registry_head SET revision = $1", fact.registry_revision)


async def officer_alias(conn: Any, case_id: UUID, organisation: str, subject: str) -> str | None:
    """What the facts of a case call an officer; None for one who did nothing in it yet."""
    alias: str | None = await conn.fetchval(
        "SELECT alias FROM officer WHERE case_id = $1 AND organisation = $2 AND subject = $3",
        case_id,
        organisation,
        subject,
    )
    return alias


async def officer_known(conn: Any, alias: str) -> bool:
    """Whether it is known whom a fact's officer stands for."""
    known: bool = await conn.fetchval("SELECT EXISTS (SELECT FROM officer WHERE alias = $1)", alias)
    return known


async def remember_officer(conn: Any, case_id: UUID, organisation: str, subject: str, alias: str) -> None:
    """Keep whom a fact's officer stands for, in the transaction of the fact."""
    await conn.execute(
        "INSERT INTO officer (case_id, organisation, subject, alias) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        case_id,
        organisation,
        subject,
        alias,
    )


async def facts_after(conn: Any, revision: int, limit: int, subject: str = "") -> list[facts_pb2.Fact]:
    """Facts beyond a revision in their order; of one subject, or of all where it is empty."""
    rows = await conn.fetch(
        """
        SELECT body FROM fact WHERE registry_revision > $1 AND ($3 = '' OR subject = $3)
        ORDER BY registry_revision LIMIT $2
        """,
        revision,
        limit,
        subject,
    )
    return [facts_pb2.Fact.FromString(row["body"]) for row in rows]


async def beat(conn: Any, *, at: datetime, not_since: datetime, new_id: Callable[[], UUID]) -> bool:
    """Write a heartbeat, in the transaction that is open, unless a replica wrote one after ``not_since``.

    It takes the lock of the facts: every fact up to the revision that it tells has its
    event in the outbox already.
    """
    revision = await conn.fetchval(
        "UPDATE registry_head SET beat_at = $1 WHERE beat_at <= $2 RETURNING revision", at, not_since
    )
    if revision is None:
        return False
    await outbox.append(conn, [heartbeat(revision, at, new_id=new_id)])
    return True
