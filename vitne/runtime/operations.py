"""Dead letters for operators: ``vitne.operations.v1.OperationsService``, and the same as messages for the command.

What is shown is what the contract bounds: identifiers, the headers of docs/events.md, reasons. Values are not shown:
by contract they hold no personal data, but what is parked may be what broke the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from vitne.canonical import b64url, from_b64url, sha256
from vitne.clock import Clock
from vitne.errors import InvalidArgument, NotFound
from vitne.messaging import desk, parked
from vitne.messaging.headers import KNOWN_HEADERS
from vitne.messaging.lag import ParkedWatch
from vitne.runtime.application import Application
from vitne.runtime.identity import current_caller
from vitne.runtime.telemetry import redact
from vitne_api.operations.v1 import operations_pb2 as operations
from vitne_api.operations.v1 import operations_pb2_grpc as operations_grpc

#: Full name in the contract.
SERVICE: Final = "vitne.operations.v1.OperationsService"
#: Messages or acts of a page where the request names no number.
DEFAULT_PAGE: Final = 100

_STATE: Final = {parked.FAILED: operations.PARKED_STATE_FAILED, parked.WAITING: operations.PARKED_STATE_WAITING}
_STATE_NAME: Final = {
    operations.PARKED_STATE_UNSPECIFIED: "",
    **{number: name for name, number in _STATE.items()},
}
_ACT: Final = {
    desk.REPLAYED: operations.ACT_KIND_REPLAYED,
    desk.DROPPED: operations.ACT_KIND_DROPPED,
    desk.SKIPPED: operations.ACT_KIND_SKIPPED,
}

T = TypeVar("T")


def add_operations(application: Application, pool: asyncpg.Pool, clock: Clock, consumers: Sequence[str]) -> None:
    """Let operators see to what a service's consumers parked, and have it measured.

    Args:
        application: the service's process.
        pool: the database with the consumers' tables.
        clock: dates acts.
        consumers: names of the service's consumers.
    """
    application.add_servicer(
        operations_grpc.add_OperationsServiceServicer_to_server, OperationsRpc(pool, clock, consumers), SERVICE
    )
    application.add_task("parked", ParkedWatch(pool, clock).run)


class OperationsRpc(operations_grpc.OperationsServiceServicer):
    """Implements the contract over one service's database.

    Args:
        pool: the database.
        clock: dates acts.
        consumers: names of the service's consumers; others are not known here.
    """

    def __init__(self, pool: asyncpg.Pool, clock: Clock, consumers: Sequence[str]) -> None:
        self._pool = pool
        self._clock = clock
        self._consumers = tuple(consumers)

    async def ListParked(  # noqa: N802 - the contract's name
        self, request: operations.ListParkedRequest, context: Any
    ) -> operations.ListParkedResponse:
        """What is parked."""
        consumers = [self._known(request.consumer)] if request.consumer else sorted(self._consumers)
        size = request.page_size or DEFAULT_PAGE
        first, after = _read_token(request.page_token, tuple[str, parked.Rank]) or (consumers[0], None)
        found: list[tuple[str, parked.Parked]] = []
        async with self._pool.acquire() as conn:
            # Consumer by consumer: a service has one or two.
            for consumer in (name for name in consumers if name >= first):
                rank = after if consumer == first and after is not None else None
                page = await parked.list_parked(
                    conn, consumer, state=_STATE_NAME[request.state], after=rank, limit=size + 1 - len(found)
                )
                found += [(consumer, message) for message in page]
            shown = found[:size]
            messages = [await show(conn, consumer, message) for consumer, message in shown]
        last = shown[-1] if len(found) > size else None
        return operations.ListParkedResponse(
            messages=messages,
            next_page_token=_write_token((last[0], parked.rank(last[1]))) if last else "",
        )

    async def GetParked(  # noqa: N802 - the contract's name
        self, request: operations.GetParkedRequest, context: Any
    ) -> operations.GetParkedResponse:
        """One parked message."""
        place = self._place(request.place)
        async with self._pool.acquire() as conn:
            message = await parked.get_parked(conn, place.consumer, place.topic, place.partition, place.offset)
            return operations.GetParkedResponse(message=await show(conn, place.consumer, message, headers=True))

    async def ReplayParked(  # noqa: N802 - the contract's name
        self, request: operations.ReplayParkedRequest, context: Any
    ) -> operations.ReplayParkedResponse:
        """Try a failed message again."""
        by = self._mandate(request.request_id, request.ground)
        async with self._pool.acquire() as conn:
            act = await desk.replay(conn, self._place(request.place), by)
        return operations.ReplayParkedResponse(act=show_act(act))

    async def DropParked(  # noqa: N802 - the contract's name
        self, request: operations.DropParkedRequest, context: Any
    ) -> operations.DropParkedResponse:
        """Give a failed message up."""
        by = self._mandate(request.request_id, request.ground)
        async with self._pool.acquire() as conn:
            act = await desk.drop(conn, self._place(request.place), by)
        return operations.DropParkedResponse(act=show_act(act))

    async def SkipGap(  # noqa: N802 - the contract's name
        self, request: operations.SkipGapRequest, context: Any
    ) -> operations.SkipGapResponse:
        """Declare missing revisions lost."""
        by = self._mandate(request.request_id, request.ground)
        async with self._pool.acquire() as conn:
            act = await desk.skip(
                conn,
                self._known(request.consumer),
                request.topic,
                key=request.key,
                revision=request.through_revision,
                by=by,
            )
        return operations.SkipGapResponse(act=show_act(act))

    async def ListActs(  # noqa: N802 - the contract's name
        self, request: operations.ListActsRequest, context: Any
    ) -> operations.ListActsResponse:
        """What operators did."""
        size = request.page_size or DEFAULT_PAGE
        before = _read_token(request.page_token, tuple[datetime, UUID])
        consumer = self._known(request.consumer) if request.consumer else ""
        async with self._pool.acquire() as conn:
            found = await desk.acts(conn, consumer, before=before, limit=size + 1)
        more = len(found) > size
        return operations.ListActsResponse(
            acts=[show_act(act) for act in found[:size]],
            next_page_token=_write_token((found[size - 1].at, found[size - 1].id)) if more else "",
        )

    def _known(self, consumer: str) -> str:
        if consumer not in self._consumers:
            raise NotFound(
                "CONSUMER_UNKNOWN",
                "this service has no such consumer",
                field="consumer",
                rule=f"its consumers: {', '.join(self._consumers)}",
                remedy="ask the service that the consumer belongs to",
            )
        return consumer

    def _place(self, place: operations.Place) -> desk.Place:
        return desk.Place(self._known(place.consumer), place.topic, place.partition, place.offset)

    def _mandate(self, request_id: str, ground: str) -> desk.Mandate:
        caller = current_caller()
        return desk.Mandate(UUID(request_id), f"{caller.organisation} {caller.client_id}", ground, self._clock.now())


async def show(
    conn: asyncpg.Connection, consumer: str, message: parked.Parked, *, headers: bool = False
) -> operations.ParkedMessage:
    """A parked message as operators see it.

    Args:
        conn: to the consumer's database.
        consumer: whose message it is.
        message: the message.
        headers: whether to show its headers.
    """
    value = message.value or b""
    seen = await parked.seen_revision(conn, consumer, message.topic, message.text_key)
    return operations.ParkedMessage(
        place=operations.Place(
            consumer=consumer, topic=message.topic, partition=message.partition, offset=message.offset
        ),
        state=_STATE[message.state],
        key=redact(message.text_key),
        revision=message.revision or 0,
        handled_revision=seen,
        reason=message.reason,
        detail=redact(message.detail),
        parked_at=_timestamp(message.parked_at),
        value_size=len(value),
        value_digest=b64url(sha256(value)),
        headers=[_header(name, raw or b"") for name, raw in message.headers] if headers else (),
    )


def show_act(act: desk.Act) -> operations.Act:
    """An act as operators see it."""
    return operations.Act(
        id=str(act.id),
        kind=_ACT[act.act],
        place=operations.Place(
            consumer=act.consumer, topic=act.topic, partition=act.partition or 0, offset=act.offset or 0
        ),
        key=redact(act.key),
        revision=act.revision or 0,
        cause=act.cause,
        actor=act.actor,
        ground=act.ground,
        at=_timestamp(act.at),
    )


def _header(name: str, raw: bytes) -> operations.ParkedMessage.Header:
    known = name in KNOWN_HEADERS
    text = redact(raw.decode(errors="replace")) if known else ""
    return operations.ParkedMessage.Header(name=redact(name), value=text, size=len(raw))


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _write_token(place: object) -> str:
    return b64url(msgspec.json.encode(place))


def _read_token(token: str, kind: type[T]) -> T | None:
    """What a page ended with. It needs no signature: whoever may list may list from anywhere."""
    if not token:
        return None
    try:
        return msgspec.json.decode(from_b64url(token), type=kind)
    except (InvalidArgument, msgspec.MsgspecError) as error:
        raise InvalidArgument(
            "BAD_PAGE_TOKEN",
            "not a page token of this method",
            field="page_token",
            rule="a page token is taken from the previous answer as it is",
            remedy="start from the first page, without a token",
        ) from error
