"""Objectives, and the alerts on how fast their error budgets burn.

The windows and factors are those of *The Site Reliability Workbook*, chapter 5 ("Alerting on SLOs"), section
"6: Multiwindow, Multi-Burn-Rate Alerts" (https://sre.google/workbook/alerting-on-slos/), for budgets of 30 days.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: Windows over which the bad share is recorded, shortest first.
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
#: Under this many bad events in the long window there is no trend, only a few events (same chapter, "Low-Traffic
#: Services and Error-Budget Alerting"): at night one failure may be all there is.
LEAST_BAD: Final = 3
#: Where runbooks are published.
RUNBOOKS: Final = "https://vitne.example/docs/operating"


@dataclass(frozen=True, slots=True)
class Burn:
    """A pair of windows: burning ``factor`` times too fast over both raises the alert."""

    factor: float
    long: str
    short: str


@dataclass(frozen=True, slots=True)
class Urgency:
    """One alert of an objective: its pairs of windows, and who is called."""

    suffix: str
    severity: str
    burns: tuple[Burn, ...]
    description: str


URGENCIES: Final = (
    Urgency(
        "Fast",
        "critical",
        (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m")),
        "A month's error budget is used up within days: 2 % of it in an hour, or 5 % in six.",
    ),
    Urgency(
        "Slow",
        "warning",
        (Burn(3, "1d", "2h"), Burn(1, "3d", "6h")),
        "The month's error budget will not last the month: 10 % of it in a day, or in three.",
    ),
)


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective: the share of what counts that may be bad, over 30 days.

    Attributes:
        name: label ``slo`` of what is recorded.
        alert: the alerts' names begin with it.
        title: for a panel.
        objective: share that is good, below 1.
        sentence: what is promised.
        bad: rate of bad events, PromQL with ``$window``.
        counts: rate of all events that count, PromQL with ``$window``.
        runbook: page in docs/operating.
    """

    name: str
    alert: str
    title: str
    objective: float
    sentence: str
    bad: str
    counts: str
    runbook: str

    @property
    def budget(self) -> float:
        """Share that may be bad."""
        return round(1 - self.objective, 6)


def read(file: Path) -> tuple[Slo, ...]:
    """The objectives of ``slos.toml``."""
    return tuple(_slo(entry) for entry in tomllib.loads(file.read_text())["slo"])


def _slo(entry: dict[str, Any]) -> Slo:
    histogram, within = entry.pop("histogram", ""), entry.pop("within", 0)
    if histogram:
        # Prometheus 2 keeps "1.0" as the client wrote it, Prometheus 3 normalises it; both are meant.
        bound = f"{within:g}".replace(".", r"\\.") + ("" if "." in f"{within:g}" else r"(\\.0)?")
        counts = f'sum(rate({histogram}_count{{namespace="vitne"}}[$window]))'
        good = f'sum(rate({histogram}_bucket{{namespace="vitne", le=~"{bound}"}}[$window]))'
        entry |= {"counts": counts, "bad": f"({counts} - {good})"}
    return Slo(**entry)


def rule_groups(slos: Sequence[Slo]) -> list[dict[str, Any]]:
    """Groups of a PrometheusRule: what is recorded of each objective, and its alerts."""
    return [
        {"name": "vitne.slo.recording", "interval": "30s", "rules": [rule for slo in slos for rule in _recorded(slo)]},
        {"name": "vitne.slo", "rules": [_alert(slo, urgency) for slo in slos for urgency in URGENCIES]},
    ]


def _recorded(slo: Slo) -> Iterator[dict[str, Any]]:
    def record(name: str, expr: str) -> dict[str, Any]:
        return {"record": f"slo:vitne_{name}", "expr": expr, "labels": {"slo": slo.name}}

    yield record("budget:ratio", f"vector({slo.budget:g})")
    for window in WINDOWS:
        bad, counts = (text.replace("$window", window) for text in (slo.bad, slo.counts))
        yield record(f"bad:ratio_rate{window}", f"{bad} / {counts}")
    for window in dict.fromkeys(burn.long for urgency in URGENCIES for burn in urgency.burns):
        bad = slo.bad.replace("rate(", "increase(").replace("$window", window)
        yield record(f"bad:increase{window}", bad)


def _alert(slo: Slo, urgency: Urgency) -> dict[str, Any]:
    name = slo.alert + urgency.suffix
    return {
        "alert": name,
        "expr": "\n  or\n".join(_burns(slo, burn) for burn in urgency.burns),
        # The windows do the waiting; this takes out a single evaluation.
        "for": "2m",
        "labels": {"severity": urgency.severity, "slo": slo.name},
        "annotations": {
            "summary": f"{{{{ $value | humanizePercentage }}}} miss the objective: {slo.sentence}",
            "description": f"{urgency.description} The runbook says where to look.",
            "runbook_url": f"{RUNBOOKS}/{slo.runbook}#{name.lower()}",
        },
    }


def _burns(slo: Slo, burn: Burn) -> str:
    limit = f"{burn.factor * slo.budget:g}"
    series = [f'slo:vitne_bad:{kind}{{slo="{slo.name}"}}' for kind in _recordings(burn)]
    return f"({series[0]} > {limit}\n  and {series[1]} > {limit}\n  and {series[2]} >= {LEAST_BAD})"


def _recordings(burn: Burn) -> tuple[str, str, str]:
    return f"ratio_rate{burn.long}", f"ratio_rate{burn.short}", f"increase{burn.long}"
