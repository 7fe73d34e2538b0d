"""Static files in S3-compatible object storage, by its REST interface."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from vitne.clock import Clock
from vitne.errors import Unavailable
from vitne.runtime.objects import Kind
from vitne.runtime.objects.signature_v4 import Credentials, signed_headers

#: Seconds that one file may take.
TIMEOUT_SECONDS: Final = 10.0


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

    async def get(self, path: str) -> bytes | None:
        """See :meth:`Objects.get`."""
        status, body = await self._ask("GET", path, b"", {})
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise _unavailable(f"it answered {status}")
        return body

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        """See :meth:`Objects.put`."""
        headers = {"Content-Type": kind.media_type, "Cache-Control": kind.cache_control}
        status, _ = await self._ask("PUT", path, data, headers)
        if status != HTTPStatus.OK:
            raise _unavailable(f"it answered {status}")

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        url = f"{self._base}/{path}"
        signed = signed_headers(method, url, headers, body, credentials=self._credentials, now=self._clock.now())
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        try:
            # What was signed is what is sent: the path is not to be written anew.
            async with self._session.request(
                method, URL(url, encoded=True), data=body or None, headers=signed, allow_redirects=False
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(type(error).__name__) from error


def _unavailable(why: str) -> Unavailable:
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"the object storage did not take or give a file: {why}",
        rule="PUT and GET by the S3 REST interface, Signature Version 4",
        remedy="check the bucket's name and rights, the access key, and this machine's clock",
    )
