"""What the hub's topic says, applied in the transaction that moves the offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

from services.portal.store import Store, Told
from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.messaging.event_types import HUB_NOTICE
from vitne.messaging.headers import Message
from vitne.messaging.tracing import is_sampled
from vitne_api.events.v1 import events_pb2

#: ``ce_source`` of everything in a hub's topic.
ISSUER_SOURCE: Final = "/vitne/issuer"
#: Bytes of a pseudonym or handle.
DIGEST_BYTES: Final = 32
_KNOWN: Final = frozenset(
    (events_pb2.HUB_NOTICE_ISSUED, events_pb2.HUB_NOTICE_STATUS_CHANGED, events_pb2.HUB_NOTICE_WITHDRAWN)
)


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
        read = [(_read(message), message) for message in messages]
        for withdrawn, some in groupby(read, lambda pair: pair[0].notice == events_pb2.HUB_NOTICE_WITHDRAWN):
            if withdrawn:
                await self._store.forget(conn, {notice.handle: message.time for notice, message in some})
                continue
            if not await self._store.want(conn, [_told(*pair) for pair in some], self._clock.now()):
                raise _bad("handle", "another learner's")
            self._arrived()


def _read(message: Message) -> events_pb2.HubCredentialNotice:
    if message.type != HUB_NOTICE:
        raise InvalidArgument("UNKNOWN_EVENT", f"{message.type} does not belong in a hub's topic", field="ce_type")
    notice = events_pb2.HubCredentialNotice.FromString(message.value)
    for name in ("handle", "pseudonym"):
        if len(from_b64url(getattr(notice, name), field=name)) != DIGEST_BYTES:
            raise _bad(name, f"not {DIGEST_BYTES} bytes")
    if notice.pseudonym != message.key:
        raise _bad("pseudonym", "not the record's key")
    if notice.notice not in _KNOWN:
        raise InvalidArgument("UNKNOWN_NOTICE", f"notice {notice.notice} is not known here", field="notice")
    if notice.notice != events_pb2.HUB_NOTICE_WITHDRAWN:
        OrganisationId.parse(notice.provider, field="provider")
    return notice


def _told(notice: events_pb2.HubCredentialNotice, message: Message) -> Told:
    return Told(
        handle=notice.handle,
        pseudonym=notice.pseudonym,
        kind=notice.kind,
        provider=notice.provider,
        happened=message.time,
        traceparent=message.traceparent if is_sampled(message.traceparent) else None,
    )


def _bad(field: str, what: str) -> InvalidArgument:
    return InvalidArgument("BAD_NOTICE", f"the notice's {field} is {what}", field=field, rule="docs/events.md: hubs")
