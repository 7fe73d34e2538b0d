"""What was measured as a page for Prometheus, beside what its client tells of the process.

Whoever asks for OpenMetrics, as Prometheus does, gets exemplars, too
(https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from vitne import metrics
from vitne.runtime.telemetry.redactor import redact

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

#: Units that OpenTelemetry's and Prometheus' names write differently; what is only counted is no unit of Prometheus'.
_UNITS: Final = {"s": "seconds"}


class MetricsPage:
    """The page of this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        for kind in (ProcessCollector, PlatformCollector, GCCollector):
            kind(registry=self._registry)
        self._registry.register(_Declared())

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type.

        Args:
            accept: what the reader takes, as the header says it.
        """
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Declared(Collector):
    """Everything that :mod:`vitne.metrics` has, as Prometheus' families."""

    def collect(self) -> Iterator[Family]:
        for instrument in metrics.declared():
            yield _family(instrument)


def prometheus_name(about: metrics.Declaration) -> str:
    """The name of a metric on the page, without what its kind appends (``_total``, ``_bucket``)."""
    unit = _UNITS.get(about.unit, "")
    return about.name.replace(".", "_") + (f"_{unit}" if unit else "")


def _family(instrument: metrics.Instrument) -> Family:
    about = instrument.declaration
    name, unit = prometheus_name(about), _UNITS.get(about.unit, "")
    labels = [attribute.replace(".", "_") for attribute in about.attributes]
    if isinstance(instrument, metrics.Histogram):
        family = HistogramMetricFamily(name, about.meaning, labels=labels, unit=unit)
        for one in instrument.distributions():
            family.add_metric(_values(one.attributes), _buckets(about, one), one.sum)
        return family
    kind = CounterMetricFamily if isinstance(instrument, metrics.Counter) else GaugeMetricFamily
    numbers: CounterMetricFamily | GaugeMetricFamily = kind(name, about.meaning, labels=labels, unit=unit)
    for point in instrument.points():
        numbers.add_metric(_values(point.attributes), point.value)
    return numbers


def _buckets(
    about: metrics.Declaration, one: metrics.Distribution
) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    bounds = [*map(floatToGoString, about.buckets), "+Inf"]
    return [
        (bound, total, _exemplar(one.exemplars[place])) if place in one.exemplars else (bound, total)
        for place, (bound, total) in enumerate(zip(bounds, accumulate(one.counts), strict=True))
    ]


def _exemplar(one: metrics.Exemplar) -> Exemplar:
    labels = {"trace_id": f"{one.trace_id:032x}", "span_id": f"{one.span_id:016x}"}
    return Exemplar(labels, one.value, one.time / 1e9)


def _values(attributes: metrics.Attributes) -> list[str]:
    return [redact(value) for value in attributes]
