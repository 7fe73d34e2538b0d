"""``python -m services.portal reconcile``: after the portal's database, or the issuer's, was restored.

What the portal has gathered follows from its topic, which it reads on from the restored offset. That a learner is
registered follows from nothing but her own row: where the topic says that her registration has ended, her row goes,
unless she registered again after that end; both instants are by the issuer's clock. Releases before said only that each
of her credentials was withdrawn: where the topic says that of all she had here, her registration ended then.

That others may see something of hers follows from nothing but rows here, too: in a restored database shares and
employers' access are open that learners have ended since, and nothing tells which. So all are ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from vitne.messaging.headers import Message
from vitne_api.events.v1 import events_pb2


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was done.

    Attributes:
        registrations_ended: of learners of whom the hub was told that theirs ended.
        shares_ended: that were open.
        employers_ended: employers' access to what an employee let them see.
    """

    registrations_ended: int
    shares_ended: int = 0
    employers_ended: int = 0

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


async def reconcile(
    pool: asyncpg.Pool, notices: Sequence[Message], read_at: datetime, *, keep_access: bool
) -> Reconciled:
    """Forget learners of whose registration the topic says last that it ended; end what others may see.

    Args:
        pool: the portal's database.
        notices: all of the hub's topic, in the order of partition and offset.
        read_at: from when on what happened may not be in ``notices``.
        keep_access: whether shares, employers' access and sessions stay: this database is not a restored one.
    """
    ended = _ended(notices)
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            """
            DELETE FROM subscriber s USING unnest($1::text[], $2::timestamptz[]) AS ended (pseudonym, at)
            WHERE s.pseudonym = ended.pseudonym AND s.registered_at <= ended.at AND s.registered_at < $3
            RETURNING s.pseudonym
            """,
            list(ended),
            list(ended.values()),
            read_at,
        )
        if keep_access:
            return Reconciled(len(rows))
        return Reconciled(len(rows), await _end_shares(connection, read_at), await _end_employers(connection))


async def _end_shares(connection: Any, now: datetime) -> int:
    """Withdraw those that are open, as their learners do; they see it. So do log-ins and wallets' offers."""
    ended = await connection.fetch(
        "UPDATE share SET withdrawn_at = $1, ended_by = 'operator' "
        "WHERE withdrawn_at IS NULL AND expires_at > $1 RETURNING id",
        now,
    )
    await connection.execute("TRUNCATE share_item, share_visit, session")
    # An offer to a wallet that is open in a restored database may have been taken since.
    await connection.execute("UPDATE wallet_offer SET ended_at = $1 WHERE taken_at IS NULL AND ended_at IS NULL", now)
    return len(ended)


async def _end_employers(connection: Any) -> int:
    ended = await connection.fetch("DELETE FROM employer_consent RETURNING id")
    await connection.execute("TRUNCATE employer_invitation, employer_session")
    return len(ended)


def _ended(notices: Sequence[Message]) -> dict[str, datetime]:
    """Pseudonyms whose registration has ended, by what was said last, and when it did."""
    owned: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, int] = defaultdict(int)
    ended: dict[str, datetime] = {}
    for message in notices:
        if message.revision <= seen[message.key]:
            continue
        seen[message.key] = message.revision
        notice = events_pb2.HubCredentialNotice.FromString(message.value)
        if notice.notice == events_pb2.HUB_NOTICE_REGISTRATION_ENDED:
            owned[message.key].clear()
            ended[message.key] = message.time
        elif notice.notice == events_pb2.HUB_NOTICE_WITHDRAWN:
            owned[message.key].discard(notice.handle)
            if notice.out_of_subscription:  # She is registered as before.
                ended.pop(message.key, None)
            else:
                ended[message.key] = message.time
        else:
            owned[message.key].add(notice.handle)
            ended.pop(message.key, None)
    return {pseudonym: at for pseudonym, at in sorted(ended.items()) if not owned[pseudonym]}
