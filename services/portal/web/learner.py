"""The learner's own pages: the front page, her credentials, and her registration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import grpc
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from services.portal.accreditors import Accreditors
from services.portal.grouping import groups
from services.portal.local_time import local_date
from services.portal.openid import LoggedIn
from services.portal.presentation import Shown, show
from services.portal.recent import Recent
from services.portal.registering import registered
from services.portal.stacks import AddingUp, question, stacks
from services.portal.store import Store
from services.portal.web import headers
from services.portal.web.frame import LOGGED_OUT, Frame
from services.portal.web.log_in import Arrival, LogIn
from services.portal.web.routes import Route
from vitne.clock import Clock
from vitne.errors import FailedPrecondition, NotFound, VitneError
from vitne.identifiers import UuidFactory
from vitne.runtime.status import error_from_rpc
from vitne_api.issuer.v1 import issuer_pb2

#: Seconds that her page waits for what adds up: it is there without that, too.
STACKING_SECONDS: Final = 2.0
#: Achievements that are named where one of several would fill a part; of more, only how many.
CHOICES_SHOWN: Final = 8
#: Parts of a qualification, or credentials of a group, that are shown unfolded.
PARTS_OPEN: Final = 6
#: Her own act of registering: the issuer is shown the fresh ID token.
REGISTER: Final = "register"

_log = logging.getLogger(__name__)


class LearnerPages:
    """The learner's own pages.

    Args:
        frame: what every page shares.
        log_in: registering is confirmed by a log-in.
        store: what was gathered.
        issuer: stub of the issuer's service, for registrations.
        registry: stub of the registry's service, which says what adds up; None: nothing is said of it.
        accreditors: who accredited the issuers.
        clock: registrations, and what has expired.
    """

    def __init__(
        self,
        frame: Frame,
        log_in: LogIn,
        *,
        store: Store,
        issuer: Any,
        registry: Any,
        accreditors: Accreditors,
        clock: Clock,
    ) -> None:
        self._frame = frame
        self._log_in = log_in
        self._store = store
        self._issuer = issuer
        self._registry = registry
        self._accreditors = accreditors
        self._clock = clock
        self._new_id = UuidFactory(clock)
        log_in.on_arrival(REGISTER, Arrival(self._register))

    def routes(self) -> list[Route]:
        """``/``, ``/me``, ``/me.json``, ``/register`` and ``/withdraw``."""
        return [
            Route("GET", "/", self.front),
            Route("GET", "/me", self.me),
            Route("GET", "/me.json", self.me_json, for_programs=True),
            Route("POST", "/register", self.register),
            Route("POST", "/withdraw", self.withdraw),
        ]

    async def front(self, request: Request) -> Response:
        """The front page; a learner who is logged in goes on to her own."""
        if await self._frame.learner(request) is not None:
            return self._frame.redirect("/me")
        return await self._frame.render(request, "front.html", logged_out=LOGGED_OUT in request.query_params)

    async def me(self, request: Request) -> Response:
        """The learner's credentials."""
        lookup = await self._frame.require_learner(request)
        languages = self._frame.reader(request).languages
        registration = await self._store.registration(lookup)
        recent = self._frame.recent.of(lookup, languages)
        shown = show(await self._store.credentials(lookup), languages, local_date(self._clock.now()), recent.words)
        adding_up, accreditors = await asyncio.gather(
            self._stacks(shown, recent),
            self._accreditors.of(one.accreditation for one in shown if one.accreditation is not None),
        )
        arrived = [one for one in shown if one.fetched_at is not None]
        found = adding_up.stacks if adding_up else ()
        return await self._frame.render(
            request,
            "me.html",
            registered=registration is not None,
            legal_ground=registration and registration.legal_ground,
            groups=[(one.name, one.alone, one.counted) for one in groups(arrived, found)],
            something=bool(arrived),
            awaited=[one for one in shown if one.fetched_at is None],
            adding_up=adding_up,
            accreditors={one: accreditor.said(languages) for one, accreditor in accreditors.items()},
            choices_shown=CHOICES_SHOWN,
            parts_open=PARTS_OPEN,
        )

    async def me_json(self, request: Request) -> Response:
        """The same as :meth:`me` for programs: ``{"registered", "credentials", "stacks", "stacks_unread"}``.

        ``stacks`` is null while nobody can say what adds up; ``stacks_unread`` counts qualifications that could not be
        asked about.
        """
        lookup = await self._frame.require_learner(request)
        languages = self._frame.reader(request).languages
        recent = self._frame.recent.of(lookup, languages)
        shown = show(await self._store.credentials(lookup), languages, local_date(self._clock.now()), recent.words)
        adding_up = await self._stacks(shown, recent)
        body = {
            "registered": await self._store.pseudonym(lookup) is not None,
            "credentials": [one.to_json() for one in shown],
            "stacks": None if adding_up is None else [one.to_json() for one in adding_up.stacks],
            "stacks_unread": 0 if adding_up is None else adding_up.unread,
        }
        return JSONResponse(body, headers=headers.PRIVATE)

    async def register(self, request: Request) -> Response:
        """Her act of registering: she logs in once more, and what that gives is shown to the issuer at once."""
        await self._frame.require_form(request)
        return await self._log_in.begin(request, REGISTER)

    async def withdraw(self, request: Request) -> Response:
        """End her registration, and delete all that is held of her."""
        lookup, _ = await self._frame.require_form(request)
        pseudonym = await self._store.pseudonym(lookup)
        if pseudonym is not None:
            try:
                await self._call(
                    self._issuer.WithdrawLearner,
                    issuer_pb2.WithdrawLearnerRequest(request_id=str(self._new_id()), pseudonym=pseudonym),
                )
            except (NotFound, FailedPrecondition) as error:
                # Not registered there (any more, since an answer was lost): all the more reason to delete.
                _log.info("the issuer knew of no registration", extra={"reason": error.reason})
            await self._store.erase(lookup)
            self._frame.recent.forget(lookup)
        return self._frame.redirect("/me")

    async def _register(self, lookup: bytes, done: LoggedIn) -> str:
        answer = await self._call(
            self._issuer.RegisterLearner,
            issuer_pb2.RegisterLearnerRequest(request_id=str(self._new_id()), id_token=done.id_token),
        )
        await registered(self._store, lookup, answer, self._clock.now())
        return "/me"

    async def _stacks(self, shown: Sequence[Shown], recent: Recent) -> AddingUp | None:
        """What her credentials add up to; None while nobody can say: her page is there without it."""
        asked = question(shown)
        if self._registry is None or not asked.credentials:
            return AddingUp()
        now = self._clock.monotonic()
        if (answer := recent.answer_to(asked, now)) is not None:
            return stacks(shown, answer, recent.languages)
        try:
            answer = await self._registry.EvaluateStacking(asked, timeout=STACKING_SECONDS)
        except (grpc.aio.AioRpcError, VitneError) as error:
            reason = error.reason if isinstance(error, VitneError) else error_from_rpc(error).reason
            _log.warning("the registry does not say what adds up", extra={"reason": reason})
            return None
        recent.keep_answer(asked, answer, now)
        return stacks(shown, answer, recent.languages)

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
