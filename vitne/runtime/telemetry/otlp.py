"""Spans by OTLP over gRPC (https://opentelemetry.io/docs/specs/otlp/).

Loaded only where an endpoint is set: others need not carry the exporter in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from vitne.runtime.tls import TlsFiles, TlsWatch, channel_credentials

#: Seconds that one export may take, with all its tries.
TIMEOUT_SECONDS: Final = 5


class OtlpSpans(SpanExporter):
    """Sends spans to a collector.

    The exporter is made anew when certificate or authority are replaced: a channel takes them once for all.

    Args:
        endpoint: ``https://host:port``, or ``http://…`` for plain text.
        tls: whom to trust, and the certificate to show; None trusts what the machine trusts.

    Raises:
        FailedPrecondition: the TLS files can't be used.
    """

    def __init__(self, endpoint: str, tls: TlsFiles | None) -> None:
        self._endpoint = endpoint
        self._watch = TlsWatch(tls or TlsFiles()) if urlsplit(endpoint).scheme == "https" else None
        self._material = self._watch.current() if self._watch else None
        self._exporter = self._make()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; a collector that stays away loses it, never a call."""
        if self._watch is not None and self._watch.current() is not self._material:
            self._material = self._watch.current()
            retired, self._exporter = self._exporter, self._make()
            retired.shutdown()
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is held back."""
        return True

    def _make(self) -> OTLPSpanExporter:
        address = urlsplit(self._endpoint).netloc
        if self._material is None:
            return OTLPSpanExporter(endpoint=address, insecure=True, timeout=TIMEOUT_SECONDS)
        credentials = channel_credentials(self._material)
        return OTLPSpanExporter(endpoint=address, insecure=False, credentials=credentials, timeout=TIMEOUT_SECONDS)
