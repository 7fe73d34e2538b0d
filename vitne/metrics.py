"""What is measured: counters, gauges and histograms, after OpenTelemetry's data model.

They are our own, since OpenTelemetry's take five microseconds for each record in Python, several times for each
credential (docs/decisions/0014); these take less than one. What a process has measured is read by whoever exports it
(:mod:`vitne.runtime.telemetry`). Each layer declares its own in one file named ``metrics.py``.

Attributes are few, bounded and no names of people or things that people have: values are given in the order in which
the attributes were declared, so one that was not declared can't slip in.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Literal, TypeAlias, TypeVar

from opentelemetry import trace

#: Most series of a metric; what is beyond shares one whose attributes are all :data:`OVERFLOW`. A bound that is
#: reached is a fault of ours, and must cost neither memory nor the monitoring.
MAX_SERIES: Final = 500
OVERFLOW: Final = "overflow"
#: Longest value of an attribute; the rest is cut off.
MAX_VALUE_CHARACTERS: Final = 128

#: Seconds, from what a decision takes to what an outage takes. One set for calls, so that their graphs compare.
CALL_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

#: Values of a metric's attributes, in the order of their declaration.
Attributes: TypeAlias = tuple[str, ...]
#: Answers what a gauge shows now.
Observation: TypeAlias = tuple[float, Attributes]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a metric is.

    Attributes:
        name: after OpenTelemetry's conventions, ``vitne.issue.duration``.
        kind: what is done with values.
        unit: UCUM: ``s``, or what is counted, ``{credential}``.
        meaning: one line, for people.
        attributes: names of its attributes.
        buckets: upper bounds of a histogram's buckets, each belonging to its bucket; rising.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A value that was recorded within a sampled span: the way from a graph to a trace."""

    value: float
    #: Nanoseconds since 1970.
    time: int
    trace_id: int
    span_id: int


@dataclass(frozen=True, slots=True)
class Point:
    """What a counter or a gauge shows for one set of attributes."""

    attributes: Attributes
    value: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram shows for one set of attributes.

    Attributes:
        attributes: their values.
        counts: values in each bucket, one more than there are bounds.
        sum: of all values.
        least: smallest value.
        most: largest value.
        exemplars: the newest of each bucket, by the bucket's place.
    """

    attributes: Attributes
    counts: tuple[int, ...]
    sum: float
    least: float
    most: float
    exemplars: dict[int, Exemplar]

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.counts)


class Counter:
    """A sum that only grows."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self._values: dict[Attributes, float] = {}
        self._lock = Lock()

    def add(self, count: float, *attributes: str) -> None:
        """Add to the sum of these attributes."""
        with self._lock:
            known = _known(self._values, self.declaration, attributes)
            self._values[known] = self._values.get(known, 0) + count

    def points(self) -> list[Point]:
        """The sums now."""
        with self._lock:
            return [Point(*item) for item in self._values.items()]


class Gauge:
    """A value as it is now: set when it changes, or asked for when it is read."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self._values: dict[Attributes, float] = {}
        self._callbacks: list[Callable[[], Iterable[Observation]]] = []
        self._lock = Lock()

    def set(self, value: float, *attributes: str) -> None:
        """Show a value for these attributes until another one is set."""
        with self._lock:
            self._values[_known(self._values, self.declaration, attributes)] = value

    def observe(self, callback: Callable[[], Iterable[Observation]]) -> None:
        """Ask ``callback`` whenever the gauge is read; of several values for the same attributes the largest counts."""
        self._callbacks.append(callback)

    def points(self) -> list[Point]:
        """The values now."""
        with self._lock:
            found = dict(self._values)
        for callback in self._callbacks:
            for value, attributes in callback():
                known = _known(found, self.declaration, attributes)
                found[known] = max(value, found.get(known, value))
        return [Point(*item) for item in found.items()]


@dataclass(slots=True)
class _Series:
    counts: list[int]
    sum: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")
    exemplars: dict[int, Exemplar] = field(default_factory=dict)


class Histogram:
    """How values are distributed over buckets, with exemplars from sampled traces."""

    def __init__(self, declaration: Declaration) -> None:
        if not declaration.buckets or list(declaration.buckets) != sorted(set(declaration.buckets)):
            raise ValueError(f"{declaration.name}: a histogram has rising bounds")
        self.declaration = declaration
        self._bounds = declaration.buckets
        self._series: dict[Attributes, _Series] = {}
        self._lock = Lock()

    def record(self, value: float, *attributes: str) -> None:
        """Take down a value; within a sampled span it becomes its bucket's exemplar."""
        place = bisect_left(self._bounds, value)
        span = trace.get_current_span().get_span_context()
        with self._lock:
            series = self._series.get(attributes)
            if series is None:
                known = _known(self._series, self.declaration, attributes)
                series = self._series.setdefault(known, _Series([0] * (len(self._bounds) + 1)))
            series.counts[place] += 1
            series.sum += value
            series.least = min(series.least, value)
            series.most = max(series.most, value)
            if span.trace_flags & 1:
                series.exemplars[place] = Exemplar(value, time.time_ns(), span.trace_id, span.span_id)

    def distributions(self) -> list[Distribution]:
        """The distributions now."""
        with self._lock:
            return [
                Distribution(known, tuple(one.counts), one.sum, one.least, one.most, dict(one.exemplars))
                for known, one in self._series.items()
            ]


Instrument: TypeAlias = Counter | Gauge | Histogram

_DECLARED: Final[dict[str, Instrument]] = {}
_I = TypeVar("_I", Counter, Gauge, Histogram)


def counter(name: str, unit: str, meaning: str, *attributes: str) -> Counter:
    """Declare a counter; ``attributes`` are their names."""
    return _declare(Counter(Declaration(name, "counter", unit, meaning, attributes)))


def gauge(name: str, unit: str, meaning: str, *attributes: str) -> Gauge:
    """Declare a gauge; ``attributes`` are their names."""
    return _declare(Gauge(Declaration(name, "gauge", unit, meaning, attributes)))


def histogram(name: str, unit: str, meaning: str, *attributes: str, buckets: tuple[float, ...]) -> Histogram:
    """Declare a histogram; ``attributes`` are their names, ``buckets`` the upper bounds in ``unit``."""
    return _declare(Histogram(Declaration(name, "histogram", unit, meaning, attributes, buckets)))


def declared() -> list[Instrument]:
    """Everything that the modules which are loaded declare, by name."""
    return [_DECLARED[name] for name in sorted(_DECLARED)]


def _declare(instrument: _I) -> _I:
    name = instrument.declaration.name
    if name in _DECLARED:
        raise ValueError(f"{name} is declared twice")
    _DECLARED[name] = instrument
    return instrument


def _known(series: Mapping[Attributes, Any], declaration: Declaration, attributes: Attributes) -> Attributes:
    """These attributes as a series has them; raises where they are not as many as were declared."""
    if attributes in series:
        return attributes
    if len(attributes) != len(declaration.attributes):
        raise ValueError(f"{declaration.name} has the attributes {declaration.attributes}")
    if len(series) >= MAX_SERIES:
        return (OVERFLOW,) * len(attributes)
    return tuple(value[:MAX_VALUE_CHARACTERS] for value in attributes)
