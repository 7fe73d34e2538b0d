"""Fetches what the hub's topic told of, by handle, in batches; an issuer that is down is waited out."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import grpc

from services.portal.store import Fetched, Store, Wanted
from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.status import error_from_rpc
from vitne.runtime.telemetry import DATABASE, joined, step
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2

#: Handles in one call: the contract's most.
BATCH: Final = 500
#: Batches at a time while there is more than one call takes: the issuer works on some while another is stored.
LANES: Final = 3
#: Seconds of the first pause after a failure; doubled each time, up to the second.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 60.0
#: Seconds between two looks at what is due when nobody says that something arrived.
IDLE_SECONDS: Final = 0.5
#: Seconds between two looks, and for how long, after something arrived: it is told
#: within the transaction, which then has to commit.
EAGER_SECONDS: Final = 0.01
EAGER_FOR: Final = 0.3

#: Statuses as the portal stores and shows them; whatever else comes is not known, never valid.
STATUS: Final = {
    credential_pb2.STATUS_VALID: "valid",
    credential_pb2.STATUS_SUSPENDED: "suspended",
    credential_pb2.STATUS_REVOKED: "revoked",
}
UNKNOWN: Final = "unknown"

_log = logging.getLogger(__name__)


class Fetcher:
    """Keeps what learners are shown up to date.

    Args:
        store: says what is due and takes what was fetched.
        issuer: stub of the issuer's service.
        clock: when to try again.
    """

    def __init__(self, store: Store, issuer: Any, clock: Clock) -> None:
        self._store = store
        self._issuer = issuer
        self._clock = clock
        self._arrived = asyncio.Event()

    def wake(self) -> None:
        """Something to fetch has arrived, or is about to commit."""
        self._arrived.set()

    async def run(self) -> None:
        """Fetch until cancelled; outages of issuer and database are waited out."""
        eager_until = 0.0
        while True:
            try:
                busy = await self._fetch_due()
            except DATABASE_OUTAGES as error:
                _log.warning("the fetcher lost its database, and tries again: %s", type(error).__name__)
                busy = False
            if busy:
                continue
            if self._arrived.is_set():
                self._arrived.clear()
                eager_until = self._clock.monotonic() + EAGER_FOR
            eager = self._clock.monotonic() < eager_until
            try:
                async with asyncio.timeout(EAGER_SECONDS if eager else IDLE_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                pass

    async def _fetch_due(self) -> bool:
        """Fetch a batch, and where that was full, several at a time until one is not; False when nothing was due."""
        claimed = await self._step()
        if claimed == BATCH:
            failed = asyncio.Event()
            for ended in await asyncio.gather(*(self._lane(failed) for _ in range(LANES)), return_exceptions=True):
                if ended is not None:
                    raise ended
        return claimed > 0

    async def _lane(self, failed: asyncio.Event) -> None:
        """One batch after the other, while they are full and no lane has failed."""
        try:
            while not failed.is_set() and await self._step() == BATCH:
                pass
        except BaseException:
            failed.set()
            raise

    async def _step(self) -> int:
        """Fetch one batch; how much was due, as far as one call takes it."""
        wanted = await self._store.claim(self._clock.now(), BATCH)
        if wanted:
            with joined("fetch credentials", (one.traceparent for one in wanted)):
                await self._fetch(wanted)
        return len(wanted)

    async def _fetch(self, wanted: Sequence[Wanted]) -> None:
        try:
            answer = await self._issuer.FetchCredentials(
                issuer_pb2.FetchCredentialsRequest(handles=[one.handle for one in wanted])
            )
        except (grpc.aio.AioRpcError, VitneError) as error:
            told = error_from_rpc(error) if isinstance(error, grpc.aio.AioRpcError) else error
            _log.warning("fetching failed, and is tried again", extra={"reason": told.reason, "count": len(wanted)})
            await self._postpone(wanted)
            return
        # What the issuer has and can't read for now is neither kept nor gone: as if it had not been answered.
        answers = {one.handle: one for one in answer.credentials if not one.unavailable_reason}
        for reason, count in Counter(one.unavailable_reason for one in answer.credentials).items():
            if reason:
                _log.warning("the issuer can't read some, and is asked again", extra={"reason": reason, "count": count})
        with step("keep credentials", DATABASE):
            failed = await self._store.keep(
                [
                    Fetched(one, credential.artefact, STATUS.get(credential.status, UNKNOWN))
                    for one in wanted
                    if (credential := _credential(answers.get(one.handle))) is not None
                ],
                [one for one in wanted if one.handle in answers and _credential(answers[one.handle]) is None],
                self._clock.now(),
            )
        if failed := [*failed, *(one for one in wanted if one.handle not in answers)]:
            await self._postpone(failed)

    async def _postpone(self, wanted: Sequence[Wanted]) -> None:
        now = self._clock.now()
        # Spread over half the pause, so that not everything comes back at once.
        pauses = {one: min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(one.attempts, 16)) for one in wanted}
        await self._store.postpone(
            {one: now + timedelta(seconds=pause * random.uniform(0.75, 1.25)) for one, pause in pauses.items()}
        )


def _credential(answer: issuer_pb2.FetchedCredential | None) -> issuer_pb2.IssuedCredential | None:
    return answer.credential if answer is not None and answer.HasField("credential") else None
