"""What is measured: declarations of counters, gauges and histograms, which Prometheus' client keeps and shows.

Each layer declares its own in one file named ``metrics.py``. What is added to the client (docs/decisions/0010): series
are asked of it once, are bounded and past the redactor, and what is recorded in a sampled span leads to its trace.

Attributes are few, bounded and no names of people or things that people have: values are given in the order in which
the attributes were declared, so one that was not declared can't slip in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

import prometheus_client as client
from opentelemetry import trace
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from vitne.redactor import redact

#: Most series of a metric; what is beyond shares one whose attributes are all :data:`OVERFLOW`. A bound that is
#: reached is a fault of ours, and must cost neither memory nor the monitoring.
MAX_SERIES: Final = 500
OVERFLOW: Final = "overflow"
#: Longest value of an attribute; the rest is cut off.
MAX_VALUE_CHARACTERS: Final = 128

#: Seconds, from what a decision takes to what an outage takes. One set for calls, so that their graphs compare.
CALL_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

#: Everything that this process measures, and what the client tells of the process itself.
REGISTRY: Final = CollectorRegistry()
client.ProcessCollector(registry=REGISTRY)
client.PlatformCollector(registry=REGISTRY)
client.GCCollector(registry=REGISTRY)
# When each series began would be one more for each; when the process did is enough.
client.disable_created_metrics()  # type: ignore[no-untyped-call]

#: Units that OpenTelemetry's and Prometheus' names write differently; what is only counted is no unit of Prometheus'.
_UNITS: Final = {"s": "seconds"}

#: Values of a metric's attributes, in the order of their declaration.
Attributes: TypeAlias = tuple[str, ...]
#: Answers what a gauge shows now.
Observation: TypeAlias = tuple[float, Attributes]

_M = TypeVar("_M", client.Counter, client.Gauge, client.Histogram)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a metric is.

    Attributes:
        name: after OpenTelemetry's conventions, ``vitne.issue.duration``.
        kind: what is done with values.
        unit: UCUM: ``s``, or what is counted, ``{credential}``.
        meaning: one line, for people.
        attributes: names of its attributes.
        buckets: rising upper bounds of a histogram's buckets, each belonging to its bucket.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name on the page, without what its kind appends (``_total``, ``_bucket``)."""
        name, unit = self.name.replace(".", "_"), self.prometheus_unit
        return f"{name}_{unit}" if unit else name

    @property
    def prometheus_unit(self) -> str:
        """The unit on the page; empty for what is only counted."""
        return _UNITS.get(self.unit, "")

    @property
    def labels(self) -> tuple[str, ...]:
        """The attributes' names on the page."""
        return tuple(attribute.replace(".", "_") for attribute in self.attributes)


class _Series(dict[Attributes, _M]):
    """A metric's series by their attributes' values, each asked of the client once."""

    def __init__(
        self, kind: Callable[..., _M], declaration: Declaration, registry: CollectorRegistry | None, **more: Any
    ) -> None:
        super().__init__()
        self.metric: Final[_M] = kind(
            declaration.prometheus_name,
            declaration.meaning,
            declaration.labels,
            unit=declaration.prometheus_unit,
            registry=registry,
            **more,
        )
        self._declaration = declaration

    def __missing__(self, attributes: Attributes) -> _M:
        if len(attributes) != len(self._declaration.attributes):
            raise ValueError(f"{self._declaration.name} has the attributes {self._declaration.attributes}")
        if len(self) >= MAX_SERIES:
            return self.metric.labels(*(OVERFLOW for _ in attributes))
        values = [redact(value)[:MAX_VALUE_CHARACTERS] for value in attributes]
        self[attributes] = found = self.metric.labels(*values) if values else self.metric
        return found


class Counter:
    """A sum that only grows."""

    def __init__(self, declaration: Declaration, registry: CollectorRegistry) -> None:
        self.declaration: Final = declaration
        self._series = _Series(client.Counter, declaration, registry)

    def add(self, count: float, *attributes: str) -> None:
        """Add to the sum of these attributes."""
        self._series[attributes].inc(count)


class Gauge(Collector):
    """A value as it is now: set when it changes, or asked for when it is read. Until then it is missing."""

    def __init__(self, declaration: Declaration, registry: CollectorRegistry) -> None:
        self.declaration: Final = declaration
        self._series = _Series(client.Gauge, declaration, None)
        self._callback: Callable[[], Iterable[Observation]] | None = None
        registry.register(self)

    def set(self, value: float, *attributes: str) -> None:
        """Show a value for these attributes until another one is set."""
        self._series[attributes].set(value)

    def observe(self, callback: Callable[[], Iterable[Observation]]) -> None:
        """Ask ``callback`` whenever the gauge is read; of several values for the same attributes the largest counts."""
        self._callback = callback

    def describe(self) -> Iterable[Metric]:
        """The family without values; by its name the registry knows what is declared twice."""
        return self._series.metric.describe()

    def collect(self) -> Iterable[Metric]:
        """The family as it is now."""
        if self._callback is not None:
            self._series.clear()
            self._series.metric.clear()
            for value, attributes in sorted(self._callback()):  # rising, so that the largest is what stays
                self._series[attributes].set(value)
        # The client would show 0 for one that has no attributes and was never set.
        return self._series.metric.collect() if self._series else self.describe()


class Histogram:
    """How values are distributed over buckets, with exemplars from sampled traces."""

    def __init__(self, declaration: Declaration, registry: CollectorRegistry) -> None:
        self.declaration: Final = declaration
        self._series = _Series(client.Histogram, declaration, registry, buckets=declaration.buckets)

    def record(self, value: float, *attributes: str) -> None:
        """Take down a value; within a sampled span it becomes its bucket's exemplar."""
        span = trace.get_current_span().get_span_context()
        exemplar = None
        if span.trace_flags & trace.TraceFlags.SAMPLED:
            exemplar = {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        self._series[attributes].observe(value, exemplar)


def counter(name: str, unit: str, meaning: str, *attributes: str, registry: CollectorRegistry = REGISTRY) -> Counter:
    """Declare a counter; ``attributes`` are their names."""
    return Counter(Declaration(name, "counter", unit, meaning, attributes), registry)


def gauge(name: str, unit: str, meaning: str, *attributes: str, registry: CollectorRegistry = REGISTRY) -> Gauge:
    """Declare a gauge; ``attributes`` are their names."""
    return Gauge(Declaration(name, "gauge", unit, meaning, attributes), registry)


def histogram(
    name: str,
    unit: str,
    meaning: str,
    *attributes: str,
    buckets: tuple[float, ...],
    registry: CollectorRegistry = REGISTRY,
) -> Histogram:
    """Declare a histogram; ``attributes`` are their names, ``buckets`` the upper bounds in ``unit``."""
    return Histogram(Declaration(name, "histogram", unit, meaning, attributes, buckets), registry)
