"""What the hub's topic says, applied in the transaction that moves the offset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from itertools import groupby
from typing import Any, Final

from services.portal.store import Store, Told
from vitne.clock import Clock
from vitne.messaging.headers import Message
from vitne.messaging.hub_notices import bad_notice, read_notice
from vitne.messaging.tracing import sampled_only
from vitne_api.events.v1 import events_pb2


class _Ending(Enum):
    """What a notice says is over."""

    CREDENTIAL = auto()
    REGISTRATION = auto()


_ENDINGS: Final[Mapping[int, _Ending]] = {
    events_pb2.HUB_NOTICE_WITHDRAWN: _Ending.CREDENTIAL,
    events_pb2.HUB_NOTICE_REGISTRATION_ENDED: _Ending.REGISTRATION,
}


class Notices:
    """Handles notices (``docs/events.md``); order and repetitions are the consumer's job.

    Args:
        store: what is kept.
        clock: when something became due.
        arrived: told of each notice that makes something to fetch; its transaction has not committed yet.
    """

    def __init__(self, store: Store, clock: Clock, arrived: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._arrived = arrived

    async def handle(self, conn: Any, messages: Sequence[Message]) -> None:
        """Apply notices, in their order.

        Raises:
            InvalidArgument: ``UNKNOWN_EVENT``, ``UNKNOWN_NOTICE``, ``BAD_NOTICE``, ``BAD_BASE64URL``,
                ``BAD_ORGANISATION``: it can't be handled, however often it is tried.
        """
        read = [(read_notice(message), message) for message in messages]
        for what, some in groupby(read, lambda pair: _ENDINGS.get(pair[0].notice)):
            if what is _Ending.REGISTRATION:
                for notice, message in some:
                    await self._store.end(conn, notice.pseudonym, message.time)
                continue
            if what is _Ending.CREDENTIAL:
                await self._store.forget(conn, {notice.handle: message.time for notice, message in some})
                continue
            if not await self._store.want(conn, [_told(*pair) for pair in some], self._clock.now()):
                raise bad_notice("handle", "another learner's")
            self._arrived()


def _told(notice: events_pb2.HubCredentialNotice, message: Message) -> Told:
    return Told(
        handle=notice.handle,
        pseudonym=notice.pseudonym,
        kind=notice.kind,
        provider=notice.provider,
        happened=message.time,
        traceparent=sampled_only(message.traceparent),
    )
