"""One credential with everything that it says, and all of them by their days."""

from __future__ import annotations

from fastapi import Request, Response

from services.portal.accreditors import Accreditors
from services.portal.details import Said, details
from services.portal.history import history
from services.portal.local_time import local_date
from services.portal.presentation import read, show
from services.portal.store import Store
from services.portal.texts import best_text
from services.portal.timeline import timeline
from services.portal.wallet.store import Offers
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
        accreditors: who accredited the issuers.
        clock: what has expired.
    """

    def __init__(self, frame: Frame, *, store: Store, offers: Offers, accreditors: Accreditors, clock: Clock) -> None:
        self._frame = frame
        self._store = store
        self._offers = offers
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
        languages, today = self._frame.reader(request).languages, local_date(self._clock.now())
        (one,) = show([kept], languages, today)
        credential = read(kept)
        taken = [offer.taken_at for offer in await self._offers.of_learner(lookup, kept.handle) if offer.taken_at]
        accreditor = None
        if one.accreditation is not None:
            found = (await self._accreditors.of([one.accreditation])).get(one.accreditation)
            if found is not None:
                language, name = best_text(found.name, languages)
                accreditor = Said(name or found.id, language)
        return await self._frame.render(
            request,
            "credential.html",
            one=one,
            details=details(credential, languages) if credential else None,
            accreditor=accreditor,
            history=history(kept, credential, today, taken) if credential else [],
        )

    async def timeline(self, request: Request) -> Response:
        """Her credentials by the days on which something happened, or will."""
        lookup = await self._frame.require_learner(request)
        today, languages = local_date(self._clock.now()), self._frame.reader(request).languages
        recent = self._frame.recent.of(lookup, languages)
        shown = show(await self._store.credentials(lookup), languages, today, recent.words)
        return await self._frame.render(request, "timeline.html", years=timeline(shown, today))
