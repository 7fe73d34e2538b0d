"""What the verifier measures (docs/operating/metrics.md)."""

from __future__ import annotations

from typing import Final

from vitne.metrics import CALL_SECONDS, histogram

VERIFY_DURATION: Final = histogram(
    "vitne.verify.duration", "s", "one verification, by its verdict", "verdict", buckets=CALL_SECONDS
)
