"""Traces of a process, as its settings say."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.trace.export import SpanExporter

from vitne.runtime.settings import CommonSettings
from vitne.runtime.telemetry.spans import JsonLinesExporter, tracer_provider


def start_traces(service: str, settings: CommonSettings) -> Callable[[], None]:
    """Trace this process; what it answers flushes and ends that. Replicas differ by ``service.instance.id``.

    Raises:
        FailedPrecondition: the channel's TLS files can't be used.
    """
    exporters: list[SpanExporter] = []
    if settings.trace_file is not None:
        exporters.append(JsonLinesExporter(settings.trace_file))
    if settings.otlp_endpoint:
        from vitne.runtime.telemetry.otlp import OtlpSpans  # noqa: PLC0415 - only who needs it loads it

        exporters.append(OtlpSpans(settings.otlp_endpoint, settings.channel_tls))
    about = {SERVICE_NAME: service, SERVICE_NAMESPACE: "vitne", SERVICE_INSTANCE_ID: str(uuid4())}
    provider = tracer_provider(Resource.create(about), exporters, settings.trace_sampling_ratio)
    trace.set_tracer_provider(provider)
    return provider.shutdown
