"""A learner at the portal, without a screen: the same pages and forms that a browser would use."""

from __future__ import annotations

import html
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import aiohttp

from vitne.clock import SystemClock
from vitne.dev.emrex import leaving
from vitne.dev.identity import confirm, log_in
from vitne.dev.wallet import WalletOffer
from vitne.errors import FailedPrecondition
from vitne.identifiers import UuidFactory

_CSRF: Final = re.compile(r'name="csrf_token" value="([^"]+)"')
_SHARE: Final = re.compile(r'action="/me/shares/([^"/]+)/document"')
_LINK: Final = re.compile(r'id="link" href="([^"]+)"')
_CODE: Final = re.compile(r'id="code">([^<]+)<')


@dataclass(frozen=True, slots=True)
class Shared:
    """What a learner is told of a share.

    Attributes:
        id: of the share.
        url: the link.
        code: that it asks for.
    """

    id: str
    url: str
    code: str


class LearnerBrowser:
    """A session with the portal. Use as an async context manager.

    Args:
        portal_url: the portal's address, without a path.
        trust: how certificates are checked; against the system's authorities unless said otherwise.
    """

    def __init__(self, portal_url: str, trust: ssl.SSLContext | None = None) -> None:
        self._portal = portal_url
        self._form_token = ""
        self._national_id = ""
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
        self._form_token = ""
        self._national_id = national_id
        await log_in(self._session, f"{self._portal}/login?with=id-porten", national_id)

    async def page(self) -> str:
        """The learner's page, as HTML."""
        async with self._session.get(f"{self._portal}/me") as response:
            return await _text(response)

    def cookies(self) -> str:
        """What the browser sends with each request."""
        return _cookies(self._session)

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

    async def choosing(self) -> str:
        """The form in which she picks what to share, as HTML."""
        async with self._session.get(f"{self._portal}/me/shares/new") as response:
            return await _text(response)

    async def share(self, handles: Sequence[str], claims: Sequence[str] = (), days: int = 7) -> Shared:
        """Share credentials, with these of their claims that may be withheld."""
        fields = [("share", str(UuidFactory(SystemClock())())), ("days", str(days))]
        for handle in handles:
            fields += [("pick", handle), *((f"claims.{handle}", claim) for claim in claims)]
        page = (await self._send("/me/shares", fields)).decode()
        found = [pattern.search(page) for pattern in (_SHARE, _LINK, _CODE)]
        if not all(found):
            raise FailedPrecondition("NO_LINK", "the page has no link and code")
        return Shared(*(html.unescape(match[1]) for match in found if match))

    async def document(self, shared: Shared) -> bytes:
        """A share of hers as a signed PDF."""
        fields = [("token", shared.url.rpartition("/")[2]), ("code", shared.code)]
        return await self._send(f"/me/shares/{shared.id}/document", fields)

    async def file(self, handle: str, format_: str) -> bytes:
        """A credential of hers in a format, as she downloads it."""
        async with self._session.get(f"{self._portal}/me/credentials/{handle}/files/{format_}") as response:
            _check(response)
            return await response.read()

    async def offer_to_wallet(self, handle: str) -> WalletOffer | None:
        """Press the button that offers a credential of hers to a wallet; None where the page says why she can't."""
        path = f"/me/credentials/{handle}/wallet"
        async with self._session.get(f"{self._portal}{path}") as response:
            if f'action="{path}"' not in await _text(response):
                return None
        page = (await self._send(path, [])).decode()
        link, code = _LINK.search(page), _CODE.search(page)
        if link is None or code is None:
            raise FailedPrecondition("NO_LINK", "the page has no link and code")
        return WalletOffer(html.unescape(link[1]), html.unescape(code[1]))

    async def import_from(self, provider: str, handles: Sequence[str]) -> str:
        """Fetch results of hers over EMREX from a data provider where she has these, and keep them.

        Args:
            provider: its acronym. It is a portal of ours, and the same browser is logged in there.
            handles: of the credentials that she chooses there.

        Returns:
            The page on which she sees what came, before she keeps it.
        """
        page = (await self._send("/me/imports", [("provider", provider)])).decode()
        self._form_token = ""  # She has logged in anew.
        request = leaving(page, "http")
        async with self._session.post(request.url, data=request.fields) as response:
            choice = leaving(await _text(response), "/emrex/answer")
        fields = [*choice.fields.items(), *(("pick", handle) for handle in handles)]
        async with self._session.post(str(response.url.with_path(choice.url)), data=fields) as response:
            answer = leaving(await _text(response), request.fields["returnUrl"])
        async with self._session.post(answer.url, data=answer.fields) as response:
            came = await _text(response)
        await self._send(f"{response.url.path}/keep", [])
        return came

    async def imported(self) -> str:
        """Her page of imports."""
        async with self._session.get(f"{self._portal}/me/imports") as response:
            return await _text(response)

    async def stop_sharing(self, shared: Shared) -> None:
        """Withdraw a share of hers."""
        await self._send(f"/me/shares/{shared.id}/withdraw", [])

    async def erase(self) -> None:
        """Press the button that erases her here and at the issuer; she is logged out by it."""
        await self._press("/privacy/erase")

    async def export(self) -> dict[str, Any]:
        """Ask for a copy of all that is held of her here and at the issuer, and fetch it."""
        await self._press("/privacy/export")
        async with self._session.get(f"{self._portal}/privacy/vitne.json") as response:
            await _text(response)
            copy: dict[str, Any] = await response.json()
        return copy

    async def _json(self) -> dict[str, Any]:
        async with self._session.get(f"{self._portal}/me.json") as response:
            await _text(response)
            answer: dict[str, Any] = await response.json()
        return answer

    async def _press(self, path: str) -> None:
        await self._send(path, [])
        self._form_token = ""  # She may have logged in anew.

    async def _send(self, path: str, fields: Sequence[tuple[str, str]]) -> bytes:
        """Send a form of hers; what is answered."""
        if not self._form_token:
            token = _CSRF.search(await self.page())
            if token is None:
                raise FailedPrecondition("NO_FORM", "the learner's page has no form to press")
            self._form_token = html.unescape(token[1])
        form = [("csrf_token", self._form_token), *fields]
        async with self._session.post(f"{self._portal}{path}", data=form) as response:
            _check(response)
            if str(response.url).startswith(self._portal):
                return await response.read()
            # An act that she confirms: the provider asks once more who she is.
            _, page = await confirm(self._session, str(response.url), await response.text(), self._national_id)
            return page.encode()


class VisitorBrowser:
    """Somebody with whom something was shared. Use as an async context manager.

    Args:
        shared: link and code.
        trust: how certificates are checked; against the system's authorities unless said otherwise.
    """

    def __init__(self, shared: Shared, trust: ssl.SSLContext | None = None) -> None:
        self._shared = shared
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), connector=aiohttp.TCPConnector(ssl=trust or True)
        )

    async def __aenter__(self) -> VisitorBrowser:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def open(self) -> str:
        """Give the code; the page that it opens."""
        async with self._session.post(self._shared.url, data={"code": self._shared.code}) as response:
            return await _text(response)

    async def look(self) -> str:
        """The page again."""
        async with self._session.get(self._shared.url) as response:
            return await _text(response)

    async def credential(self) -> str:
        """The first credential for machines."""
        async with self._session.get(f"{self._shared.url}/1") as response:
            return await _text(response)

    def cookies(self) -> str:
        """What the browser sends with each request."""
        return _cookies(self._session)


def _cookies(session: aiohttp.ClientSession) -> str:
    return "; ".join(f"{cookie.key}={cookie.value}" for cookie in session.cookie_jar)


def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        raise FailedPrecondition("PAGE_FAILED", f"{response.method} {response.url.path} answered {response.status}")


async def _text(response: aiohttp.ClientResponse) -> str:
    _check(response)
    return await response.text()
