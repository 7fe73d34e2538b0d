"""What the hub's topic says, applied in the transaction that moves the offset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from services.portal.store import Store
from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.messaging.headers import Message
from vitne.runtime.telemetry import sampled_traceparent
from vitne_api.events.v1 import events_pb2

#: ``ce_type`` of everything in a hub's topic.
NOTICE_TYPE: Final = "vitne.hub.notice.v1"
#: ``ce_source`` of everything in a hub's topic.
ISSUER_SOURCE: Final = "/vitne/issuer"
#: Bytes of a pseudonym or handle.
DIGEST_BYTES: Final = 32


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

    async def handle(self, conn: Any, message: Message) -> None:
        """Apply one notice.

        Raises:
            InvalidArgument: ``UNKNOWN_EVENT``, ``UNKNOWN_NOTICE``, ``BAD_NOTICE``, ``BAD_BASE64URL``,
                ``BAD_ORGANISATION``: it can't be handled, however often it is tried.
        """
        if message.type != NOTICE_TYPE:
            raise InvalidArgument("UNKNOWN_EVENT", f"{message.type} does not belong in a hub's topic", field="ce_type")
        notice = events_pb2.HubCredentialNotice.FromString(message.value)
        for name in ("handle", "pseudonym"):
            if len(from_b64url(getattr(notice, name), field=name)) != DIGEST_BYTES:
                raise _bad(name, f"not {DIGEST_BYTES} bytes")
        if notice.pseudonym != message.key:
            raise _bad("pseudonym", "not the record's key")
        if notice.notice == events_pb2.HUB_NOTICE_WITHDRAWN:
            await self._store.forget(conn, [notice.handle])
            return
        if notice.notice not in (events_pb2.HUB_NOTICE_ISSUED, events_pb2.HUB_NOTICE_STATUS_CHANGED):
            raise InvalidArgument("UNKNOWN_NOTICE", f"notice {notice.notice} is not known here", field="notice")
        OrganisationId.parse(notice.provider, field="provider")
        known = await self._store.want(
            conn,
            handle=notice.handle,
            pseudonym=notice.pseudonym,
            kind=notice.kind,
            provider=notice.provider,
            now=self._clock.now(),
            happened=message.time,
            traceparent=sampled_traceparent(),
        )
        if not known:
            raise _bad("handle", "another learner's")
        self._arrived()


def _bad(field: str, what: str) -> InvalidArgument:
    return InvalidArgument("BAD_NOTICE", f"the notice's {field} is {what}", field=field, rule="docs/events.md: hubs")
