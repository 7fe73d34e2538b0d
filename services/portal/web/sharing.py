"""A learner's shares: pick, see how often they were opened, renew, withdraw; and the signed document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from fastapi import Request, Response

from services.portal.grouping import by_years
from services.portal.local_time import local_date, local_time_text
from services.portal.presentation import FETCHED, Shown, describe, newest_first, read_whole, show
from services.portal.sharing import document
from services.portal.sharing.access import Access, new_access
from services.portal.sharing.assembly import Sharing
from services.portal.sharing.presenting import PROPOSED, claims_of, present, withholdable
from services.portal.sharing.store import Item, Share
from services.portal.sharing.telling import lines, tell
from services.portal.sharing.terms import (
    DEFAULT_LIFETIME,
    LIFETIMES,
    MAX_ITEMS,
    MAX_LABEL,
    State,
    label,
    lifetime,
    refusal,
    unknown,
)
from services.portal.store import Kept, Store
from services.portal.web.files import attachment
from services.portal.web.forms import Form
from services.portal.web.frame import MADE_COOKIE, Frame
from services.portal.web.routes import Route
from vitne.clock import Clock
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from vitne.identifiers import UuidFactory, parse_uuid
from vitne.runtime.room import Room

#: Bytes of the form in which credentials and claims are picked: some 250 for each credential that she has.
MAX_PICKED: Final = 128 * 1024
#: Name of the field with a credential's handle, and what the name of the field with its claims begins with.
PICK: Final = "pick"
CLAIMS: Final = "claims."
#: Seconds for which a browser keeps a link and its code.
MADE_SECONDS: Final = 600
#: Links and documents that a learner makes at once, at most: each takes a core for a moment.
MAKING: Final = 2
_NOTHING_PICKED: Final = 400


@dataclass(frozen=True, slots=True)
class Choice:
    """A credential that can be shared.

    Attributes:
        shown: it, in words.
        claims: that may be withheld; each with whether the form proposes to show it.
        picked: whether the form proposes it.
    """

    shown: Shown
    claims: Sequence[tuple[str, bool]]
    picked: bool


@dataclass(frozen=True, slots=True)
class Content:
    """A credential of a share.

    Attributes:
        title: None where this release can't read it.
        title_language: of ``title``.
        claims: that are shown, of those that may be withheld.
    """

    title: str | None
    title_language: str | None
    claims: Sequence[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """A share in the list.

    Attributes:
        share: it.
        state: now.
        contents: what is in it, or was: of what ended, as far as she still has it.
        ended_at: when it ended; None: it did not, or went with what was in it.
        ended_by: name of the text that says what ended it; empty: nothing did.
    """

    share: Share
    state: State
    contents: Sequence[Content]
    ended_at: datetime | None
    ended_by: str


class SharingPages:
    """The learner's pages about sharing.

    Args:
        frame: what every page shares.
        store: her credentials.
        sharing: her shares.
        clock: lifetimes.
    """

    def __init__(self, frame: Frame, store: Store, sharing: Sharing, clock: Clock) -> None:
        self._frame = frame
        self._store = store
        self._shares = sharing.shares
        self._signer = sharing.signer
        self._clock = clock
        self._new_id = UuidFactory(clock)
        self._making = Room(MAKING, None, _making_already)

    def routes(self) -> list[Route]:
        """``/me/shares`` and below."""
        return [
            Route("GET", "/me/shares", self.overview),
            Route("GET", "/me/shares/new", self.pick),
            Route("POST", "/me/shares", self.make, max_body=MAX_PICKED),
            Route("GET", "/me/shares/{share}/made", self.made),
            Route("POST", "/me/shares/{share}/withdraw", self.withdraw),
            Route("POST", "/me/shares/{share}/renew", self.renew),
            Route("POST", "/me/shares/{share}/label", self.relabel),
            Route("GET", "/me/shares/{share}/link", self.ask_to_replace),
            Route("POST", "/me/shares/{share}/link", self.replace),
            Route("POST", "/me/shares/{share}/document", self.sign),
        ]

    async def overview(self, request: Request) -> Response:
        """What she shares, and shared lately."""
        lookup = await self._frame.require_learner(request)
        self._signer.prepare()
        languages, now = self._frame.reader(request).languages, self._clock.now()
        shares = await self._shares.of_learner(lookup)
        kept = await self._store.credentials(lookup) if any(not share.items for share in shares) else []
        own = {one.handle: Content(one.title, one.title_language, ()) for one in show(kept, languages, local_date(now))}
        listed = []
        for share in shares:
            contents = [_content(item, languages, local_date(now)) for item in share.items]
            listed.append(
                Listed(
                    share,
                    share.terms.state(now),
                    contents or [own[handle] for handle in share.handles if handle in own],
                    *_end(share, now),
                )
            )
        return await self._frame.render(
            request,
            "shares.html",
            listed=listed,
            lifetimes=LIFETIMES,
            default_lifetime=DEFAULT_LIFETIME,
            max_label=MAX_LABEL,
        )

    async def pick(self, request: Request) -> Response:
        """The form in which she picks what to share; an address may propose a credential."""
        return await self._form(request, await self._frame.require_learner(request))

    async def _form(
        self, request: Request, lookup: bytes, *, refused: timedelta | None = None, called: str = ""
    ) -> Response:
        """The form; of one that was sent with nothing picked, which is said, lifetime and label stay."""
        self._signer.prepare()
        languages, today = self._frame.reader(request).languages, local_date(self._clock.now())
        choices = _choices(await self._store.credentials(lookup), languages, today, request.query_params.getlist(PICK))
        return await self._frame.render(
            request,
            "share_new.html",
            200 if refused is None else _NOTHING_PICKED,
            nothing_picked=refused is not None,
            years=by_years(choices, lambda one: one.shown, lambda one: one.picked) if choices else [],
            share=str(self._new_id()),
            label=called,
            max_label=MAX_LABEL,
            lifetimes=LIFETIMES,
            chosen_lifetime=DEFAULT_LIFETIME if refused is None else refused.days,
            claims_prefix=CLAIMS,
        )

    async def make(self, request: Request) -> Response:
        """Share what she picked; the link and the code are in her browser, and nowhere else."""
        lookup, form = await self._frame.require_form(request)
        share = parse_uuid(form.text("share"), field="share")
        duration, called, now = lifetime(form.text("days")), label(form.text("label")), self._clock.now()
        try:
            items = picked(await self._store.credentials(lookup), form)
        except InvalidArgument as error:
            if error.reason != "NOTHING_PICKED":
                raise
            return await self._form(request, lookup, refused=duration, called=called)
        access = new_access()
        with self._making.take(lookup.hex()):
            share = await self._shares.create(
                lookup,
                share,
                items,
                otherwise=self._new_id(),
                access=access,
                now=now,
                lifetime=duration,
                label=called,
            )
        return self._told(request, share, access)

    async def made(self, request: Request) -> Response:
        """The link and the code, for as long as her browser keeps them: looking again makes no others."""
        lookup = await self._frame.require_learner(request)
        share = _share(request)
        access = _kept(request.cookies.get(self._frame.cookies.name(MADE_COOKIE), ""), share)
        if access is None or not await self._opens(lookup, share, access):
            return self._frame.redirect("/me/shares")
        own = await self._own(lookup, share)
        return await self._frame.render(
            request,
            "share_made.html",
            share=str(share),
            link=self._link(access),
            access=access,
            expires_at=own.terms.expires_at,
        )

    async def withdraw(self, request: Request) -> Response:
        """End a share."""
        lookup, _ = await self._frame.require_form(request)
        await self._shares.withdraw(lookup, _share(request), self._clock.now())
        return self._frame.redirect("/me/shares")

    async def renew(self, request: Request) -> Response:
        """Let a share last longer, under the same link and code."""
        lookup, form = await self._frame.require_form(request)
        await self._shares.renew(lookup, _share(request), self._clock.now(), lifetime(form.text("days")))
        return self._frame.redirect("/me/shares")

    async def relabel(self, request: Request) -> Response:
        """Call a share something else; empty: nothing."""
        lookup, form = await self._frame.require_form(request)
        await self._shares.relabel(lookup, _share(request), label(form.text("label")))
        return self._frame.redirect("/me/shares")

    async def ask_to_replace(self, request: Request) -> Response:
        """Whether she means it: whoever has the former link and code can't open it with them any more."""
        lookup = await self._frame.require_learner(request)
        languages, now = self._frame.reader(request).languages, self._clock.now()
        own = await self._own(lookup, _share(request))
        if own.terms.state(now) is State.WITHDRAWN:
            raise refusal(State.WITHDRAWN)
        return await self._frame.render(
            request,
            "share_link.html",
            share=str(own.terms.id),
            label=own.label,
            contents=[_content(item, languages, local_date(now)) for item in own.items],
        )

    async def replace(self, request: Request) -> Response:
        """A new link and code; the former ones open nothing any more."""
        lookup, _ = await self._frame.require_form(request)
        share, access = _share(request), new_access()
        with self._making.take(lookup.hex()):
            await self._shares.replace_access(lookup, share, access, self._clock.now())
        return self._told(request, share, access)

    async def sign(self, request: Request) -> Response:
        """The share as a signed PDF: the form brings its link and code, which nobody else has."""
        lookup, form = await self._frame.require_form(request)
        access = Access(form.text("token"), form.text("code"))
        with self._making.take(lookup.hex()):
            items = await self._shares.opened_by_owner(lookup, _share(request), access, self._clock.now())
            pdf = await self._signer.make(self._paper(request, items, access))
        return attachment(pdf, "application/pdf", "vitne.pdf")

    def _told(self, request: Request, share: UUID, access: Access) -> Response:
        """On to the page with the link and the code, which a reload shows again and does not make again."""
        response = self._frame.redirect(self._frame.reader(request).link(f"/me/shares/{share}/made"))
        self._frame.cookies.set(response, MADE_COOKIE, f"{share}.{access.token}.{access.code}", MADE_SECONDS)
        return response

    async def _opens(self, lookup: bytes, share: UUID, access: Access) -> bool:
        """Whether a link and a code are those of a share of hers that is open."""
        try:
            with self._making.take(lookup.hex()):
                await self._shares.opened_by_owner(lookup, share, access, self._clock.now())
        except (FailedPrecondition, NotFound):
            return False
        return True

    async def _own(self, lookup: bytes, share: UUID) -> Share:
        for own in await self._shares.of_learner(lookup):
            if own.terms.id == share:
                return own
        raise unknown()

    def _link(self, access: Access) -> str:
        return f"{self._frame.public_url}/s/{access.token}"

    def _paper(self, request: Request, items: Sequence[Item], access: Access) -> document.Paper:
        reader, now = self._frame.reader(request), self._clock.now()
        t = reader.texts
        entries = []
        for item in items:
            told = tell(item.artefact, reader.languages, local_date(now))
            entries.append(
                document.Entry(
                    title=(told and told.shown.title) or t["no_title"],
                    lines=lines(told, t) if told else [document.Line(t["shared"]["title"], t["shared"]["unreadable"])],
                    outcomes_label=t["shared"]["outcomes"],
                    outcomes=[outcome.text for outcome in told.outcomes] if told else (),
                    artefact=item.artefact,
                )
            )
        words = t["document"]
        return document.Paper(
            language=t["language"],
            title=t["shared"]["title"],
            introduction=words["introduction"],
            check=words["check"],
            qr_label=words["qr"],
            attachment_label=words["attachment"],
            address=self._link(access),
            code=access.code,
            code_label=t["share"]["code"],
            made_label=words["made"],
            made=local_time_text(now, t),
            entries=entries,
            at=now,
        )


def _choices(kept: Sequence[Kept], languages: Sequence[str], today: date, proposed: Sequence[str]) -> list[Choice]:
    """What can be shared: what is here in its newest state, and can be read."""
    found = {}
    for one in kept:
        whole = read_whole(one)
        if whole is not None:
            shown = describe(one, whole.credential, languages, today)
            found[one.handle] = Choice(
                shown, [(name, name in PROPOSED) for name in withholdable(whole)], one.handle in proposed
            )
    ordered = newest_first(choice.shown for choice in found.values() if choice.shown.state == FETCHED)
    return [found[shown.handle] for shown in ordered]


def _end(share: Share, now: datetime) -> tuple[datetime | None, str]:
    """When a share ended, and by what."""
    match share.terms.state(now):
        case State.EXPIRED:
            return share.terms.expires_at, "lifetime"
        case State.WITHDRAWN if share.terms.withdrawn_at is None:
            return None, "contents"
        case State.WITHDRAWN:
            return share.terms.withdrawn_at, "operator" if share.ended_by == "operator" else "learner"
        case _:
            return None, ""


def picked(kept: Sequence[Kept], form: Form) -> list[Item]:
    """What a learner picked among her own credentials, as it is shared.

    Raises:
        InvalidArgument: ``NOTHING_PICKED``; ``TOO_MANY_PICKED``; ``CREDENTIAL_NOT_HERS``; ``CLAIM_UNKNOWN``.
    """
    handles = list(dict.fromkeys(form.all(PICK)))
    if not handles:
        raise InvalidArgument("NOTHING_PICKED", "no credential was picked", field=PICK, remedy="pick one")
    if len(handles) > MAX_ITEMS:
        raise InvalidArgument(
            "TOO_MANY_PICKED", "too many credentials at once", field=PICK, rule=f"at most {MAX_ITEMS} in one share"
        )
    own = {one.handle: one.artefact for one in kept if one.artefact is not None}
    items = []
    for handle in handles:
        artefact = own.get(handle)
        if artefact is None:
            raise InvalidArgument(
                "CREDENTIAL_NOT_HERS", "it is not one of the learner's credentials", field=PICK, remedy="begin anew"
            )
        items.append(Item(handle, present(artefact, form.all(f"{CLAIMS}{handle}"))))
    return items


def _content(item: Item, languages: Sequence[str], today: date) -> Content:
    told = tell(item.artefact, languages, today)
    if told is None:
        return Content(None, None, ())
    return Content(told.shown.title, told.shown.title_language, claims_of(item.artefact))


def _making_already() -> ResourceExhausted:
    return ResourceExhausted(
        "ALREADY_MAKING",
        "links or documents of the learner's are being made",
        rule=f"at most {MAKING} at a time",
        remedy="wait for those",
    )


def _kept(cookie: str, share: UUID) -> Access | None:
    """The link and the code that a browser keeps, if they are this share's."""
    name, _, rest = cookie.partition(".")
    token, _, code = rest.partition(".")
    return Access(token, code) if name == str(share) and token and code else None


def _share(request: Request) -> UUID:
    try:
        return parse_uuid(request.path_params["share"], field="share")
    except InvalidArgument:  # an address that never was a share's
        raise unknown() from None
