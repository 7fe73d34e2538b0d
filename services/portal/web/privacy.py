"""What a learner decides on what is held of her: to see it, to take it with her, and to have it erased."""

from __future__ import annotations

import logging
from typing import Any, Final

import grpc
from fastapi import Request, Response
from google.protobuf.json_format import MessageToDict

from services.portal.holdings import Holdings
from services.portal.local_time import local_date
from services.portal.openid import LoggedIn
from services.portal.presentation import show
from services.portal.store import Kept, Store
from services.portal.web import headers
from services.portal.web.frame import Frame
from services.portal.web.log_in import Arrival, LogIn
from services.portal.web.routes import Route
from vitne.clock import Clock
from vitne.credentials import sd_jwt_vc
from vitne.errors import NotFound, VitneError
from vitne.identifiers import UuidFactory
from vitne.runtime.status import error_from_rpc
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import rights_pb2

#: Her own acts: the issuer is shown the fresh ID token.
EXPORT: Final = "export"
ERASE: Final = "erase"
#: Name of the file that she gets.
FILE: Final = "vitne.json"
#: Digits of a number of credentials, at most.
MAX_DIGITS: Final = 6

_log = logging.getLogger(__name__)


class PrivacyPages:
    """``/privacy`` and what it leads to.

    Args:
        frame: what every page shares.
        log_in: each act is confirmed by a log-in.
        store: what was gathered.
        holdings: all that is held.
        rights: stub of the issuer's service for what learners may ask for.
        clock: what has expired.
    """

    def __init__(
        self, frame: Frame, log_in: LogIn, *, store: Store, holdings: Holdings, rights: Any, clock: Clock
    ) -> None:
        self._frame = frame
        self._log_in = log_in
        self._store = store
        self._holdings = holdings
        self._rights = rights
        self._clock = clock
        self._new_id = UuidFactory(clock)
        log_in.on_arrival(EXPORT, Arrival(self._exported))
        log_in.on_arrival(ERASE, Arrival(self._erased))

    def routes(self) -> list[Route]:
        """``/privacy``, the copy, and erasure."""
        return [
            Route("GET", "/privacy", self.privacy),
            Route("POST", "/privacy/export", self.export),
            Route("GET", f"/privacy/{FILE}", self.copy),
            Route("POST", "/privacy/erase", self.erase),
            Route("GET", "/erased", self.erased),
        ]

    async def privacy(self, request: Request) -> Response:
        """What is held of her, why, and what she can do about it; before she logs in: what that is of anybody."""
        if self._frame.is_stranger(request):
            return await self._frame.render(request, "privacy_open.html")
        lookup = await self._frame.require_learner(request)
        registration, kept = await self._store.registration(lookup), await self._store.credentials(lookup)
        archived = [one for one in kept if _is_archived(one)]
        return await self._frame.render(
            request,
            "privacy.html",
            registered=registration is not None,
            legal_ground=registration and registration.legal_ground,
            count=len(kept),
            archived=show(archived, self._frame.reader(request).languages, local_date(self._clock.now())),
            copy_made=await self._holdings.copy_made(lookup) is not None,
            file=FILE,
        )

    async def export(self, request: Request) -> Response:
        """Her wish for a copy: what the issuer holds is told to a fresh log-in only."""
        await self._frame.require_form(request)
        return await self._log_in.begin(request, EXPORT)

    async def copy(self, request: Request) -> Response:
        """The copy, as a file."""
        content = await self._holdings.copy(await self._frame.require_learner(request))
        if content is None:
            raise NotFound("NO_COPY", "there is no copy, or its time is over", remedy="ask for one at /privacy")
        return Response(
            content,
            media_type="application/json",
            headers={**headers.PRIVATE, "Content-Disposition": f'attachment; filename="{FILE}"'},
        )

    async def erase(self, request: Request) -> Response:
        """Her wish to be erased: she logs in once more to say so."""
        await self._frame.require_form(request)
        return await self._log_in.begin(request, ERASE)

    async def erased(self, request: Request) -> Response:
        """What was done; nobody is logged in here."""
        kept = request.query_params.get("kept", "")
        told = kept.isdecimal() and len(kept) <= MAX_DIGITS  # Anybody may write what they like into an address.
        return await self._frame.render(request, "erased.html", kept=int(kept) if told else 0)

    async def _exported(self, lookup: bytes, done: LoggedIn) -> str:
        asked = rights_pb2.ExportLearnerRequest(id_token=done.id_token)
        try:
            parts = [
                MessageToDict(part, preserving_proto_field_name=True)
                async for part in self._rights.ExportLearner(asked)
            ]
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        await self._holdings.make_copy(lookup, parts)
        return "/privacy"

    async def _erased(self, lookup: bytes, done: LoggedIn) -> Response:
        # The issuer first: what it refuses, or an outage, leaves all as it was, and she can try again.
        try:
            answer = await self._rights.EraseLearner(
                rights_pb2.EraseLearnerRequest(request_id=str(self._new_id()), id_token=done.id_token)
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        await self._holdings.erase(lookup)
        self._frame.recent.forget(lookup)
        response = self._frame.redirect(f"/erased?kept={len(answer.kept)}")
        self._frame.forget_session(response)
        return response


def _is_archived(one: Kept) -> bool:
    """Whether the archives acts keep it, as it says itself."""
    if one.artefact is None:
        return False
    try:
        retention = sd_jwt_vc.parse(one.artefact).credential.retention
    except VitneError as error:
        _log.warning("a credential can't be read", extra={"reason": error.reason})
        return False
    return retention == credential_pb2.RETENTION_CLASS_ARCHIVE
