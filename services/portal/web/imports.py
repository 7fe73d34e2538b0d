"""The portal as an EMREX client: results of elsewhere, fetched by their learner, shown as what they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from fastapi import Request, Response

from services.portal.emrex.addresses import host, policy_source
from services.portal.emrex.checking import Expected, Received, check
from services.portal.emrex.envelope import MAX_FORM
from services.portal.emrex.person import Match, Name
from services.portal.emrex.protocol import (
    ELMO,
    RETURN_CODE,
    RETURN_MESSAGE,
    RETURN_URL,
    SESSION_ID,
    ReturnCode,
    return_code,
    session_id,
)
from services.portal.emrex.providers import DataProvider, DataProviders
from services.portal.emrex.results import Institution, Results
from services.portal.emrex.results import read as read_results
from services.portal.emrex.store import Awaited, Import, Imports, already_answered, elsewhere, unknown
from services.portal.openid import LoggedIn
from services.portal.presentation import read as read_credential
from services.portal.sealing import PortalKeys
from services.portal.store import Store
from services.portal.texts import best_text, one_line
from services.portal.web.files import attachment
from services.portal.web.forms import Form, parse_large_form
from services.portal.web.frame import Frame
from services.portal.web.log_in import Arrival, LogIn
from services.portal.web.routes import Route
from vitne.canonical import sha256
from vitne.clock import Clock
from vitne.credentials.elmo.names import MEDIA_TYPE
from vitne.credentials.elmo.reading import parse
from vitne.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId, UuidFactory, norwegian_birth_date, parse_uuid
from vitne.runtime.room import Room

#: Her pages about imports, and where data providers answer.
ADDRESS: Final = "/me/imports"
RETURN: Final = "/emrex/return"
#: What she logs in for.
IMPORT: Final = "emrex_import"
#: The query's parameter by which the browser that brings an answer is known again.
ARRIVAL: Final = "arrival"
#: Most characters of what a data provider says of an error.
MAX_MESSAGE: Final = 300
#: Bytes of answers that are taken at a time. Anybody may send one: nobody is logged in where they arrive.
ARRIVING: Final = 4 * MAX_FORM
#: For how long one may take to come, so that nobody keeps the others out by sending slowly.
ARRIVAL_SECONDS: Final = 60.0
#: Answers that are checked at a time: of one learner, and all together.
CHECKS_OF_ONE: Final = 1
CHECKS: Final = 4
#: Name of the file that she gets.
FILE: Final = "elmo.xml"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """An import on a page.

    Attributes:
        one: it.
        provider: its data provider; None where that is not offered any more.
        results: what its document says; None where it has none.
        message: what the provider says of an error.
        same: whether nothing is left to confirm.
        readable: False where what came does not open any more: it can only be deleted.
    """

    one: Import
    provider: DataProvider | None
    results: Results | None
    message: str
    same: bool
    readable: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """An import in the list: titles, and nothing else of a document that may have two megabytes.

    Attributes:
        one: it.
        institutions: language and text of each one's name, and of each of its titles.
        readable: as :attr:`Shown.readable`.
    """

    one: Import
    institutions: Sequence[tuple[tuple[str, str], Sequence[tuple[str, str]]]]
    readable: bool


class ImportPages:
    """``/me/imports`` and below, and ``/emrex/return``.

    Args:
        frame: what every page shares.
        log_in: an import is confirmed by a fresh log-in, which says when she was born.
        store: her credentials, which say her name.
        keys: tell whether a number is hers.
        providers: where results can be fetched.
        imports: what was fetched.
        clock: when.
    """

    def __init__(
        self,
        frame: Frame,
        log_in: LogIn,
        *,
        store: Store,
        keys: PortalKeys,
        providers: DataProviders,
        imports: Imports,
        clock: Clock,
    ) -> None:
        self._frame = frame
        self._log_in = log_in
        self._store = store
        self._keys = keys
        self._providers = providers
        self._imports = imports
        self._clock = clock
        self._new_id = UuidFactory(clock)
        self._arriving = Room(ARRIVING, None, _too_many)
        self._checking = Room(CHECKS_OF_ONE, CHECKS, _too_many)
        log_in.on_arrival(IMPORT, Arrival(self._confirmed))

    def routes(self) -> list[Route]:
        """``/me/imports`` and below, and ``/emrex/return``. Where nobody is asked, no answer is taken."""
        answers = [Route("POST", RETURN, self.answered, max_body=MAX_FORM)]
        return [
            Route("GET", ADDRESS, self.overview),
            Route("POST", ADDRESS, self.begin),
            Route("GET", f"{ADDRESS}/{{import}}", self.one),
            Route("GET", f"{ADDRESS}/{{import}}/{FILE}", self.document),
            Route("POST", f"{ADDRESS}/{{import}}/keep", self.keep),
            Route("POST", f"{ADDRESS}/{{import}}/delete", self.delete),
            *(answers if self._providers else []),
        ]

    async def overview(self, request: Request) -> Response:
        """What she has imported, and where more can be fetched."""
        lookup = await self._frame.require_learner(request)
        found = await self._imports.of_learner(lookup)
        opened = [one for one in found if one.code is not None and one.opened]
        return await self._frame.render(
            request,
            "imports.html",
            kept=[await self._listed(request, lookup, one) for one in opened if one.kept],
            waiting=[one for one in opened if not one.kept],
            providers=list(self._providers),
            registered=await self._store.pseudonym(lookup) is not None,
            **self._words(request),
        )

    async def begin(self, request: Request) -> Response:
        """Her wish to fetch results from a data provider: she logs in once more, so that they can be compared."""
        lookup, form = await self._frame.require_form(request)
        provider = self._providers.of(form.text("provider"))
        id_ = self._new_id()
        await self._imports.begin(lookup, id_, provider.acronym)
        return await self._log_in.begin(request, IMPORT, subject=id_)

    async def one(self, request: Request) -> Response:
        """An import: the way to its data provider, or what came of it."""
        lookup = await self._frame.require_learner(request)
        if ARRIVAL in request.query_params:
            await self._imports.open(lookup, _import(request), request.query_params[ARRIVAL])
            return self._frame.redirect(f"{ADDRESS}/{_import(request)}")
        one = await self._imports.one(lookup, _import(request))
        if not one.opened:
            raise elsewhere()
        if one.code is not None:
            return await self._frame.render(
                request, "import.html", shown=await self._shown(lookup, one), **self._words(request)
            )
        if not one.confirmed:
            raise FailedPrecondition("IMPORT_NOT_CONFIRMED", "she did not log in for this import", remedy="begin anew")
        provider = self._providers.of(one.provider)
        return await self._frame.render(
            request,
            "import_go.html",
            # Browsers hold the policy against redirects, and some data providers log people in at other hosts.
            form_action=[policy_source(provider.url), *provider.origins],
            provider=provider,
            host=host(provider.url),
            fields={
                SESSION_ID: await self._imports.session_id(lookup, one.id),
                RETURN_URL: f"{self._frame.public_url}{RETURN}",
            },
            **self._words(request),
        )

    async def document(self, request: Request) -> Response:
        """The signed document as it came, for whom she wants to show it to."""
        lookup = await self._frame.require_learner(request)
        one = await self._imports.one(lookup, _import(request))
        if one.code is not ReturnCode.OK or not one.opened:
            raise NotFound("IMPORT_UNKNOWN", "there is no document of it")
        return attachment(await self._imports.content(lookup, one.id), MEDIA_TYPE, FILE)

    async def keep(self, request: Request) -> Response:
        """Her yes to what came."""
        lookup, form = await self._frame.require_form(request)
        one = await self._imports.one(lookup, _import(request))
        if one.match is Match.UNSURE and form.text("mine") != "yes":
            raise InvalidArgument(
                "PERSON_NOT_CONFIRMED",
                "it is not sure that the results are about her, and she did not say so",
                field="mine",
                remedy="tick that it is you, or delete the results",
            )
        await self._imports.keep(lookup, one.id)
        return self._frame.redirect(ADDRESS)

    async def delete(self, request: Request) -> Response:
        """Her no, or her end to it."""
        lookup, _ = await self._frame.require_form(request)
        await self._imports.delete(lookup, _import(request))
        return self._frame.redirect(ADDRESS)

    async def answered(self, request: Request) -> Response:
        """A data provider's answer. It comes from another site, hence without her session's cookie: what it is for is
        known by the session id alone. It is shown to nobody but whose import it is, in the browser that brings it. What
        is refused changes nothing.
        """
        with self._arriving.take("", _announced(request)):
            return await self._taken(parse_large_form(await _body(request)))

    async def _taken(self, form: Form) -> Response:
        awaited = await self._imports.awaited(session_id(form.text(SESSION_ID)))
        code = return_code(form.text(RETURN_CODE))
        envelope = form.text(ELMO) if code is ReturnCode.OK else ""
        message = _printable(form.text(RETURN_MESSAGE)) if code is ReturnCode.ERROR else ""
        digest = sha256("\0".join((code, envelope, message)).encode())
        received = None
        if awaited.digest is None and code is ReturnCode.OK:
            with self._checking.take(awaited.lookup.hex()):
                received = await self._received(awaited, envelope)
        elif awaited.digest not in (None, digest):
            raise already_answered()
        arrival = await self._imports.answered(awaited, code, digest, received=received, message=message)
        return self._frame.redirect(f"{ADDRESS}/{awaited.id}" + (f"?{ARRIVAL}={arrival}" if arrival else ""))

    async def _received(self, awaited: Awaited, envelope: str) -> Received:
        if awaited.birth_date is None:
            raise FailedPrecondition("IMPORT_NOT_CONFIRMED", "she did not log in for this import", remedy="begin anew")
        names = [
            Name(one.learner.given_name or "", one.learner.family_name or "")
            for kept in await self._store.credentials(awaited.lookup)
            if (one := read_credential(kept)) is not None
        ]
        expected = Expected(
            self._providers.of(awaited.provider),
            awaited.birth_date,
            names,
            lambda number: self._keys.lookup(LearnerId(NORWEGIAN_NATIONAL_ID, number)) == awaited.lookup,
        )
        return await asyncio.to_thread(check, envelope, expected, self._clock.now())

    async def _confirmed(self, lookup: bytes, done: LoggedIn) -> str:
        learner = done.learner
        born = norwegian_birth_date(learner.value) if learner.scheme == NORWEGIAN_NATIONAL_ID else None
        if born is None:
            raise Unauthenticated("TOKEN_NO_LEARNER", "the log-in does not say when she was born")
        if done.subject is None:
            raise unknown()
        await self._imports.confirm(lookup, done.subject, born)
        return f"{ADDRESS}/{done.subject}"

    async def _shown(self, lookup: bytes, one: Import) -> Shown:
        ok = one.code is ReturnCode.OK
        content = await self._content(lookup, one)
        return Shown(
            one,
            next((provider for provider in self._providers if provider.acronym == one.provider), None),
            await asyncio.to_thread(lambda: read_results(parse(content))) if ok and content is not None else None,
            "" if ok or content is None else content.decode(),
            one.match is not Match.UNSURE or one.kept,
            content is not None,
        )

    async def _listed(self, request: Request, lookup: bytes, one: Import) -> Listed:
        languages = self._frame.reader(request).languages
        content = await self._content(lookup, one)
        if content is None:
            return Listed(one, (), readable=False)
        return Listed(one, await asyncio.to_thread(_titles, content, languages), readable=True)

    async def _content(self, lookup: bytes, one: Import) -> bytes | None:
        """What came; None where it does not open, which keeps nobody from the others nor from deleting it."""
        try:
            return await self._imports.content(lookup, one.id)
        except DataLoss as error:
            _log.error("an import does not open", extra={"reason": error.reason})
            return None

    def _words(self, request: Request) -> dict[str, Any]:
        """What templates put into words."""
        languages = self._frame.reader(request).languages

        def best(texts: dict[str, str]) -> tuple[str, str]:
            return best_text(texts, languages)

        return {"best": best, "originals": _originals}


def _originals(institutions: Sequence[Institution]) -> int:
    return sum(institution.originals for institution in institutions)


def _titles(document: bytes, languages: Sequence[str]) -> list[tuple[tuple[str, str], Sequence[tuple[str, str]]]]:
    return [
        (best_text(institution.names, languages), [best_text(one.titles, languages) for one in institution.results])
        for institution in read_results(parse(document)).institutions
    ]


def _printable(text: str) -> str:
    """A foreign text as one line; no more is looked at than is kept."""
    return one_line(text[:MAX_MESSAGE])


def _announced(request: Request) -> int:
    """Bytes that a body may have: as many as its header says, which the server holds it to."""
    told = request.headers.get("content-length", "")
    return min(int(told), MAX_FORM) if told.isdecimal() else MAX_FORM


async def _body(request: Request) -> bytes:
    try:
        async with asyncio.timeout(ARRIVAL_SECONDS):
            return await request.body()
    except TimeoutError as error:
        raise Unavailable(
            "ANSWER_SLOW",
            "the answer took too long to come",
            rule=f"within {ARRIVAL_SECONDS:g} seconds",
            remedy="send it again",
        ) from error


def _too_many() -> ResourceExhausted:
    return ResourceExhausted(
        "TOO_MANY_ANSWERS",
        "more answers come at this moment than are taken at a time",
        rule=f"{ARRIVING} bytes in all; {CHECKS_OF_ONE} of a learner's, {CHECKS} in all",
        remedy="send it again in a moment",
    )


def _import(request: Request) -> UUID:
    try:
        return parse_uuid(request.path_params["import"], field="import")
    except InvalidArgument:  # an address that never was an import's
        raise unknown() from None
