"""A process that is told of a collector: its spans arrive there, and its page's exemplars lead to them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.unit.runtime_probe import Part, call
from vitne.clock import SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.runtime.channel import open_channel
from vitne.runtime.telemetry import WITHHELD, context_from_traceparent

ROOT: Final = Path(__file__).resolve().parents[2]
#: Seconds for a process to start or end, on a machine that has other things to do.
PATIENCE: Final = 90
METHOD: Final = "vitne.probe.v1.ProbeService/Open"
#: What looks like a national identity number.
NUMBER: Final = "41819012345"

_PROGRAM: Final = """
from opentelemetry import trace
from tests.unit.runtime_probe import SERVICE, Servicer, add_probe
from vitne.clock import SystemClock
from vitne.runtime.application import Application
from vitne.runtime.main import cli
from vitne.runtime.settings import CommonSettings
from vitne.runtime.telemetry import step

async def careless(request, _context):
    # What nobody should do: a person's number as an attribute, in an event and in an exception's text.
    with step("careless", {"learner": "NUMBER"}) as span:
        span.add_event("seen NUMBER", {"learner": "NUMBER"})
        span.record_exception(ValueError("no learner NUMBER"))
    return request

async def serve(settings):
    application = Application("probe", settings, SystemClock())
    servicer = Servicer(Open=careless)
    application.add_servicer(add_probe, servicer, SERVICE, checks_own_streams=["Up", "Both"])
    async def announce():
        print(application.grpc_address, application.http_address, application.metrics_address, flush=True)
    application.add_task("announce", announce)
    await application.run()

raise SystemExit(cli("probe", "Probes.", serve=serve, migrations=[], settings=CommonSettings))
""".replace("NUMBER", NUMBER)


@dataclass
class Collector:
    """Takes what comes."""

    traces: list[Any] = field(default_factory=list)

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        self._collector.traces.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[tuple[Collector, int]]:
    """A collector on loopback, and its port."""
    collector, server = Collector(), grpc.aio.server()
    add_traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add_traces(_Traces(collector), server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield collector, port
    finally:
        await server.stop(None)


@asynccontextmanager
async def process(**settings: str) -> AsyncIterator[list[str]]:
    """The program, told to end and ended at the end; where it serves gRPC, HTTP and metrics."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VITNE_", "OTEL_"))}
    environment |= {"VITNE_ENVIRONMENT": "development", "PYTHONPATH": str(ROOT)}
    environment["VITNE_METRICS_LISTEN"] = "127.0.0.1:0"
    environment |= {f"VITNE_{name.upper()}": value for name, value in settings.items()}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, "serve", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            yield (await running.stdout.readline()).decode().split()
            running.send_signal(signal.SIGTERM)
            assert await running.wait() == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def ask(address: str, sampled: bool) -> int:
    """Call the probe as somebody whose trace is sampled, or not; the trace's id."""
    trace_id = os.urandom(16).hex()
    context = context_from_traceparent(f"00-{trace_id}-{os.urandom(8).hex()}-0{int(sampled)}")
    async with open_channel(address, None) as channel:
        with trace.use_span(trace.get_current_span(context)):
            await call(channel, "Open")(Part(name="a"))
    return int(trace_id, 16)


def attributes(entries: Any) -> dict[str, str]:
    return {entry.key: entry.value.string_value for entry in entries}


async def durations(page: str) -> list[Any]:
    """What the page tells of the probe's calls: samples of the histogram, for a reader of OpenMetrics."""
    parse: Any = text_string_to_metric_families
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with aiohttp.ClientSession() as session, session.get(f"http://{page}/metrics", headers=accept) as response:
        families = {family.name: family for family in parse(await response.text())}
    found = families["rpc_server_call_duration_seconds"].samples
    assert {(sample.labels["rpc_method"], sample.labels["rpc_response_status_code"]) for sample in found} == {
        (METHOD, "OK")
    }
    return list(found)


def exemplars(found: list[Any]) -> list[dict[str, str]]:
    return [sample.exemplar.labels for sample in found if sample.exemplar]


async def test_the_exemplar_of_a_duration_is_the_sampled_call() -> None:
    async with collecting() as (collector, port):
        async with process(otlp_endpoint=f"http://127.0.0.1:{port}") as (address, _, page):
            unsampled = [await ask(address, sampled=False) for _ in range(3)]
            sampled = await ask(address, sampled=True)
            found = await durations(page)
        assert [sample.value for sample in found if sample.name.endswith("_count")] == [4]
        (exemplar,) = exemplars(found)
        (span,) = [span for span in collector.spans if span.name == METHOD]
        assert exemplar == {"trace_id": f"{sampled:032x}", "span_id": span.span_id.hex()}
        assert int.from_bytes(span.trace_id) == sampled
        assert not {int.from_bytes(span.trace_id) for span in collector.spans} & set(unsampled)
        about = attributes(collector.traces[0].resource_spans[0].resource.attributes)
        assert (about["service.name"], about["service.namespace"]) == ("probe", "vitne")


async def test_what_a_careless_span_says_of_a_person_is_withheld() -> None:
    async with collecting() as (collector, port):
        async with process(otlp_endpoint=f"http://127.0.0.1:{port}") as (address, _, _):
            await ask(address, sampled=True)
        assert all(NUMBER.encode() not in request.SerializeToString() for request in collector.traces)
        (span,) = [span for span in collector.spans if span.name == "careless"]
        assert attributes(span.attributes) == {"learner": WITHHELD}
        seen, failed = span.events
        assert (seen.name, attributes(seen.attributes)) == (f"seen {WITHHELD}", {"learner": WITHHELD})
        told: list[common_pb2.KeyValue] = list(failed.attributes)
        assert attributes(told)["exception.message"] == f"no learner {WITHHELD}"


async def test_the_collector_is_reached_over_tls_with_the_channels_certificate(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path, SystemClock())
    collector_pem, own = authority.issue("collector", server=True), authority.issue("probe")
    trusted = authority.certificate_path
    credentials = grpc.ssl_server_credentials(
        [(collector_pem.read_bytes(), collector_pem.read_bytes())], trusted.read_bytes(), require_client_auth=True
    )
    files = {
        "channel_authority_file": str(trusted),
        "channel_certificate_file": str(own),
        "channel_key_file": str(own),
    }
    async with collecting(credentials) as (collector, port):
        async with process(otlp_endpoint=f"https://localhost:{port}", **files) as (address, _, _):
            sampled = await ask(address, sampled=True)
        assert sampled in {int.from_bytes(span.trace_id) for span in collector.spans}


async def test_a_ratio_of_nothing_records_nothing_whatever_callers_say() -> None:
    async with collecting() as (collector, port):
        settings = {"otlp_endpoint": f"http://127.0.0.1:{port}", "trace_sampling_ratio": "0"}
        async with process(**settings) as (address, _, page):
            await ask(address, sampled=True)
            assert exemplars(await durations(page)) == []
        assert collector.spans == []


async def test_a_collector_that_is_away_costs_no_call() -> None:
    async with process(otlp_endpoint="http://127.0.0.1:9") as (address, _, page):
        await ask(address, sampled=True)
        assert await durations(page)


def test_the_exporter_is_loaded_only_where_it_is_used() -> None:
    program = "import sys, services.issuer.wiring; print('opentelemetry.exporter' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
