"""Counters, gauges and histograms: what we add to Prometheus' client, what bounds them, how the page names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from tests.unit.declared_metrics import DECLARED, MODULES, samples
from vitne import metrics
from vitne.metrics import MAX_SERIES, OVERFLOW, Counter, Declaration, Gauge, Histogram
from vitne.runtime.telemetry import WITHHELD, context_from_traceparent

ROOT = Path(__file__).resolve().parents[2]
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SUFFIX = {"counter": "_total", "gauge": "", "histogram": ""}
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Process:
    """What one process declares."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def histogram(self, *attributes: str) -> Histogram:
        buckets = (0.1, 1.0, 10.0)
        return metrics.histogram(
            "test.duration", "s", "for tests", *attributes, buckets=buckets, registry=self.registry
        )

    def counter(self, *attributes: str) -> Counter:
        return metrics.counter("test.things", "{thing}", "for tests", *attributes, registry=self.registry)

    def gauge(self, *attributes: str) -> Gauge:
        return metrics.gauge("test.age", "s", "for tests", *attributes, registry=self.registry)

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        return samples(name, self.registry)

    def page(self, accept: str) -> str:
        encode, _ = choose_encoder(accept)
        return encode(self.registry).decode()


@pytest.fixture
def process() -> Process:
    return Process()


def in_span(traceparent: str) -> Any:
    return trace.use_span(trace.get_current_span(context_from_traceparent(traceparent)))


def test_only_a_sampled_span_leaves_an_exemplar(process: Process) -> None:
    measured = process.histogram()

    def exemplars() -> dict[str, Any]:
        parse: Any = open_metrics
        (family,) = parse(process.page(OPEN_METRICS))
        return {sample.labels["le"]: sample.exemplar for sample in family.samples if sample.exemplar}

    measured.record(0.5)
    with in_span(SAMPLED[:-1] + "0"):
        measured.record(0.5)
    assert exemplars() == {}
    with in_span(SAMPLED):
        for value in (0.05, 5.0, 6.0):
            measured.record(value)
    found = exemplars()
    assert {bound: one.value for bound, one in found.items()} == {"0.1": 0.05, "10.0": 6.0}
    ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
    assert all(one.labels == ids for one in found.values())


def test_attributes_are_those_that_were_declared(process: Process) -> None:
    measured, counted = process.histogram("outcome"), process.counter()
    with pytest.raises(ValueError, match="attributes"):
        measured.record(1.0)
    with pytest.raises(ValueError, match="attributes"):
        counted.add(1, "undeclared")


def test_a_metric_does_not_grow_without_end(process: Process) -> None:
    measured, counted = process.histogram("path"), process.counter("path")
    for number in range(MAX_SERIES + 100):
        measured.record(1.0, str(number))
        counted.add(1, str(number))
    durations, sums = process.samples("test_duration_seconds_count"), process.samples("test_things_total")
    assert len(durations) == len(sums) == MAX_SERIES + 1
    assert durations[(OVERFLOW,)] == sums[(OVERFLOW,)] == 100


def test_a_long_value_is_cut_and_one_that_looks_like_a_persons_is_withheld(process: Process) -> None:
    counted = process.counter("text")
    counted.add(1, "x" * 10_000)
    counted.add(1, "learner 41819012345")
    (long,), (redacted,) = process.samples("test_things_total")
    assert len(long) < 200
    assert redacted == f"learner {WITHHELD}"


def test_a_gauge_is_missing_until_it_is_told(process: Process) -> None:
    gauge = process.gauge()
    assert process.samples("test_age_seconds") == {}
    gauge.set(0.0)
    assert process.samples("test_age_seconds") == {(): 0.0}


def test_a_gauge_asks_when_it_is_read_and_takes_the_largest(process: Process) -> None:
    gauge = process.gauge("topic")
    told: list[metrics.Observation] = [(5.0, ("b",)), (3.0, ("b",)), (1.0, ("a",))]

    def ages() -> Iterator[metrics.Observation]:
        yield from told

    gauge.observe(ages)
    assert process.samples("test_age_seconds") == {("a",): 1.0, ("b",): 5.0}
    del told[:2]
    assert process.samples("test_age_seconds") == {("a",): 1.0}


def test_names_are_declared_once_and_bounds_rise(process: Process) -> None:
    for declare in (process.counter, process.gauge, process.histogram):
        declare()
        with pytest.raises(ValueError, match="Duplicated"):
            declare()
    with pytest.raises(ValueError, match="sorted"):
        metrics.histogram("test.other", "s", "for tests", buckets=(1.0, 0.5), registry=process.registry)


def test_the_page_says_seconds_and_totals_in_both_forms(process: Process) -> None:
    measured, counted = process.histogram("rpc.method"), process.counter("outcome")
    measured.record(0.5, "A/B")
    counted.add(3, "issued")
    forms: list[tuple[str, Any]] = [("text/plain;version=0.0.4", plain_text), (OPEN_METRICS, open_metrics)]
    for accept, parse in forms:
        families = {family.name: family for family in parse(process.page(accept))}
        found = families["test_duration_seconds"].samples
        assert {(sample.name, sample.labels.get("le")): sample.value for sample in found} == {
            ("test_duration_seconds_bucket", "0.1"): 0,
            ("test_duration_seconds_bucket", "1.0"): 1,
            ("test_duration_seconds_bucket", "10.0"): 1,
            ("test_duration_seconds_bucket", "+Inf"): 1,
            ("test_duration_seconds_count", None): 1,
            ("test_duration_seconds_sum", None): 0.5,
        }
        assert {sample.labels["rpc_method"] for sample in found} == {"A/B"}
        (total,) = families["test_things"].samples
        assert (total.name, total.labels, total.value) == ("test_things_total", {"outcome": "issued"}, 3)


# --- docs/operating/metrics.md --------------------------------------------------------------------------


def test_the_documentation_lists_exactly_what_is_declared() -> None:
    page = (ROOT / "docs" / "operating" / "metrics.md").read_text()
    listed = {}
    for row in re.findall(r"^\| `([a-z.]+\.[a-z_.]+)` \|(.*)\|$", page, re.MULTILINE):
        name, cells = row[0], [cell.strip() for cell in row[1].split(" | ")]
        assert name not in listed
        listed[name] = (cells[0].strip("`"), cells[1], cells[2], tuple(re.findall(r"`([^`]+)`", cells[3])), cells[4])
    assert listed == {
        name: (about.prometheus_name + SUFFIX[about.kind], about.kind, about.unit, about.attributes, about.meaning)
        for name, about in DECLARED.items()
    }
    assert len(MODULES) == 8


@pytest.mark.parametrize("about", DECLARED.values(), ids=DECLARED)
def test_names_and_units_follow_the_conventions(about: Declaration) -> None:
    assert re.fullmatch(r"(vitne|rpc|http)(\.[a-z_]+)+", about.name)
    assert about.unit == "s" or re.fullmatch(r"\{[a-z]+\}", about.unit)
    assert about.kind != "histogram" or about.unit == "s"
    assert not any(re.search(r"(^|\.|_)id$|learner|subject|handle|pseudonym", name) for name in about.attributes)
