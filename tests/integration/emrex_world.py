"""A portal that a learner imports to, a portal that she fetches from, and her browser between them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from services.portal.emrex.answering import KEY_LABEL
from services.portal.openid import LoggedIn
from services.portal.signing import organisation_of
from tests.integration.portal_pages import HUB, Browser, Learner, OpenId, Portal
from tests.unit.asgi import Answer
from tests.unit.emrex_samples import NUMBER, clients_file, entry, providers_file
from vitne.clock import Clock
from vitne.credentials.jose import ES256
from vitne.dev.emrex import Leaving, leaving
from vitne.dev.ports import free_ports
from vitne.identifiers import NORWEGIAN_NATIONAL_ID
from vitne.runtime.certificates import DevelopmentCertificates
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.identity import SUBSTANTIAL, LearnerIdentity

HOME, ABROAD = "https://home.example", "https://abroad.example"
#: Two names of this machine.
HOSTS = ("127.0.0.1", "localhost")


class LogsIn(OpenId):
    """A provider that lets in whom a test names, at once."""

    def __init__(self, clock: Clock, number: str = NUMBER) -> None:
        self.number = number
        self._clock = clock

    async def begin(self, purpose: str, _details: str = "", *, anew: bool = False) -> tuple[str, str]:
        return "/callback?code=c&state=s", f"{purpose}.{self.name}.{int(anew)}"

    async def complete(self, attempt: str, _answer: Mapping[str, str]) -> LoggedIn:
        learner = LearnerIdentity(NORWEGIAN_NATIONAL_ID, self.number, SUBSTANTIAL, "subject", self._clock.now())
        return LoggedIn(attempt.partition(".")[0], learner, "token")


class Traveller:
    """A browser with a session at each portal, as far as she has one."""

    def __init__(self, home: Learner, abroad: Learner) -> None:
        self.home = home
        self.abroad = abroad

    async def begin(self, acronym: str = "XX-EMP") -> Leaving:
        """Choose a data provider, log in once more; the form that leads to it."""
        answer = await self.home.press("/me/imports", {"provider": acronym})
        assert answer.status == 303, answer.text
        answer = await self.home.get(answer.header("Location"))
        assert re.fullmatch(r"/me/imports/[0-9a-f-]{36}", answer.header("Location")), answer.text
        page = await self.home.get(answer.header("Location"))
        return leaving(page.text, ABROAD if acronym == "XX-EMP" else "https://")

    async def ask(self, request: Leaving) -> Answer:
        """Follow the form; the page abroad."""
        answer = await sent(self.abroad, request.fields)
        assert (answer.status, answer.header("Location")) == (303, "/emrex/results"), answer.text
        return await self.abroad.get("/emrex/results")

    async def come_back(self, answer: Leaving) -> Answer:
        """Follow the form back; no cookie of home goes along, since another site sends it."""
        stranger = Browser(self.home.portal)
        back = await stranger.post(urlsplit(answer.url).path, answer.fields)
        assert back.cookies() == []
        return back

    async def arrived(self, answer: Leaving) -> str:
        """The same where it is taken: the address of the import."""
        back = await self.come_back(answer)
        assert back.status == 303, back.text
        address = back.header("Location")
        if "?arrival=" in address:
            opened = await self.home.get(address)
            assert opened.status == 303, opened.text
            return opened.header("Location")
        return address


async def sent(browser: Browser, fields: Mapping[str, str]) -> Answer:
    """A request as another site sends it: without the session's cookie, whose answer's cookies are kept."""
    cookies = dict(browser.cookies)
    browser.cookies.clear()
    try:
        return await browser.post("/emrex", fields)
    finally:
        browser.cookies = cookies | browser.cookies


async def certificate(portal: Portal) -> str:
    """The certificate that a portal signs answers with, as clients fetch it."""
    answer = await Browser(portal).get("/emrex/certificate.pem")
    assert answer.status == 200, answer.text
    return answer.text


async def two_portals(
    pool: asyncpg.Pool, folder: Path, home_url: str = HOME, abroad_url: str = ABROAD
) -> tuple[Portal, Portal]:
    """Home and abroad, each of which knows the other; one database, keys of their own."""
    portals = []
    for url in (home_url, abroad_url):
        place = folder / (urlsplit(url).hostname or "")
        place.mkdir(exist_ok=True)
        portal = Portal(pool, place, url)
        portal.openid = LogsIn(portal.clock)
        portal.clients_file = clients_file(place, f"{home_url}/emrex/return")
        portal.restart()
        portals.append(portal)
    home, abroad = portals
    listed = entry(url=f"{abroad_url}/emrex", pubKey=await certificate(abroad))
    home.providers_file = providers_file(home.folder, listed, entry(acronym="ZZ", url="https://zz.example/e"))
    home.restart()
    return home, abroad


def key_of(portal: Portal) -> Any:
    """Signs as a portal's EMP does."""
    return FileKeyCustody(portal.folder).ensure(KEY_LABEL, ES256)


async def chain_of(portal: Portal) -> list[Any]:
    """Certificates of :func:`key_of`."""
    made = DevelopmentCertificates(FileKeyCustody(portal.folder), portal.clock)
    return list(await made.chain(key_of(portal), organisation_of(HUB, portal.url)))


class _Server(uvicorn.Server):
    """A server as a task among others: signals are the test run's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(pool: asyncpg.Pool, folder: Path) -> AsyncIterator[tuple[Portal, Portal]]:
    """Home and abroad over HTTP, at two hosts of this machine: to a browser they are two sites."""
    ports = free_ports(2)
    home, abroad = await two_portals(
        pool, folder, *(f"http://{host}:{port}" for host, port in zip(HOSTS, ports, strict=True))
    )
    servers = []
    async with asyncio.TaskGroup() as running:
        for portal, port in zip((home, abroad), ports, strict=True):
            servers.append(
                _Server(uvicorn.Config(_current(portal), "127.0.0.1", port, log_config=None, lifespan="off"))
            )
            running.create_task(servers[-1].serve())
        while not all(server.started for server in servers):
            await asyncio.sleep(0.01)
        try:
            yield home, abroad
        finally:
            for server in servers:
                server.should_exit = True


def _current(portal: Portal) -> ASGIApp:
    """The portal's application, also after a restart."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await portal.app(scope, receive, send)

    return app
