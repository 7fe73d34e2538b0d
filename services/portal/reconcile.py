"""``python -m services.portal reconcile``: after the portal's database, or the issuer's, was restored.

What the portal has gathered follows from its topic, which it reads on from the restored offset. That a learner is
registered follows from nothing but her own row: where the topic says that all she had here was withdrawn, her
registration has ended (she ended it after that instant, or the issuer lost it), and her row goes. She registers again
when she wants to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import asyncpg
import msgspec

from vitne.messaging.headers import Message
from vitne_api.events.v1 import events_pb2


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was done: ``registrations_ended`` of learners whose credentials the hub was told are withdrawn."""

    registrations_ended: int

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


async def end_registrations(pool: asyncpg.Pool, notices: Sequence[Message], read_at: datetime) -> Reconciled:
    """Forget learners of whom the topic says last that everything is withdrawn.

    Args:
        pool: the portal's database.
        notices: all of the hub's topic, in the order of partition and offset.
        read_at: from when on what happened may not be in ``notices``.
    """
    owned: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, int] = defaultdict(int)
    withdrawn: set[str] = set()
    for message in notices:
        if message.revision <= seen[message.key]:
            continue
        seen[message.key] = message.revision
        notice = events_pb2.HubCredentialNotice.FromString(message.value)
        if notice.notice == events_pb2.HUB_NOTICE_WITHDRAWN:
            owned[message.key].discard(notice.handle)
            if notice.out_of_subscription:  # She is registered as before.
                withdrawn.discard(message.key)
            else:
                withdrawn.add(message.key)
        else:
            owned[message.key].add(notice.handle)
            withdrawn.discard(message.key)
    ended = sorted(pseudonym for pseudonym in withdrawn if not owned[pseudonym])
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            "DELETE FROM subscriber WHERE pseudonym = ANY($1::text[]) AND registered_at < $2 RETURNING pseudonym",
            ended,
            read_at,
        )
    return Reconciled(len(rows))
