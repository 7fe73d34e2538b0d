"""Who accredited whom, as the registry tells everybody: an accreditation's provider, and the authority that gave it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from services.portal.details import Said
from services.portal.texts import best_text
from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.runtime.status import error_from_rpc
from vitne_api.registry.v1 import facts_pb2, registry_pb2

#: Seconds that a page waits for it: it is there without that, too.
PATIENCE: Final = 2.0
#: Seconds for which an answer is kept: which authority gave an accreditation never changes, its name seldom.
KEPT_SECONDS: Final = 600.0
#: Answers that are kept, at most; accreditations are few.
KEPT: Final = 4_096
#: Facts about an authority in one answer; there is one for each name that it had, and for each key.
FACTS: Final = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accreditor:
    """The authority that accredited a provider.

    Attributes:
        id: organisation.
        name: by language, in the registry's order; empty where the registry does not say.
    """

    id: str
    name: Mapping[str, str]

    def said(self, languages: Sequence[str]) -> Said:
        """What it is called to a reader; by its id where the registry does not say."""
        language, name = best_text(self.name, languages) if self.name else ("", self.id)
        return Said(name, language)


class Accreditors:
    """Asks the registry, and keeps the answers for a while.

    Args:
        registry: stub of the registry's service; None: nothing is known.
        clock: how long answers are kept.
    """

    def __init__(self, registry: Any, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._accreditations: dict[str, tuple[float, Accreditor]] = {}

    async def of(self, accreditations: Iterable[str]) -> dict[str, Accreditor]:
        """Who gave accreditations, by their ids; without those that the registry does not answer for in time."""
        asked = sorted(set(accreditations))
        if self._registry is None:
            return {}
        now = self._clock.monotonic()
        known = {one: kept[1] for one in asked if (kept := self._accreditations.get(one)) and kept[0] > now}
        missing = [one for one in asked if one not in known]
        if missing:
            answers = await asyncio.gather(*(self._ask(one) for one in missing))
            new = {one: answer for one, answer in zip(missing, answers, strict=True) if answer is not None}
            if len(self._accreditations) + len(new) > KEPT:
                self._accreditations.clear()
            self._accreditations |= {one: (now + KEPT_SECONDS, answer) for one, answer in new.items()}
            known |= new
        return known

    async def _ask(self, accreditation: str) -> Accreditor | None:
        try:
            case = await self._registry.GetCase(
                registry_pb2.GetCaseRequest(accreditation_id=accreditation), timeout=PATIENCE
            )
            facts = await self._registry.ListFacts(
                registry_pb2.ListFactsRequest(page_size=FACTS, subject=case.case.authority), timeout=PATIENCE
            )
        except (grpc.aio.AioRpcError, VitneError) as error:
            reason = error.reason if isinstance(error, VitneError) else error_from_rpc(error).reason
            _log.warning("the registry does not say who accredited", extra={"reason": reason})
            return None
        return Accreditor(case.case.authority, _name(facts.facts))


def _name(facts: Iterable[facts_pb2.Fact]) -> dict[str, str]:
    """The newest name among facts, which come in the order of the registry."""
    named = [fact.authority for fact in facts if fact.HasField("authority")]
    return {text.language: text.text for text in named[-1].name} if named else {}
