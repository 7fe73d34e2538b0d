"""One attempt: a POST, and what its answer means (Standard Webhooks 1.0.0, "Delivery success and failure")."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from services.issuer.webhooks.address import Guard
from services.issuer.webhooks.resolver import SeparateResolver
from services.issuer.webhooks.schedule import Answer
from vitne.clock import Clock
from vitne.errors import InvalidArgument
from vitne.runtime.fetch import AddressNotPublic, PublicResolver
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks

#: Whole time of an attempt in seconds: the least that the specification recommends.
TIMEOUT_SECONDS: Final = 15.0
#: Largest body of an answer that is read, in bytes. It means nothing: reading it lets the connection be used again.
MAX_ANSWER_BYTES: Final = 1024
#: Seconds that such a body may take; the answer counts without it.
ANSWER_SECONDS: Final = 1.0
#: Seconds that a connection is kept for the next event.
KEEPALIVE_SECONDS: Final = 15.0
#: More seconds than anybody means with ``Retry-After``: 31 years.
_MOST_SECONDS: Final = 1_000_000_000

_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "Vitne-Webhooks/1"}
_log = logging.getLogger(__name__)


class Sender:
    """Posts events. :meth:`close` it at the end.

    Redirects are not followed, proxies of the environment not used, cookies not kept.

    Args:
        guard: says what may be called.
        clock: for answers that name an instant.
        connections: at once.
        timeout_seconds: whole time of an attempt.
        resolver: of host names, closed with this; the system's own, in threads apart, unless said otherwise.
        tls: how certificates are checked; against the system's authorities unless said otherwise.
    """

    def __init__(
        self,
        guard: Guard,
        clock: Clock,
        *,
        connections: int,
        timeout_seconds: float = TIMEOUT_SECONDS,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._connections = connections
        self._timeout = timeout_seconds
        self._resolver = resolver
        self._tls = tls
        self._names: PublicResolver | None = None
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close connections; the sender may be used again."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._names is not None:
            await self._names.close()
            self._names = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Make one attempt. What goes wrong is an answer too: nothing is raised."""
        try:
            self._guard.check(url)
            async with (
                asyncio.timeout(self._timeout),
                self._open().post(
                    URL(url, encoded=True), headers={**_HEADERS, **headers}, data=body, allow_redirects=False
                ) as response,
            ):
                answer = self._understand(response)
                await _finish(response)
                return answer
        except TimeoutError:
            return Answer(webhooks.WEBHOOK_OUTCOME_TIMEOUT)
        except InvalidArgument:
            return Answer(webhooks.WEBHOOK_OUTCOME_ADDRESS_REFUSED)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Only its type is ever told: the message may have the URL in it.
            _log.debug("attempt failed: %s", type(error).__name__)
            return Answer(_outcome(error))

    def _understand(self, response: aiohttp.ClientResponse) -> Answer:
        if 200 <= response.status <= 299:
            return Answer(webhooks.WEBHOOK_OUTCOME_ACKNOWLEDGED, response.status)
        wait = _retry_after(response.headers.get("Retry-After", ""), self._clock.now())
        return Answer(webhooks.WEBHOOK_OUTCOME_REFUSED, response.status, wait)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._names = PublicResolver(self._resolver or SeparateResolver())
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._names,
                    socket_factory=self._guard.socket_factory(),
                    ssl=self._tls or True,
                    limit=self._connections,
                    keepalive_timeout=KEEPALIVE_SECONDS,
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _finish(response: aiohttp.ClientResponse) -> None:
    """Read a small body, so that the connection can be used again; else close it."""
    if response.content_length is not None and response.content_length <= MAX_ANSWER_BYTES:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await response.read()
            return
        except (aiohttp.ClientError, OSError):  # a timeout is one: the status was said, so the answer stands
            pass
    response.close()


def _outcome(error: Exception) -> webhooks.WebhookOutcome.ValueType:
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return webhooks.WEBHOOK_OUTCOME_TLS_FAILED
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, AddressNotPublic)
        return webhooks.WEBHOOK_OUTCOME_ADDRESS_REFUSED if refused else webhooks.WEBHOOK_OUTCOME_UNREACHABLE
    if isinstance(error, aiohttp.InvalidURL):
        return webhooks.WEBHOOK_OUTCOME_ADDRESS_REFUSED
    return webhooks.WEBHOOK_OUTCOME_BAD_ANSWER


def _retry_after(text: str, now: datetime) -> timedelta | None:
    """How long ``Retry-After`` asks to wait (RFC 9110, section 10.2.3): seconds or a date; None for anything else."""
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:20]), _MOST_SECONDS))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(moment - now, timedelta(0))
