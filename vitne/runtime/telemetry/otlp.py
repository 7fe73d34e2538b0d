"""Spans and metrics by OTLP over gRPC (https://opentelemetry.io/docs/specs/otlp/), with exemplars.

Loaded only where an endpoint is set: others need not carry the exporters in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from vitne import metrics
from vitne.runtime.telemetry.redactor import redact
from vitne.runtime.tls import TlsFiles, TlsWatch, channel_credentials

#: Seconds that one export may take, with all its tries.
TIMEOUT_SECONDS: Final = 5

_E = TypeVar("_E", bound=OTLPSpanExporter | OTLPMetricExporter)
_SCOPE: Final = InstrumentationScope("vitne")


class _Renewed(Generic[_E]):
    """An exporter that is made anew when certificate or authority are replaced: a channel takes them once for all."""

    def __init__(self, kind: Callable[..., _E], endpoint: str, tls: TlsFiles | None) -> None:
        self._kind = kind
        self._endpoint = endpoint
        self._watch = TlsWatch(tls or TlsFiles()) if urlsplit(endpoint).scheme == "https" else None
        self._material = self._watch.current() if self._watch else None
        self._exporter = self._make()

    def current(self) -> _E:
        """The exporter to use now."""
        if self._watch is not None and self._watch.current() is not self._material:
            self._material = self._watch.current()
            retired, self._exporter = self._exporter, self._make()
            retired.shutdown()
        return self._exporter

    def _make(self) -> _E:
        address = urlsplit(self._endpoint).netloc
        if self._material is None:
            return self._kind(endpoint=address, insecure=True, timeout=TIMEOUT_SECONDS)
        credentials = channel_credentials(self._material)
        return self._kind(endpoint=address, insecure=False, credentials=credentials, timeout=TIMEOUT_SECONDS)


class OtlpSpans(SpanExporter):
    """Sends spans to a collector.

    Args:
        endpoint: ``https://host:port``, or ``http://…`` for plain text.
        tls: whom to trust, and the certificate to show; None trusts what the machine trusts.
    """

    def __init__(self, endpoint: str, tls: TlsFiles | None) -> None:
        self._renewed = _Renewed(OTLPSpanExporter, endpoint, tls)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; a collector that stays away loses it, never a call."""
        return self._renewed.current().export(spans)

    def shutdown(self) -> None:
        """Close the connection."""
        self._renewed.current().shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is held back."""
        return True


class OtlpMetrics:
    """Sends what was measured to a collector.

    Args:
        endpoint: as of :class:`OtlpSpans`.
        tls: as of :class:`OtlpSpans`.
        resource: whose metrics they are.
        began: nanoseconds since 1970 from when on the sums count.
    """

    def __init__(self, endpoint: str, tls: TlsFiles | None, resource: Resource, began: int) -> None:
        self._renewed = _Renewed(OTLPMetricExporter, endpoint, tls)
        self._resource = resource
        self._began = began

    def take(self, now: int) -> sdk.MetricsData:
        """Everything that was measured until ``now``, nanoseconds since 1970."""
        found = [_metric(instrument, self._began, now) for instrument in metrics.declared()]
        scope = sdk.ScopeMetrics(_SCOPE, [metric for metric in found if metric.data.data_points], "")
        return sdk.MetricsData([sdk.ResourceMetrics(self._resource, [scope], "")])

    def send(self, data: sdk.MetricsData) -> bool:
        """Send what was taken; blocks, at most for :data:`TIMEOUT_SECONDS`. False: the collector did not take it."""
        return self._renewed.current().export(data) is sdk.MetricExportResult.SUCCESS

    def close(self) -> None:
        """Close the connection."""
        self._renewed.current().shutdown()


def _metric(instrument: metrics.Instrument, began: int, now: int) -> sdk.Metric:
    about = instrument.declaration
    data: sdk.Sum | sdk.Gauge | sdk.Histogram
    if isinstance(instrument, metrics.Histogram):
        points = [_distribution(about, one, began, now) for one in instrument.distributions()]
        data = sdk.Histogram(points, sdk.AggregationTemporality.CUMULATIVE)
    else:
        numbers = [
            sdk.NumberDataPoint(_attributes(about, one.attributes), began, now, one.value)
            for one in instrument.points()
        ]
        if isinstance(instrument, metrics.Counter):
            data = sdk.Sum(numbers, sdk.AggregationTemporality.CUMULATIVE, is_monotonic=True)
        else:
            data = sdk.Gauge(numbers)
    return sdk.Metric(about.name, about.meaning, about.unit, data)


def _distribution(
    about: metrics.Declaration, one: metrics.Distribution, began: int, now: int
) -> sdk.HistogramDataPoint:
    exemplars = [SdkExemplar({}, each.value, each.time, each.span_id, each.trace_id) for each in one.exemplars.values()]
    return sdk.HistogramDataPoint(
        _attributes(about, one.attributes),
        began,
        now,
        one.count,
        one.sum,
        one.counts,
        about.buckets,
        one.least,
        one.most,
        exemplars,
    )


def _attributes(about: metrics.Declaration, values: metrics.Attributes) -> dict[str, Any]:
    return dict(zip(about.attributes, map(redact, values), strict=True))
