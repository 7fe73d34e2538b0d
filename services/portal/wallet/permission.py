"""Whether a provider lets its credentials be taken over to wallets, as it says itself in the catalogue."""

from __future__ import annotations

import logging
from typing import Any, Final

import grpc

from services.portal.wallet.terms import Obstacle
from vitne.clock import Clock
from vitne.credentials.model import Credential
from vitne.errors import NotFound, VitneError
from vitne.runtime.status import error_from_rpc
from vitne_api.registry.v1 import registry_pb2

#: Seconds that a page waits for it.
PATIENCE: Final = 2.0
#: Seconds for which an answer is kept: so soon a provider's change of mind is seen.
KEPT_SECONDS: Final = 60.0
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
        self._kept: dict[str, tuple[float, str, bool]] = {}

    async def obstacle(self, credential: Credential) -> Obstacle | None:
        """None: its provider offers it."""
        achievement, now = str(credential.achievement.id), self._clock.monotonic()
        kept = self._kept.get(achievement)
        if kept is None or kept[0] <= now:
            said = await self._ask(achievement)
            if said is None:
                return Obstacle.NOT_KNOWN
            if len(self._kept) >= KEPT:
                self._kept.clear()
            kept = self._kept[achievement] = (now + KEPT_SECONDS, *said)
        _, provider, offered = kept
        return None if offered and provider == str(credential.awarding_body.id) else Obstacle.NOT_OFFERED

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
