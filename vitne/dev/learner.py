"""A learner at the portal, without a screen: the same pages and forms that a browser would use."""

from __future__ import annotations

import html
import re
import ssl
from types import TracebackType
from typing import Any, Final

import aiohttp

from vitne.dev.identity import log_in
from vitne.errors import FailedPrecondition

_CSRF: Final = re.compile(r'name="csrf_token" value="([^"]+)"')


class LearnerBrowser:
    """A session with the portal. Use as an async context manager.

    Args:
        portal_url: the portal's address, without a path.
        trust: how certificates are checked; against the system's authorities unless said otherwise.
    """

    def __init__(self, portal_url: str, trust: ssl.SSLContext | None = None) -> None:
        self._portal = portal_url
        # The portal and the issuer of identities are at bare addresses in development.
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), connector=aiohttp.TCPConnector(ssl=trust or True)
        )

    async def __aenter__(self) -> LearnerBrowser:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def log_in(self, national_id: str) -> None:
        """Log in as a synthetic learner, through the OpenID provider."""
        await log_in(self._session, f"{self._portal}/login", national_id)

    async def page(self) -> str:
        """The learner's page, as HTML."""
        async with self._session.get(f"{self._portal}/me") as response:
            return await _text(response)

    async def credentials(self) -> list[dict[str, Any]]:
        """What the portal shows her, as JSON; empty while she is not registered."""
        shown: list[dict[str, Any]] = (await self._json())["credentials"]
        return shown

    async def stacks(self) -> list[dict[str, Any]]:
        """What the portal says that her credentials add up to, as JSON; empty while it can't say."""
        shown: list[dict[str, Any]] = (await self._json())["stacks"] or []
        return shown

    async def registered(self) -> bool:
        """Whether the portal says that she is registered."""
        return bool((await self._json())["registered"])

    async def register(self) -> None:
        """Press the button that registers her with the portal."""
        await self._press("/register")

    async def withdraw(self) -> None:
        """Press the button that ends her registration."""
        await self._press("/withdraw")

    async def _json(self) -> dict[str, Any]:
        async with self._session.get(f"{self._portal}/me.json") as response:
            await _text(response)
            answer: dict[str, Any] = await response.json()
        return answer

    async def _press(self, path: str) -> None:
        token = _CSRF.search(await self.page())
        if token is None:
            raise FailedPrecondition("NO_FORM", "the learner's page has no form to press")
        form = {"csrf_token": html.unescape(token[1])}
        async with self._session.post(f"{self._portal}{path}", data=form) as response:
            await _text(response)


async def _text(response: aiohttp.ClientResponse) -> str:
    if response.status >= 400:
        raise FailedPrecondition("PAGE_FAILED", f"{response.method} {response.url.path} answered {response.status}")
    return await response.text()
