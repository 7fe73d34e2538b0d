"""What the prober measures."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from opentelemetry import metrics

_METER: Final = metrics.get_meter("vitne.prober")
_STEP: Final = _METER.create_histogram(
    "vitne.probe.step.duration",
    "s",
    "what a step of the probe took, also where it failed",
    explicit_bucket_boundaries_advisory=[0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60],
)
_SUCCESS: Final = _METER.create_gauge("vitne.probe.success", "{success}", "1 when the last round came through, else 0")
_LAST_SUCCESS: Final = _METER.create_gauge(
    "vitne.probe.last_success", "s", "when a round last came through, in seconds since 1970"
)


def tell_step(step: str, seconds: float) -> None:
    """What a step took."""
    _STEP.record(seconds, {"step": step})


def tell_success(at: datetime) -> None:
    """That a round came through."""
    _SUCCESS.set(1)
    _LAST_SUCCESS.set(at.timestamp())


def tell_failure() -> None:
    """That a round did not come through."""
    _SUCCESS.set(0)
