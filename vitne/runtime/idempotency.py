"""A request repeated is answered with the first answer; repeated with another body, it is refused (AIP-155).

``recall`` and ``remember`` run in the transaction of the effect, so that either both
the effect and its answer are there, or neither. Two such transactions at once meet at
the primary key: the later one is :class:`~vitne.errors.Aborted` with reason
``REQUEST_RACED`` and, rolled back, recalls the answer of the earlier.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
from google.protobuf.message import Message

from vitne.clock import Clock
from vitne.errors import Aborted, AlreadyExists, VitneError
from vitne.messaging.outbox import Statement
from vitne.runtime.migrations import Migrations

#: The tables of this module, to be named among a service's migrations.
MIGRATIONS: Final = Migrations("runtime", Path(__file__).parent / "sql")

_REMEMBER: Final = """
    INSERT INTO request (caller, method, request_id, body_digest, response, recorded)
    SELECT caller, method, request_id, body_digest, response, $6
    FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[], $5::bytea[])
        AS answered (caller, method, request_id, body_digest, response)
"""

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """One request, as its caller names it.

    Attributes:
        caller: organisation on whose behalf it is made, as text.
        method: full name of the RPC method, ``vitne.registry.v1.RegistryService/RegisterKey``.
        request_id: the caller's idempotency key.
        digest: :func:`body_digest` of the request.
    """

    caller: str
    method: str
    request_id: UUID
    digest: bytes


def body_digest(message: Message, *, key: bytes | None = None) -> bytes:
    """32 bytes that stand for a request's body.

    Args:
        message: the request.
        key: secret for requests with personal data: a plain hash of a name and a
            national identity number could be found by trying them all.
    """
    body = message.SerializeToString(deterministic=True)
    return hashlib.sha256(body).digest() if key is None else hmac.new(key, body, hashlib.sha256).digest()


async def recall(conn: Any, caller: str, method: str, request_id: UUID, digest: bytes) -> bytes | None:
    """The first answer to a request; None when it is new.

    Raises:
        AlreadyExists: ``REQUEST_ID_REUSED``: the id was used with another body.
    """
    (answer,) = await recall_many(conn, [RequestKey(caller, method, request_id, digest)])
    if isinstance(answer, AlreadyExists):
        raise answer
    return answer


async def recall_many(conn: Any, requests: Sequence[RequestKey]) -> list[bytes | AlreadyExists | None]:
    """:func:`recall` for a group in one query; a reused id is answered instead of raised."""
    rows = await conn.fetch(
        """
        SELECT wanted.position, request.body_digest, request.response
        FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY AS wanted (caller, method, request_id, position)
        JOIN request USING (caller, method, request_id)
        """,
        [request.caller for request in requests],
        [request.method for request in requests],
        [request.request_id for request in requests],
    )
    answers: list[bytes | AlreadyExists | None] = [None] * len(requests)
    for position, digest, response in rows:
        same = hmac.compare_digest(digest, requests[position - 1].digest)
        answers[position - 1] = response if same else _reused()
    return answers


async def remember(
    conn: Any, caller: str, method: str, request_id: UUID, digest: bytes, *, response: bytes, recorded: datetime
) -> None:
    """Store the answer to a request, in the transaction of its effect.

    Raises:
        Aborted: ``REQUEST_RACED``: another transaction answered it meanwhile; roll back, then recall.
    """
    await remember_many(conn, [(RequestKey(caller, method, request_id, digest), response)], recorded)


async def remember_many(conn: Any, answers: Sequence[tuple[RequestKey, bytes]], recorded: datetime) -> None:
    """:func:`remember` for a group in one statement."""
    statement = remember_statement(answers, recorded)
    with races_told():
        await conn.execute(statement.sql, *statement.arguments)


def remember_statement(answers: Sequence[tuple[RequestKey, bytes]], recorded: datetime) -> Statement:
    """What :func:`remember_many` executes, to be executed beside others, within :func:`races_told`."""
    requests = [request for request, _ in answers]
    return Statement(
        _REMEMBER,
        (
            [request.caller for request in requests],
            [request.method for request in requests],
            [request.request_id for request in requests],
            [request.digest for request in requests],
            [response for _, response in answers],
            recorded,
        ),
    )


@contextmanager
def races_told() -> Iterator[None]:
    """Around what remembers answers: tells that another transaction was faster.

    Raises:
        Aborted: ``REQUEST_RACED``: another transaction answered one of the requests meanwhile.
    """
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "request":
            raise
        raise Aborted(
            "REQUEST_RACED", "the same request was answered meanwhile", remedy="repeat the call with the same request"
        ) from error


async def answer_once(
    pool: Any, request: RequestKey, clock: Clock, kind: type[M], work: Callable[[Any], Awaitable[M]]
) -> M:
    """Answer a request exactly once: recall, or work and remember, in one transaction.

    Args:
        pool: of asyncpg.
        request: which request.
        clock: says when it was recorded.
        kind: message type of the answer.
        work: does the work on the transaction's connection, behind whatever locks it needs. Of the same
            request at the same time only one effect is committed, and the others get its answer.

    Raises:
        AlreadyExists: ``REQUEST_ID_REUSED``.
        VitneError: what ``work`` raised; nothing is remembered then.
    """
    key = (request.caller, request.method, request.request_id, request.digest)
    try:
        async with pool.acquire() as conn, conn.transaction():
            known = await recall(conn, *key)
            if known is not None:
                return kind.FromString(known)
            answer = await work(conn)
            await remember(conn, *key, response=answer.SerializeToString(), recorded=clock.now())
            return answer
    except (VitneError, asyncpg.IntegrityConstraintViolationError):
        # The same request may have been answered since it was recalled, while this one waited for a lock: what
        # stood in the way is then its own effect, and no refusal.
        known = await recall(pool, *key)
        if known is None:
            raise
        return kind.FromString(known)


def _reused() -> AlreadyExists:
    return AlreadyExists(
        "REQUEST_ID_REUSED",
        "the request id was used before, with another body",
        field="request_id",
        rule="AIP-155: one id, one request",
        remedy="use a new UUID for a new request, and the same body to repeat one",
    )
