"""The portal as an EMREX data provider (EMP): asked by a client, it answers with what the learner chose."""

from __future__ import annotations

import json
import logging
from typing import Final

from fastapi import Request, Response

from services.portal.emrex.addresses import host, policy_source
from services.portal.emrex.answering import AnswerSigner, answerable, chosen
from services.portal.emrex.clients import Client, Clients
from services.portal.emrex.protocol import RETURN_URL, SESSION_ID, Answer, ReturnCode, session_id
from services.portal.grouping import by_years
from services.portal.local_time import local_date
from services.portal.openid import LoggedIn
from services.portal.presentation import show
from services.portal.store import Store
from services.portal.web import headers
from services.portal.web.forms import Form, read_form
from services.portal.web.frame import REQUEST_COOKIE, Frame
from services.portal.web.log_in import Arrival, LogIn
from services.portal.web.routes import Route
from services.portal.web.sharing import MAX_PICKED, PICK
from vitne.canonical import b64url, from_b64url
from vitne.clock import Clock
from vitne.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, VitneError
from vitne.runtime.certificates import pem
from vitne.runtime.room import Room

#: Where clients send requests to.
ADDRESS: Final = "/emrex"
#: Where she chooses.
CHOICE: Final = f"{ADDRESS}/results"
#: What she logs in for.
ANSWER: Final = "emrex_answer"
#: For how long a request is remembered while she logs in.
REQUEST_SECONDS: Final = 3600
#: RFC 8555, section 9.1.
CERTIFICATE_TYPE: Final = "application/pem-certificate-chain"

#: Answers that are made at a time: of one learner, and all together. They are made one after another.
MAKING_OF_ONE: Final = 1
MAKING: Final = 8

_log = logging.getLogger(__name__)


class EmrexAnswerPages:
    """``/emrex`` and what it leads to.

    A request comes from another site, without her session's cookie. It is looked at anew at each step, so that nothing
    has to be remembered here: a portal that is restarted in between goes on.

    Args:
        frame: what every page shares.
        log_in: who she is.
        store: her credentials.
        clients: who may ask.
        signer: makes answers.
        clock: what has expired.
    """

    def __init__(
        self, frame: Frame, log_in: LogIn, *, store: Store, clients: Clients, signer: AnswerSigner, clock: Clock
    ) -> None:
        self._frame = frame
        self._log_in = log_in
        self._store = store
        self._clients = clients
        self._signer = signer
        self._clock = clock
        self._making = Room(MAKING_OF_ONE, MAKING, _making_already)
        log_in.on_arrival(ANSWER, Arrival(_to_choice, same_learner=False))

    def routes(self) -> list[Route]:
        """``POST /emrex``, the pages after it, and the certificate for clients. Where no client is registered, none."""
        if not self._clients:
            return []
        return [
            Route("POST", ADDRESS, self.ask),
            Route("GET", CHOICE, self.choose),
            Route("GET", f"{ADDRESS}/login", self.begin_log_in),
            Route("POST", f"{ADDRESS}/answer", self.answer, max_body=MAX_PICKED),
            Route("GET", f"{ADDRESS}/certificate.pem", self.certificate, for_programs=True),
        ]

    async def ask(self, request: Request) -> Response:
        """A client's request, in the browser of who wants to take results there."""
        form = await read_form(request)
        session, client = self._request(form.text(SESSION_ID), form.text(RETURN_URL))
        response = self._frame.redirect(self._frame.reader(request).link(CHOICE))
        told = b64url(json.dumps([session, client.return_url]).encode())
        self._frame.cookies.set(response, REQUEST_COOKIE, told, REQUEST_SECONDS)
        return response

    async def choose(self, request: Request) -> Response:
        """Who asks, and what she can send there; who is not logged in is asked to be."""
        session, client = self._remembered(request)
        lookup = await self._frame.learner(request)
        kept = [] if lookup is None else await self._store.credentials(lookup)
        shown = show(
            [one for one in kept if answerable(one)],
            self._frame.reader(request).languages,
            local_date(self._clock.now()),
        )
        code = ReturnCode.CANCEL if lookup is None or shown else ReturnCode.NO_RESULTS
        return await self._frame.render(
            request,
            "emrex_choose.html",
            form_action=[policy_source(client.return_url)],
            client=client,
            host=host(client.return_url),
            known=lookup is not None,
            years=by_years(shown, lambda one: one, lambda _: False) if shown else [],
            others=len(kept) - len(shown),
            asked={SESSION_ID: session, RETURN_URL: client.return_url},
            leave=Answer(session, code).fields(),
        )

    async def begin_log_in(self, request: Request) -> Response:
        """Off to the provider, and back to the choice."""
        self._remembered(request)
        return await self._log_in.begin(request, ANSWER)

    async def answer(self, request: Request) -> Response:
        """What she chose, in a form that leads back to the client. A failure is told to it, too."""
        lookup, form = await self._frame.require_form(request)
        session, client = self._request(form.text(SESSION_ID), form.text(RETURN_URL))
        picked = chosen(await self._store.credentials(lookup), form.all(PICK))
        with self._making.take(lookup.hex()):
            try:
                answer = Answer(session, ReturnCode.OK, elmo=await self._signer.answer(picked))
            except VitneError as error:
                _log.warning("results can't be answered with", extra={"reason": error.reason})
                answer = Answer(session, ReturnCode.ERROR, f"The results could not be put together ({error.reason}).")
        response = await self._frame.render(
            request,
            "emrex_answer.html",
            form_action=[policy_source(client.return_url)],
            client=client,
            host=host(client.return_url),
            count=len(picked),
            failed=answer.code is not ReturnCode.OK,
            fields=answer.fields(),
        )
        # Whoever sits here next is not asked to answer the same.
        self._frame.cookies.delete(response, REQUEST_COOKIE)
        return response

    async def certificate(self, _request: Request) -> Response:
        """The certificate chain of the key that signs answers, for clients to register."""
        return Response(pem(await self._signer.certificates()), media_type=CERTIFICATE_TYPE, headers=headers.PRIVATE)

    def _request(self, session: str, return_url: str) -> tuple[str, Client]:
        """A request that holds.

        Raises:
            InvalidArgument: ``RETURN_URL_NOT_REGISTERED``, ``SESSION_ID_REFUSED``.
        """
        client = self._clients.of(return_url)
        return session_id(session), client

    def _remembered(self, request: Request) -> tuple[str, Client]:
        """The request that her browser remembers.

        Raises:
            FailedPrecondition: ``NO_EMREX_REQUEST``.
            InvalidArgument: the client is not registered any more.
        """
        told = request.cookies.get(self._frame.cookies.name(REQUEST_COOKIE), "")
        try:
            session, return_url = json.loads(from_b64url(told))
            form = Form({SESSION_ID: [str(session)], RETURN_URL: [str(return_url)]})
        except (ValueError, TypeError, InvalidArgument):
            raise FailedPrecondition(
                "NO_EMREX_REQUEST",
                "nobody asks for results in this browser, or not any more",
                remedy="begin where you want to take results to",
            ) from None
        return self._request(form.text(SESSION_ID), form.text(RETURN_URL))


def _making_already() -> ResourceExhausted:
    return ResourceExhausted(
        "ALREADY_MAKING",
        "an answer of the learner's is being made, or many of others'",
        rule=f"{MAKING_OF_ONE} of a learner's, {MAKING} in all",
        remedy="wait for those",
    )


async def _to_choice(_lookup: bytes, _done: LoggedIn) -> str:
    return CHOICE
