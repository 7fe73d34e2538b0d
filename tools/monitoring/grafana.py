"""Grafana dashboards as plain values: what a panel is, and how it is written down as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

#: Version of the dashboard's model (Grafana 10.2 and later read it).
SCHEMA_VERSION: Final = 39
#: Columns of Grafana's grid.
COLUMNS: Final = 24
#: The reader chooses which Prometheus.
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

#: Units as Grafana names them.
Unit = Literal["s", "short", "percentunit", "ops", "bytes", "dateTimeFromNow", "cps"]


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and what its lines are called; with exemplars, points lead to traces."""

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: what is shown.
        description: what it tells, and when it is bad.
        unit: of all its values.
        queries: what is asked.
        kind: a line in time, or one number.
        width: in columns of 24.
        bad: value from which on it is red; None: never.
        good_above: whether it is red *below* ``bad`` instead.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    bad: float | None = None
    good_above: bool = False

    @property
    def height(self) -> int:
        """In rows of the grid."""
        return 8 if self.kind == "timeseries" else 4


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard, for one role."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """As Grafana reads it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["vitne"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "1m",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "utc",
            "templating": {
                "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
            },
            "panels": list(_laid_out(self.rows)),
        }


def quantiles(metric: str, by: str = "") -> tuple[Query, ...]:
    """Median and 99th percentile of a histogram, with exemplars; ``by`` names one label that is kept."""
    kept = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    rate = f'sum by ({kept}) (rate({metric}_bucket{{namespace="vitne"}}[$__rate_interval]))'
    return tuple(
        Query(f"histogram_quantile({share}, {rate})", f"{legend}{name}", exemplars=True)
        for share, name in ((0.5, "median"), (0.99, "p99"))
    )


def _laid_out(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for row in rows:
        number += 1
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": _at(0, y)}
        x, y, lowest = 0, y + 1, y + 1
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, lowest
            number += 1
            yield _panel(panel, number) | {"gridPos": _at(x, y, panel.width, panel.height)}
            x, lowest = x + panel.width, max(lowest, y + panel.height)
        y = lowest


def _at(x: int, y: int, width: int = COLUMNS, height: int = 1) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    options: dict[str, Any] = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list"}}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "area"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "thresholds": {"mode": "absolute", "steps": _steps(panel)},
                "custom": {"thresholdsStyle": {"mode": "off" if panel.bad is None else "line"}}
                if panel.kind == "timeseries"
                else {},
            },
            "overrides": [],
        },
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "exemplar": query.exemplars,
                "instant": False,
                "range": True,
            }
            for place, query in enumerate(panel.queries)
        ],
    }


def _steps(panel: Panel) -> list[dict[str, Any]]:
    first, then = ("red", "green") if panel.good_above else ("green", "red")
    steps: list[dict[str, Any]] = [{"color": "green" if panel.bad is None else first, "value": None}]
    if panel.bad is not None:
        steps.append({"color": then, "value": panel.bad})
    return steps
