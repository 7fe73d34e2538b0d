"""What pages have said lately, in memory only: reading what credentials say takes most of a page, and a learner opens
several in a row.

Nothing is found here but by what was just read of her rows, with her key: where a row or a key is gone, its page is as
if nothing had been kept. And nothing stays: it goes when she logs out, withdraws or is erased by a page here, and
:data:`LIFETIME` after its page wherever it was kept: in other processes, and where the topic told of the end, too.
There is no name and no number in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.portal.presentation import Words
from vitne.canonical import sha256
from vitne.clock import Clock
from vitne_api.registry.v1 import stacking_pb2

#: Seconds for which what a page said is kept.
LIFETIME: Final = 300.0
#: How often what is older is swept out, whether anybody looks at a page or not.
SWEEP_SECONDS: Final = 30.0
#: Seconds for which the registry's answer holds: meanwhile it may come to know another qualification.
ANSWER_SECONDS: Final = 15.0
#: Credentials that are kept in words, at most: some two KiB each.
MOST: Final = 10_000
#: Bytes of an answer that count as one credential.
_ANSWER_BYTES: Final = 2_048


@dataclass(slots=True)
class Recent:
    """Of one learner, in one reader's languages.

    Attributes:
        languages: best first.
        until: when it is over, on the monotonic clock.
        words: what each credential says, by the digest of what was read.
    """

    languages: tuple[str, ...]
    until: float
    words: dict[bytes, Words | None] = field(default_factory=dict)
    _question: bytes = b""
    _answer: stacking_pb2.EvaluateStackingResponse | None = None
    _answered: float = 0.0
    _answer_weight: int = 0

    def answer_to(
        self, question: stacking_pb2.EvaluateStackingRequest, now: float
    ) -> stacking_pb2.EvaluateStackingResponse | None:
        """What the registry has just answered to the very same question; None: it is to be asked."""
        if self._answer is None or now >= self._answered + ANSWER_SECONDS or self._question != _digest(question):
            return None
        return self._answer

    def keep_answer(
        self,
        question: stacking_pb2.EvaluateStackingRequest,
        answer: stacking_pb2.EvaluateStackingResponse,
        now: float,
    ) -> None:
        """Keep the newest answer."""
        self._question, self._answer, self._answered = _digest(question), answer, now
        self._answer_weight = answer.ByteSize() // _ANSWER_BYTES

    @property
    def weight(self) -> int:
        """What it takes, in credentials."""
        return 1 + len(self.words) + self._answer_weight


class RecentPages:
    """Of the learners who look at their pages just now.

    Args:
        clock: when it is over.
        most: see :data:`MOST`.
    """

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        #: By learner, in the order in which they end.
        self._learners: OrderedDict[bytes, Recent] = OrderedDict()

    def of(self, lookup: bytes, languages: Sequence[str]) -> Recent:
        """What her pages have said in these languages, to be filled in by the page; empty where that was long ago."""
        self.sweep()
        recent = self._learners.get(lookup)
        if recent is None or recent.languages != tuple(languages):
            self.forget(lookup)
            recent = self._learners[lookup] = Recent(tuple(languages), self._clock.monotonic() + LIFETIME)
        return recent

    def forget(self, lookup: bytes) -> None:
        """She has left: nothing of hers is kept."""
        self._learners.pop(lookup, None)

    def sweep(self) -> None:
        """Drop what is over, and the oldest beyond what there is room for."""
        now = self._clock.monotonic()
        # All, each time: a page fills what it was given while others begin, and nothing tells when it has.
        weight = sum(recent.weight for recent in self._learners.values())
        while self._learners:
            lookup, oldest = next(iter(self._learners.items()))
            if oldest.until > now and weight <= self._most:
                return
            weight -= oldest.weight
            self.forget(lookup)

    async def run(self) -> None:
        """Sweep, until cancelled."""
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            self.sweep()


def _digest(question: stacking_pb2.EvaluateStackingRequest) -> bytes:
    return sha256(question.SerializeToString(deterministic=True))
