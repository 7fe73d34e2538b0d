"""What a process tells of itself, as its settings say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.trace.export import SpanExporter

from vitne.clock import Clock
from vitne.runtime.settings import CommonSettings
from vitne.runtime.telemetry.spans import JsonLinesExporter, tracer_provider

if TYPE_CHECKING:
    from vitne.runtime.telemetry.otlp import OtlpMetrics

#: Seconds between two exports of metrics by OTLP.
EXPORT_SECONDS: Final = 15.0

_log = logging.getLogger(__name__)


@cache
def resource_of(service: str) -> Resource:
    """What spans and metrics of this process are about. Replicas differ by ``service.instance.id``."""
    return Resource.create({SERVICE_NAME: service, SERVICE_NAMESPACE: "vitne", SERVICE_INSTANCE_ID: str(uuid4())})


def start_traces(service: str, settings: CommonSettings) -> Callable[[], None]:
    """Trace this process; what it answers flushes and ends that.

    Raises:
        FailedPrecondition: the channel's TLS files can't be used.
    """
    exporters: list[SpanExporter] = []
    if settings.trace_file is not None:
        exporters.append(JsonLinesExporter(settings.trace_file))
    if settings.otlp_endpoint:
        from vitne.runtime.telemetry.otlp import OtlpSpans  # noqa: PLC0415 - only who needs it loads it

        exporters.append(OtlpSpans(settings.otlp_endpoint, settings.channel_tls))
    provider = tracer_provider(resource_of(service), exporters, settings.trace_sampling_ratio)
    trace.set_tracer_provider(provider)
    return provider.shutdown


class MetricsSender:
    """Sends what this process measures to a collector, again and again, and once more at the end.

    Args:
        otlp: how.
        clock: dates what is sent, and paces it.
    """

    def __init__(self, otlp: OtlpMetrics, clock: Clock) -> None:
        self._otlp = otlp
        self._clock = clock

    @classmethod
    def of(cls, service: str, settings: CommonSettings, clock: Clock) -> MetricsSender | None:
        """As the settings say; None where nothing is to be sent.

        Raises:
            FailedPrecondition: the channel's TLS files can't be used.
        """
        if not (settings.metrics and settings.otlp_endpoint):
            return None
        from vitne.runtime.telemetry.otlp import OtlpMetrics  # noqa: PLC0415 - only who needs it loads it

        began = _nanoseconds(clock.now())
        return cls(OtlpMetrics(settings.otlp_endpoint, settings.channel_tls, resource_of(service), began), clock)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._clock.sleep(EXPORT_SECONDS)
            await self._send()

    async def close(self) -> None:
        """Send the last of it."""
        await self._send()
        await asyncio.to_thread(self._otlp.close)

    async def _send(self) -> None:
        try:
            data = self._otlp.take(_nanoseconds(self._clock.now()))  # here: gauges look at what belongs to this thread
            taken = await asyncio.to_thread(self._otlp.send, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a service that does its work
            _log.warning("metrics can't be sent: %s", type(error).__name__)
        else:
            if not taken:
                _log.warning("the collector did not take the metrics")


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000) * 1_000_000
