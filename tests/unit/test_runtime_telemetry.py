"""Traces and logs: what is written, and what is withheld."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, format_span_id

from vitne.runtime.telemetry import (
    WITHHELD,
    JsonFormatter,
    JsonLinesExporter,
    Redactor,
    context_from_traceparent,
    current_traceparent,
    joined,
    redact,
    sampled_traceparent,
    step,
    traces,
    without_steps,
)
from vitne.runtime.telemetry.spans import RedactingExporter, tracer_provider

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V4YW1wbGUifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learner 01819012345 was found", f"learner {WITHHELD} was found"),
        ("010190 12345", WITHHELD),
        ("010190-12345", WITHHELD),
        ("fnr01819012345x", f"fnr{WITHHELD}x"),
        (f"token {JWT}", f"token {WITHHELD}"),
        (f"presented {JWT}~WyJzYWx0Il0~", f"presented {WITHHELD}"),
        ("disclosure WyJzYWx0IiwiZ2l2ZW5fbmFtZSIsIkthcmkiXQ", f"disclosure {WITHHELD}"),
        ("authorization: Bearer abc.def-ghi", f"authorization: Bearer {WITHHELD}"),
        ("failed\nDETAIL:  Key (family_name)=(Nordmann) exists.", f"failed\nDETAIL: {WITHHELD}"),
        ("organisation 0192:971035854", "organisation 0192:971035854"),
        ("index 131072, 12 digits 123456789012", "index 131072, 12 digits 123456789012"),
        ("id 01930f6e-7a00-7000-8000-12345678901a", "id 01930f6e-7a00-7000-8000-12345678901a"),
        (f"trace {'12345678901' + 'a' * 21}", f"trace {'12345678901' + 'a' * 21}"),
    ],
)
def test_what_identifies_a_person_or_opens_a_door_is_withheld(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(st.uuids())
def test_ids_are_kept(value: UUID) -> None:
    assert redact(f"credential {value} at {value.hex}") == f"credential {value} at {value.hex}"


@given(st.from_regex(r"[0-9]{11}", fullmatch=True), st.text(st.characters(exclude_categories=["Nd"])))
def test_a_national_number_never_passes(number: str, around: str) -> None:
    assert number not in redact(f"{around}{number}{around}")


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Redactor())
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("test.runtime.telemetry")
    logger.propagate, logger.level = False, logging.INFO
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


def test_a_record_is_one_line_of_json_with_its_extras(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.info("issued %d", 3, extra={"credential": "c1", "level": "not overwritten", "index": 131072})
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "info",
        "logger": "test.runtime.telemetry",
        "message": "issued 3",
        "credential": "c1",
        "index": 131072,
    }


def test_nothing_sensitive_leaves_by_arguments_extras_or_exceptions(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    number = "41819012345"
    nested: dict[str, Any] = {"a": [number, {"b": (number, int(number))}], number: number}
    try:
        raise ValueError(f"bad learner {number}")
    except ValueError:
        logger.exception("refused %s", number, extra={"nested": nested, "plain": int(number), "token": JWT})
    text = stream.getvalue()
    assert number not in text
    assert JWT not in text
    assert "ValueError: bad learner <withheld>" in json.loads(text)["exception"]


def test_the_trace_id_is_in_the_record(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    with trace.use_span(trace.get_current_span(context_from_traceparent(TRACEPARENT))):
        logger.info("x")
        assert current_traceparent() == TRACEPARENT
    assert json.loads(stream.getvalue())["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("text", [None, "", "nonsense", f"00-{'0' * 32}-{'0' * 16}-01", "ff" + TRACEPARENT[2:]])
def test_a_malformed_traceparent_starts_a_trace_of_its_own(text: str | None) -> None:
    context = context_from_traceparent(text)
    assert not trace.get_current_span(context).get_span_context().is_valid


def test_no_traceparent_outside_a_span() -> None:
    assert current_traceparent() == ""


def test_spans_are_lines_of_json(tmp_path: Path) -> None:
    file = tmp_path / "traces" / "spans.jsonl"
    provider = TracerProvider(resource=Resource.create({"service.name": "issuer"}))
    provider.add_span_processor(SimpleSpanProcessor(JsonLinesExporter(file)))
    tracer = provider.get_tracer("test")
    with (
        tracer.start_as_current_span("outer", context=context_from_traceparent(TRACEPARENT)),
        tracer.start_span("inner"),
    ):
        pass
    provider.shutdown()
    inner, outer = (json.loads(line) for line in file.read_text().splitlines())
    assert {span["trace_id"] for span in (inner, outer)} == {"0af7651916cd43dd8448eb211c80319c"}
    assert (outer["name"], outer["service"], outer["parent_id"]) == ("outer", "issuer", "b7ad6b7169203331")
    assert inner["parent_id"] == outer["span_id"]
    assert file.stat().st_mode & 0o077 == 0


# --- sampling and redaction of spans -----------------------------------------------------------------------


def recorded(ratio: float, traceparent: str | None) -> bool:
    provider = tracer_provider(Resource.create({}), [InMemorySpanExporter()], ratio)
    with provider.get_tracer("test").start_as_current_span("x", context=context_from_traceparent(traceparent)) as span:
        told = span.is_recording()
        assert bool(int(current_traceparent()[-1], 16) & 1) == told
    provider.shutdown()
    return told


def test_a_parent_and_our_own_ratio_decide() -> None:
    low, high = ("00-0af7651916cd43dd" + half * 8 + "-b7ad6b7169203331-0" for half in ("00", "ff"))
    assert [recorded(0.5, parent + "1") for parent in (low, high)] == [True, False]  # a caller can't make us spend more
    assert [recorded(1.0, parent + "0") for parent in (low, high)] == [False, False]
    assert [recorded(1.0, parent) for parent in (low + "1", high + "1", None)] == [True, True, True]
    assert not recorded(0.0, None)


def test_without_an_exporter_nothing_is_recorded_but_traces_go_on() -> None:
    tracer = tracer_provider(Resource.create({}), [], 1.0).get_tracer("test")
    with tracer.start_as_current_span("x", context=context_from_traceparent(TRACEPARENT)) as span:
        assert not span.is_recording()
        assert current_traceparent().split("-")[1] == TRACEPARENT.split("-")[1]


def test_spans_pass_the_redactor_with_events_exceptions_and_status() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(RedactingExporter(exporter)))
    number = "41819012345"
    tracer = provider.get_tracer("test")

    def fail() -> None:
        with tracer.start_as_current_span(f"learner {number}", attributes={"a": [number], "n": 3}) as span:
            span.add_event(f"saw {number}", {"number": int(number)})
            raise ValueError(f"no {number}")

    with pytest.raises(ValueError, match=number):
        fail()
    (told,) = exporter.get_finished_spans()
    assert number not in told.to_json()
    assert told.attributes == {"a": [WITHHELD], "n": 3}
    assert [event.name for event in told.events] == [f"saw {WITHHELD}", "exception"]
    assert told.status.description == f"ValueError: no {WITHHELD}"


# --- steps, and work for several callers ---------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(traces, "_TRACER", provider.get_tracer("test"))
    return exporter


def test_a_step_is_a_span_only_within_one_that_is_recorded(spans: InMemorySpanExporter) -> None:
    with step("outside"):
        pass
    with trace.use_span(trace.get_current_span(context_from_traceparent(TRACEPARENT))), step("of a caller elsewhere"):
        pass
    assert spans.get_finished_spans() == ()
    with traces._TRACER.start_as_current_span("call"):
        with pytest.raises(KeyError), step("inside", {"number": 3}):
            raise KeyError("secret")
        without_steps().run(lambda: step("an item").__enter__())
    inside, call = spans.get_finished_spans()
    assert inside.parent == call.context
    assert dict(inside.attributes or {}) == {"number": 3, "error.type": "KeyError"}
    assert "secret" not in inside.to_json()


def test_work_for_several_is_within_the_first_sampled_and_linked_to_the_others(spans: InMemorySpanExporter) -> None:
    causes = [f"00-{digit * 32}-{digit * 16}-0{flag}" for digit, flag in (("a", 0), ("b", 1), ("c", 1), ("b", 1))]
    with joined("work", [None, *causes]):
        assert sampled_traceparent() is not None
    (work,) = spans.get_finished_spans()
    assert isinstance(work.parent, SpanContext)
    assert format_span_id(work.parent.span_id) == "b" * 16
    assert [format_span_id(link.context.span_id) for link in work.links] == ["c" * 16]
    with joined("work", causes[:1]):
        assert sampled_traceparent() is None
    assert len(spans.get_finished_spans()) == 1
