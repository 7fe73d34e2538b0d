"""Whether a provider lets its credentials be taken over to wallets, as it says itself in the catalogue."""

from __future__ import annotations

import logging
from datetime import date
from typing import Any, Final

import grpc

from services.portal.store import Kept
from services.portal.wallet.terms import Obstacle, obstacle
from vitne.clock import Clock
from vitne.credentials.model import Credential
from vitne.errors import NotFound, VitneError
from vitne.runtime.status import error_from_rpc
from vitne_api.registry.v1 import registry_pb2

#: Seconds that a page waits for it.
PATIENCE: Final = 2.0
#: Seconds for which an answer is kept: so soon a provider's change of mind is seen.
KEPT_SECONDS: Final = 60.0
#: Seconds for which it is kept that nobody can say: of those who look meanwhile nobody waits.
SILENT_SECONDS: Final = 10.0
#: Answers that are kept, at most.
KEPT: Final = 4_096

_log = logging.getLogger(__name__)


class Permissions:
    """Asks the registry for the newest version of the achievement.

    Args:
        registry: stub of the registry's service; None: nobody can say, and nothing is handed over.
        clock: how long answers are kept.
    """

    def __init__(self, registry: Any, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        #: Until when, and what was said; oldest first.
        self._kept: dict[str, tuple[float, tuple[str, bool] | None]] = {}

    async def obstacle(self, credential: Credential) -> Obstacle | None:
        """None: its provider offers it."""
        achievement, now = str(credential.achievement.id), self._clock.monotonic()
        kept = self._kept.get(achievement)
        said = kept[1] if kept is not None and now < kept[0] else await self._asked(achievement)
        if said is None:
            return Obstacle.NOT_KNOWN
        provider, offered = said
        return None if offered and provider == str(credential.awarding_body.id) else Obstacle.NOT_OFFERED

    async def _asked(self, achievement: str) -> tuple[str, bool] | None:
        """What is said now, from now on kept."""
        said = await self._ask(achievement)
        self._kept.pop(achievement, None)
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        seconds = SILENT_SECONDS if said is None else KEPT_SECONDS
        self._kept[achievement] = (self._clock.monotonic() + seconds, said)
        return said

    async def _ask(self, achievement: str) -> tuple[str, bool] | None:
        """The provider, and whether it offers it; None while nobody can say."""
        if self._registry is None:
            return None
        try:
            answer = await self._registry.GetAchievement(
                registry_pb2.GetAchievementRequest(id=achievement), timeout=PATIENCE
            )
        except (grpc.aio.AioRpcError, VitneError) as error:
            told = error if isinstance(error, VitneError) else error_from_rpc(error)
            if isinstance(told, NotFound):
                return "", False
            _log.warning("the registry does not say what may be taken over", extra={"reason": told.reason})
            return None
        return answer.achievement.provider, answer.achievement.catalogue.wallet_transfer


async def in_the_way(
    kept: Kept, credential: Credential | None, today: date, permissions: Permissions
) -> Obstacle | None:
    """What keeps a credential from being taken over, its provider's word included; None: nothing does.

    Args:
        kept: what the portal has of it.
        credential: what that says; None where it can't be read.
        today: decides what has expired.
        permissions: what providers let learners do.
    """
    why = obstacle(kept, credential, today)
    return await permissions.obstacle(credential) if why is None and credential is not None else why
