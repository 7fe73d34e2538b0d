"""What the issuer measures (docs/operating/metrics.md)."""

from __future__ import annotations

from typing import Final

from vitne.metrics import CALL_SECONDS, counter, gauge, histogram

#: Outcomes of an issuance: durable; refused for what the institution sent or may; not done, for a reason of ours.
ISSUED: Final = "issued"
REFUSED: Final = "refused"
FAILED: Final = "failed"
#: Outcome of a decision that allows; one that does not refuses, and one that could not be made failed.
ALLOWED: Final = "allowed"
#: Modes: one call of Issue, one item of IssueBatch.
UNARY: Final = "unary"
BATCH: Final = "batch"

ISSUE_DURATION: Final = histogram(
    "vitne.issue.duration",
    "s",
    "from admission (unary), or from an item's turn in its batch (batch), to durable",
    "mode",
    "outcome",
    buckets=CALL_SECONDS,
)
ISSUE_CREDENTIALS: Final = counter(
    "vitne.issue.credentials",
    "{credential}",
    "what was asked for, by outcome: issued (also again, for a repeated request), refused, failed",
    "outcome",
)
DECIDE_DURATION: Final = histogram(
    "vitne.decide.duration",
    "s",
    "one decision whether an achievement may be issued; a group of requests shares one: allowed, refused, failed",
    "outcome",
    # An answer that is remembered takes 4 microseconds, the first for an achievement some hundred.
    buckets=(0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1),
)
FLAGGED: Final = gauge(
    "vitne.issuer.flagged_credentials",
    "{credential}",
    "credentials touched by facts that became known later, by cause",
    "cause",
)

WEBHOOK_ATTEMPTS: Final = counter("vitne.webhooks.attempts", "{attempt}", "attempts, by how they came out", "outcome")
WEBHOOK_GIVEN_UP: Final = counter("vitne.webhooks.given_up", "{event}", "events that an endpoint refused to the end")
WEBHOOK_DISABLED: Final = counter("vitne.webhooks.disabled", "{endpoint}", "endpoints disabled, by reason", "reason")
WEBHOOK_DELAY: Final = histogram(
    "vitne.webhooks.delay",
    "s",
    "from when it happened to when the endpoint had it",
    # Up to a day: endpoints are tried for that long.
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3_600.0, 86_400.0),
)

for _outcome in (ISSUED, REFUSED, FAILED):  # there from the start: a rate needs a value to begin from
    ISSUE_CREDENTIALS.add(0, _outcome)
