"""Static files in S3-compatible object storage, by its REST interface."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from vitne.clock import Clock
from vitne.errors import FailedPrecondition, Unavailable
from vitne.runtime.objects import Kind, Stored
from vitne.runtime.objects.signature_v4 import Credentials, signed_headers

#: Seconds that one file may take.
TIMEOUT_SECONDS: Final = 10.0
#: A file that shows whether the storage holds writes to conditions: it stays there, and is never replaced.
PROBE: Final = "conditional-writes.txt"
_PROBE_DATA: Final = b"By this file the ledger finds out whether the storage writes under conditions.\n"
_PROBE_KIND: Final = Kind("text/plain; charset=utf-8", "no-store")
#: The condition that no file is there, and an entity tag that no file has.
_ANYTHING: Final = ("If-None-Match", "*")
_NO_TAG: Final = '"00000000000000000000000000000000"'
#: Answers of a storage whose condition did not hold, or that had another write of the same file at that instant.
_NOT_HELD: Final = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT)
#: What a storage answers that knows no conditions of writes; others, such as 400, may be for a passing reason.
_UNKNOWN: Final = HTTPStatus.NOT_IMPLEMENTED
#: Answers of a storage that has trouble of its own for a moment, after which it is to be asked again (S3's
#: InternalError and SlowDown, and those of proxies before it), and how long is waited before that.
_TROUBLE: Final = frozenset(
    (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    )
)
_AGAIN_AFTER_SECONDS: Final = (0.1, 0.3)

_log = logging.getLogger(__name__)


class S3Objects:
    """See :class:`~vitne.runtime.objects.Objects`. A put is durable and atomic by what the storage promises.

    Args:
        base: ``https://endpoint/bucket`` or ``https://endpoint/bucket/prefix``, without a slash at the end.
        credentials: who may read and write there.
        clock: dates the requests.
    """

    def __init__(self, base: str, credentials: Credentials, clock: Clock) -> None:
        self._base = base
        self._credentials = credentials
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        #: Whether the storage holds writes to conditions; None: not asked yet.
        self._conditional: bool | None = None
        self._probing = asyncio.Lock()

    async def get(self, path: str) -> bytes | None:
        """See :meth:`Objects.get`."""
        there = await self.read(path)
        return None if there is None else there.data

    async def read(self, path: str) -> Stored | None:
        """See :meth:`Objects.read`."""
        status, body, tag = await self._ask("GET", path, b"", {})
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise _unavailable(f"it answered {status}")
        return Stored(body, tag)

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        """See :meth:`Objects.put`."""
        status, _ = await self._put(path, data, kind, {})
        if status != HTTPStatus.OK:
            raise _unavailable(f"it answered {status}")

    async def replace(self, path: str, data: bytes, kind: Kind, *, over: str | None) -> str | None:
        """See :meth:`Objects.replace`.

        Where the storage knows no conditions, which is asked once and told in the log, what is there is read instead
        right before the write: who writes between the two is not noticed.
        """
        condition = dict([_ANYTHING if over is None else ("If-Match", over)])
        if not await self._is_conditional():
            there = await self.read(path)
            if (None if there is None else there.tag) != over:
                return None
            condition = {}
        status, tag = await self._put(path, data, kind, condition)
        # A file that was to be replaced and is gone is answered like that, too.
        if condition and (status in _NOT_HELD or (over is not None and status == HTTPStatus.NOT_FOUND)):
            return None
        if status != HTTPStatus.OK:
            raise _unavailable(f"it answered {status}")
        return tag

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _is_conditional(self) -> bool:
        async with self._probing:
            if self._conditional is None:
                refused = await self._probe()
                if refused:
                    _log.warning("static copies are written unconditionally: %s", _unconditional(refused))
                self._conditional = not refused
            return self._conditional

    async def _probe(self) -> str:
        """How the storage shows that it does not hold writes to conditions; empty: it does."""
        # The first may be the one that makes the file; the others meet it, and must not be taken.
        for number, (name, value) in enumerate((_ANYTHING, _ANYTHING, ("If-Match", _NO_TAG))):
            status, _ = await self._put(PROBE, _PROBE_DATA, _PROBE_KIND, {name: value})
            if status == _UNKNOWN or (status == HTTPStatus.OK and number):
                return f"it answered {status} to {name}: {value}"
            if status not in (HTTPStatus.OK, *_NOT_HELD):
                raise _unavailable(f"it answered {status}")
        return ""

    async def _put(self, path: str, data: bytes, kind: Kind, condition: dict[str, str]) -> tuple[int, str]:
        headers = {"Content-Type": kind.media_type, "Cache-Control": kind.cache_control, **condition}
        status, _, tag = await self._ask("PUT", path, data, headers)
        return status, tag

    async def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        # All that is asked may be repeated. A write under a condition that had its effect and was answered by trouble
        # is answered then as one that came second; whoever wrote finds their own bytes.
        for seconds in _AGAIN_AFTER_SECONDS:
            answer = await self._ask_once(method, path, body, headers)
            if answer[0] not in _TROUBLE:
                return answer
            await self._clock.sleep(seconds)
        return await self._ask_once(method, path, body, headers)

    async def _ask_once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        url = f"{self._base}/{path}"
        signed = signed_headers(method, url, headers, body, credentials=self._credentials, now=self._clock.now())
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        try:
            # What was signed is what is sent: the path is not to be written anew.
            async with self._session.request(
                method, URL(url, encoded=True), data=body or None, headers=signed, allow_redirects=False
            ) as answer:
                return answer.status, await answer.read(), answer.headers.get("ETag", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(type(error).__name__) from error


def _unconditional(why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "STORAGE_UNCONDITIONAL",
        f"the object storage does not hold a write to its condition: {why}",
        rule="PUT with If-Match and If-None-Match (RFC 9110, section 13.1), as S3 has it",
        remedy="copy to a storage or a release of it that does; until then a copier that was held up may put an "
        "earlier list or checkpoint in place of a later one, so run one replica of the ledger only, or bear it",
    )


def _unavailable(why: str) -> Unavailable:
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"the object storage did not take or give a file: {why}",
        rule="PUT and GET by the S3 REST interface, Signature Version 4",
        remedy="check the bucket's name and rights, the access key, and this machine's clock",
    )
