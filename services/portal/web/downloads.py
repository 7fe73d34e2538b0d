"""A learner's credential as files, in each format that the issuer makes."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from services.portal.local_time import local_date
from services.portal.presentation import show
from services.portal.sharing.downloads import Format, download
from services.portal.store import Kept, Store
from services.portal.web.files import attachment
from services.portal.web.frame import Frame
from services.portal.web.own import own_credential
from services.portal.web.routes import Route
from vitne.clock import Clock
from vitne.errors import NotFound


class DownloadPages:
    """Pages with a credential's files.

    Args:
        frame: what every page shares.
        store: her credentials.
        issuer: stub of the issuer's service.
        clock: what has expired.
    """

    def __init__(self, frame: Frame, store: Store, issuer: Any, clock: Clock) -> None:
        self._frame = frame
        self._store = store
        self._issuer = issuer
        self._clock = clock

    def routes(self) -> list[Route]:
        """``/me/credentials/{handle}/files`` and below."""
        return [
            Route("GET", "/me/credentials/{handle}/files", self.files),
            Route("GET", "/me/credentials/{handle}/files/{format}", self.file),
        ]

    async def files(self, request: Request) -> Response:
        """Which files there are, and what for."""
        own = await self._own(request)
        (shown,) = show([own], self._frame.reader(request).languages, local_date(self._clock.now()))
        return await self._frame.render(request, "files.html", one=shown, formats=list(Format))

    async def file(self, request: Request) -> Response:
        """One file: made by the issuer, now or before."""
        own = await self._own(request)
        if request.path_params["format"] not in set(Format):
            raise NotFound("NO_SUCH_FORMAT", "there is no such format", remedy="choose one that the page shows")
        made = await download(self._issuer, own.handle, Format(request.path_params["format"]))
        return attachment(made.content, made.media_type, made.name)

    async def _own(self, request: Request) -> Kept:
        return await own_credential(request, self._store, await self._frame.require_learner(request))
