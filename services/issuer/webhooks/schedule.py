"""When a failed delivery is tried again, and when it ends (Standard Webhooks 1.0.0, "Deliverability and reliability").

It ends in one of two ways. If the endpoint acknowledged nothing since the event was first tried, the endpoint
is at fault: it is disabled, and everything is kept for it. If it did acknowledge others, the event is at fault:
it is given up, and those behind it go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final

from vitne_api.issuer.v1 import webhooks_pb2 as webhooks

#: Seconds between an attempt and the next, as the specification suggests: ten attempts in 75 h 35 min 5 s.
DELAYS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: Largest part by which a wait is lengthened at random, so that what failed together does not come together again.
JITTER: Final = 0.1
#: Failures in a row after which an endpoint counts as down: it gets one call at a time, with pauses.
DOWN_AFTER: Final = 5
#: First and longest such pause in seconds.
FIRST_PAUSE: Final = 5
LONGEST_PAUSE: Final = 300
#: Longest wait that an endpoint may ask for with Retry-After.
LONGEST_RETRY_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt came out.

    Attributes:
        outcome: in the contract's terms.
        status: HTTP status; 0 without one.
        retry_after: wait that the endpoint asked for.
    """

    outcome: webhooks.WebhookOutcome.ValueType
    status: int = 0
    retry_after: timedelta | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether the endpoint has it."""
        return self.outcome == webhooks.WEBHOOK_OUTCOME_ACKNOWLEDGED


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again.

    Attributes:
        at: when.
        paused_until: until when nothing is sent to the endpoint at all.
    """

    at: datetime
    paused_until: datetime | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Let those behind it go on."""


@dataclass(frozen=True, slots=True)
class Disable:
    """Send nothing more to the endpoint."""

    reason: webhooks.WebhookDisabledReason.ValueType


Verdict = Retry | GiveUp | Disable


@dataclass(frozen=True, slots=True)
class Schedule:
    """Decides on failed attempts.

    Args:
        scale: factor of all waits.
        random: of the jitter.
    """

    scale: float = 1.0
    random: Random = field(default_factory=Random)

    @property
    def span(self) -> timedelta:
        """From an event's first attempt to its last."""
        return timedelta(seconds=sum(DELAYS) * self.scale)

    def after_failure(
        self, answer: Answer, now: datetime, *, attempts: int, failures: int, failing_since: datetime
    ) -> Verdict:
        """What follows an attempt that was not acknowledged.

        Args:
            answer: how it came out.
            now: when.
            attempts: of this event, this one included.
            failures: of the endpoint in a row, this one included.
            failing_since: when the first of these was.
        """
        if answer.status == 410:
            return Disable(webhooks.WEBHOOK_DISABLED_REASON_GONE)
        # The last attempt comes no earlier than this, since jitter only adds.
        if now - failing_since >= self.span:
            return Disable(webhooks.WEBHOOK_DISABLED_REASON_FAILING)
        if attempts > len(DELAYS):
            return GiveUp()
        wait = timedelta(seconds=DELAYS[attempts - 1] * self.scale * (1 + self.random.uniform(0, JITTER)))
        pause = timedelta(0)
        if failures >= DOWN_AFTER:
            seconds = min(FIRST_PAUSE * 2 ** min(failures - DOWN_AFTER, 16), LONGEST_PAUSE)
            pause = timedelta(seconds=seconds * self.scale)
        if answer.retry_after is not None:
            asked = min(answer.retry_after, LONGEST_RETRY_AFTER)
            wait, pause = max(wait, asked), max(pause, asked)
        return Retry(now + wait, now + pause if pause else None)
