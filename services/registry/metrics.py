"""What the registry measures (docs/operating/metrics.md)."""

from __future__ import annotations

from typing import Final

from vitne.metrics import gauge

ACCREDITATIONS_DUE: Final = gauge(
    "vitne.registry.accreditations_due",
    "{accreditation}",
    "accreditations whose validity ends within so many days",
    "within_days",
)
