"""What the verifier says of a credential, now: over its public contract, as anybody asks it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import grpc

from vitne.canonical import sha256
from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.runtime.status import error_from_rpc
from vitne_api.credential.v1 import credential_pb2
from vitne_api.verifier.v1 import verifier_pb2

#: Verdict where the verifier does not answer: nothing is known, least of all that it is valid.
UNCHECKED: Final = "unchecked"
#: What is told of a verdict or outcome that this release doesn't know.
NOT_DETERMINABLE: Final = "not_determinable"
#: Verdicts that a page has words for.
VERDICTS: Final = (
    "valid",
    "valid_with_notes",
    "suspended",
    "revoked",
    "invalid",
    NOT_DETERMINABLE,
    UNCHECKED,
)
#: Seconds for which an answer is shown again. What it rests on is held longer by the verifier: a status for its list's
#: time to live; so a revocation is seen as soon as by whoever asks the verifier, and these few seconds.
FRESH_SECONDS: Final = 3.0
#: Seconds after which an unanswered question is put again.
RETRY_SECONDS: Final = 1.0
#: Seconds that a visitor waits for the verifier.
PATIENCE_SECONDS: Final = 5.0
#: Answers that are held: some 50 MiB at most.
HELD: Final = 5_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckShown:
    """One check.

    Attributes:
        name: stable name, ``signature``.
        outcome: ``passed``, ``failed``, ``note``, ``not_determinable`` or ``skipped``.
        detail: what was found, in the verifier's words, which are English.
        evidence: what it rests on.
    """

    name: str
    outcome: str
    detail: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What may be believed of a credential.

    Attributes:
        verdict: one of :data:`VERDICTS`.
        checks: in the order in which they were made; empty where nothing was.
        at: when it was verified; None where it was not.
    """

    verdict: str
    checks: tuple[CheckShown, ...]
    at: datetime | None


_UNANSWERED: Final = Checked(UNCHECKED, (), None)


@dataclass(slots=True)
class _Held:
    answer: asyncio.Task[Checked]
    until: float


class LiveChecks:
    """Asks the verifier, once for all who look at the same credential within a few seconds.

    Args:
        verifier: stub of the verifier's service; None: there is none, and nothing is ever checked.
        clock: says how old an answer is.
    """

    def __init__(self, verifier: Any, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._held: OrderedDict[bytes, _Held] = OrderedDict()

    async def check(self, artefacts: Sequence[str]) -> list[Checked]:
        """What may be believed of each presentation; ``unchecked`` where the verifier does not answer in time."""
        return list(await asyncio.gather(*(asyncio.shield(self._answer(artefact)) for artefact in artefacts)))

    def _answer(self, artefact: str) -> asyncio.Task[Checked]:
        name, now = sha256(artefact.encode()), self._clock.monotonic()
        held = self._held.get(name)
        if held is None or (held.answer.done() and held.until <= now):
            held = self._held[name] = _Held(asyncio.create_task(self._ask(name, artefact)), now)
            self._held.move_to_end(name)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return held.answer

    async def _ask(self, name: bytes, artefact: str) -> Checked:
        answer = await self._verify(artefact)
        if (held := self._held.get(name)) is not None:
            fresh = RETRY_SECONDS if answer is _UNANSWERED else FRESH_SECONDS
            held.until = self._clock.monotonic() + fresh
        return answer

    async def _verify(self, artefact: str) -> Checked:
        if self._verifier is None:
            return _UNANSWERED
        try:
            answer = await self._verifier.Verify(
                verifier_pb2.VerifyRequest(credential=artefact), timeout=PATIENCE_SECONDS
            )
        except (grpc.aio.AioRpcError, VitneError) as error:
            reason = error.reason if isinstance(error, VitneError) else error_from_rpc(error).reason
            _log.warning("the verifier does not answer", extra={"reason": reason})
            return _UNANSWERED
        return read(answer)


def read(answer: verifier_pb2.VerifyResponse) -> Checked:
    """An answer of the verifier's as a page shows it; what is not known here is *not determinable*, never valid."""
    verdict = _word(verifier_pb2.Verdict, "VERDICT_", answer.verdict)
    return Checked(
        verdict if verdict in VERDICTS and verdict != UNCHECKED else NOT_DETERMINABLE,
        tuple(
            CheckShown(
                check.name,
                _word(credential_pb2.Check.Outcome, "OUTCOME_", check.outcome),
                check.detail,
                check.evidence,
            )
            for check in answer.checks
        ),
        datetime.fromtimestamp(answer.verified_at.ToMilliseconds() / 1000, UTC),
    )


def _word(enum: Any, prefix: str, number: int) -> str:
    try:
        word: str = enum.Name(number).removeprefix(prefix).lower()
    except ValueError:
        return NOT_DETERMINABLE
    return NOT_DETERMINABLE if word == "unspecified" else word
