"""What the registry measures."""

from __future__ import annotations

from typing import Final

from opentelemetry import metrics

_METER: Final = metrics.get_meter("vitne.registry")
_DUE: Final = _METER.create_gauge(
    "vitne.registry.accreditations_due", "{accreditation}", "accreditations that end within so many days"
)


def tell_due(within_days: int, count: int) -> None:
    """That so many accreditations end within so many days."""
    _DUE.set(count, {"within_days": str(within_days)})
