"""One credential with everything that it says, and all of them by their days."""

from __future__ import annotations

import asyncio

from fastapi import Request, Response

from services.portal.accreditors import Accreditor, Accreditors
from services.portal.details import details
from services.portal.history import history
from services.portal.local_time import local_date
from services.portal.presentation import describe, read, show
from services.portal.store import Store
from services.portal.timeline import timeline
from services.portal.wallet.permission import Permissions, in_the_way
from services.portal.wallet.store import Offers
from services.portal.wallet.terms import LIVE, Obstacle
from services.portal.web.frame import Frame
from services.portal.web.own import own_credential
from services.portal.web.routes import Route
from vitne.clock import Clock


class CredentialPages:
    """The pages of single credentials, and the timeline.

    Args:
        frame: what every page shares.
        store: what was gathered.
        offers: what she took over to wallets.
        permissions: what providers let her take over.
        accreditors: who accredited the issuers.
        clock: what has expired.
    """

    def __init__(
        self,
        frame: Frame,
        *,
        store: Store,
        offers: Offers,
        permissions: Permissions,
        accreditors: Accreditors,
        clock: Clock,
    ) -> None:
        self._frame = frame
        self._store = store
        self._offers = offers
        self._permissions = permissions
        self._accreditors = accreditors
        self._clock = clock

    def routes(self) -> list[Route]:
        """``/me/credentials/{handle}`` and ``/me/timeline``."""
        return [
            Route("GET", "/me/credentials/{handle}", self.credential),
            Route("GET", "/me/timeline", self.timeline),
        ]

    async def credential(self, request: Request) -> Response:
        """Everything that one of her credentials says; another's is as if there were none."""
        lookup = await self._frame.require_learner(request)
        kept = await own_credential(request, self._store, lookup)
        now = self._clock.now()
        languages, today = self._frame.reader(request).languages, local_date(now)
        credential = read(kept)
        one = describe(kept, credential, languages, today)
        offers = await self._offers.of_learner(lookup, kept.handle)
        taken = [offer.taken_at for offer in offers if offer.taken_at]
        accreditor, obstacle = await asyncio.gather(
            self._accreditor(one.accreditation), in_the_way(kept, credential, today, self._permissions)
        )
        return await self._frame.render(
            request,
            "credential.html",
            one=one,
            details=details(credential, languages) if credential else None,
            accreditor=accreditor and accreditor.said(languages),
            # While nobody can say, the wallet's own page says so.
            transferable=obstacle in (None, Obstacle.NOT_KNOWN),
            taken=bool(taken),
            offered=any(offer.state(now) in LIVE for offer in offers),
            history=history(kept, credential, today, taken) if credential else [],
        )

    async def _accreditor(self, accreditation: str | None) -> Accreditor | None:
        """Who gave it; None where that is not known now."""
        if accreditation is None:
            return None
        return (await self._accreditors.of([accreditation])).get(accreditation)

    async def timeline(self, request: Request) -> Response:
        """Her credentials by the days on which something happened, or will."""
        lookup = await self._frame.require_learner(request)
        today, languages = local_date(self._clock.now()), self._frame.reader(request).languages
        recent = self._frame.recent.of(lookup, languages)
        shown = show(await self._store.credentials(lookup), languages, today, recent.words)
        return await self._frame.render(request, "timeline.html", years=timeline(shown, today))
