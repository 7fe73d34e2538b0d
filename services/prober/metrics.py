"""What the prober measures (docs/operating/metrics.md)."""

from __future__ import annotations

from typing import Final

from vitne.metrics import gauge, histogram

STEP_DURATION: Final = histogram(
    "vitne.probe.step.duration",
    "s",
    "what a step of the probe took, also where it failed",
    "step",
    # From an answer out of memory to what a step may take at most.
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0),
)
SUCCESS: Final = gauge("vitne.probe.success", "{success}", "1 when the last round came through, else 0")
LAST_SUCCESS: Final = gauge("vitne.probe.last_success", "s", "when a round last came through, in seconds since 1970")
