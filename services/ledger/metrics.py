"""What the ledger measures (docs/operating/metrics.md)."""

from __future__ import annotations

from typing import Final

from vitne.metrics import counter, gauge, histogram

#: Seconds around the one within which a leaf is integrated and a revocation published.
_WITHIN_A_SECOND: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 60.0, 600.0)

LOG_INTEGRATION_DELAY: Final = histogram(
    "vitne.log.integration.delay",
    "s",
    "from when a leaf's event happened, or its change was recorded here, to when it is in the log",
    buckets=_WITHIN_A_SECOND,
)
LOG_SIZE: Final = gauge(
    "vitne.log.size", "{leaf}", "leaves in the log and in those that it followed; told by the replica that writes it"
)
LOG_WITNESSED: Final = gauge(
    "vitne.log.witnessed",
    "s",
    "when enough witnesses last cosigned the log that grows, since 1970; told by the replica that asks them",
)
STATUS_PUBLICATION_DELAY: Final = histogram(
    "vitne.status.publication.delay",
    "s",
    "from when a change of status was recorded to when a signed list that shows it is served",
    buckets=_WITHIN_A_SECOND,
)
WITNESS_ANSWERS: Final = counter(
    "vitne.log.witness.answers",
    "{answer}",
    "requests to witnesses for a cosignature, by what came of them; an empty reason: a cosignature",
    "vitne.witness",
    "vitne.reason",
)
