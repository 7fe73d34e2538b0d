"""A learner takes a credential over to a wallet of hers: what it means, the code to scan, what was taken over when."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import segno
from fastapi import Request, Response
from markupsafe import Markup

from services.portal.local_time import local_date
from services.portal.metrics import WALLET_OFFERS
from services.portal.presentation import describe, read
from services.portal.store import Store
from services.portal.wallet.codes import OfferSecrets, hash_of
from services.portal.wallet.permission import Permissions, in_the_way
from services.portal.wallet.protocol import offer_link
from services.portal.wallet.store import Offers
from services.portal.wallet.terms import (
    LIVE,
    OFFER_LIFETIME,
    Offer,
    State,
    not_transferable,
    unknown_offer,
)
from services.portal.web.frame import WALLET_COOKIE, Frame
from services.portal.web.own import own_credential
from services.portal.web.routes import Route
from vitne.clock import Clock
from vitne.errors import InvalidArgument
from vitne.identifiers import UuidFactory, parse_uuid

#: CSS pixels of a module of the QR code, and its quiet zone in modules (ISO/IEC 18004: four).
_QR_SCALE: Final = 4
_QR_BORDER: Final = 4


@dataclass(frozen=True, slots=True)
class Opened:
    """An offer that a wallet can ask with, for the browser that made it.

    Attributes:
        id: of the offer.
        link: opens a wallet on the same device.
        picture: the same as a QR code, for another device: SVG.
        tx_code: that the wallet asks for.
        offer: its terms.
    """

    id: UUID
    link: str = field(repr=False)
    picture: Markup = field(repr=False)
    tx_code: str = field(repr=False)
    offer: Offer


class WalletPages:
    """The learner's page about a credential and her wallet.

    Args:
        frame: what every page shares.
        store: her credentials.
        offers: what she offered to wallets.
        permissions: what providers let her.
        clock: what has expired.
    """

    def __init__(self, frame: Frame, store: Store, offers: Offers, permissions: Permissions, clock: Clock) -> None:
        self._frame = frame
        self._store = store
        self._offers = offers
        self._permissions = permissions
        self._clock = clock
        self._new_id = UuidFactory(clock)

    def routes(self) -> list[Route]:
        """``/me/credentials/{handle}/wallet``, and an offer's end."""
        return [
            Route("GET", "/me/credentials/{handle}/wallet", self.page),
            Route("POST", "/me/credentials/{handle}/wallet", self.make),
            Route("POST", "/me/wallet/{offer}/end", self.end),
        ]

    async def page(self, request: Request) -> Response:
        """Whether she can take it over; the code of this browser's open offer; her other ones; what was taken over."""
        lookup = await self._frame.require_learner(request)
        kept, now = await own_credential(request, self._store, lookup), self._clock.now()
        credential, today = read(kept), local_date(now)
        offers = await self._offers.of_learner(lookup, kept.handle)
        opened = self._opened(request, offers)
        return await self._frame.render(
            request,
            "wallet.html",
            one=describe(kept, credential, self._frame.reader(request).languages, today),
            obstacle=await in_the_way(kept, credential, today, self._permissions),
            opened=opened,
            # Made in another browser, or before this browser's newest; or a wallet is fetching by it.
            others=[
                (offer, state is State.REDEEMED)
                for offer in offers
                if (state := offer.state(now)) in LIVE and (opened is None or offer.id != opened.id)
            ],
            taken=[offer.taken_at for offer in offers if offer.taken_at is not None],
            locked=bool(offers) and offers[0].state(now) is State.LOCKED,
            minutes=int(OFFER_LIFETIME.total_seconds()) // 60,
        )

    async def make(self, request: Request) -> Response:
        """Offer it; the link and the code are in her browser, and nowhere else."""
        lookup, _ = await self._frame.require_form(request)
        kept, now = await own_credential(request, self._store, lookup), self._clock.now()
        if (why := await in_the_way(kept, read(kept), local_date(now), self._permissions)) is not None:
            raise not_transferable(why)
        offer, secrets = self._new_id(), OfferSecrets.new()
        await self._offers.sweep(now)
        await self._offers.make(lookup, offer, kept.handle, secrets, now)
        WALLET_OFFERS.add(1, "made")
        response = self._frame.redirect(self._frame.reader(request).link(_path(kept.handle)))
        value = f"{secrets.reference}.{secrets.tx_code}"
        self._frame.cookies.set(response, WALLET_COOKIE, value, int(OFFER_LIFETIME.total_seconds()))
        return response

    async def end(self, request: Request) -> Response:
        """End an offer that no wallet has taken yet."""
        lookup, _ = await self._frame.require_form(request)
        try:
            offer = parse_uuid(request.path_params["offer"], field="offer")
        except InvalidArgument:  # an address that never was an offer's
            raise unknown_offer() from None
        ended = await self._offers.end(lookup, offer, self._clock.now())
        response = self._frame.redirect(_path(ended.handle))
        if _is_of(ended, self._kept_codes(request)[0]):
            self._frame.cookies.delete(response, WALLET_COOKIE)
        return response

    def _opened(self, request: Request, offers: list[Offer]) -> Opened | None:
        """The open offer whose reference this browser keeps."""
        reference, tx_code = self._kept_codes(request)
        now = self._clock.now()
        for offer in offers:
            if offer.state(now) is State.OPEN and _is_of(offer, reference):
                link = offer_link(self._frame.public_url, reference)
                return Opened(offer.id, link, _picture(link), tx_code, offer)
        return None

    def _kept_codes(self, request: Request) -> tuple[str, str]:
        """Reference and transaction code of the offer that this browser made last; empty where it keeps none."""
        kept = request.cookies.get(self._frame.cookies.name(WALLET_COOKIE), "")
        reference, _, tx_code = kept.partition(".")
        return reference, tx_code


def _is_of(offer: Offer, reference: str) -> bool:
    return hmac.compare_digest(offer.reference_hash, hash_of(reference))


def _path(handle: str) -> str:
    return f"/me/credentials/{handle}/wallet"


def _picture(link: str) -> Markup:
    """The link as a QR code. Dark on light whatever the page's colours are: some cameras read no other."""
    made = segno.make_qr(link, error="m")
    svg = made.svg_inline(scale=_QR_SCALE, border=_QR_BORDER, dark="#000", light="#fff", svgclass="qr", lineclass=None)
    return Markup(svg)  # noqa: S704 - made of numbers alone
