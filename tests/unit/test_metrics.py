"""Counters, gauges and histograms: what they hold, what bounds them, and how they look on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from tests.unit.declared_metrics import DECLARED, MODULES
from vitne import metrics
from vitne.metrics import MAX_SERIES, OVERFLOW, Counter, Declaration, Gauge, Histogram, Point
from vitne.runtime.telemetry import WITHHELD, context_from_traceparent
from vitne.runtime.telemetry.page import MetricsPage, prometheus_name

ROOT = Path(__file__).resolve().parents[2]
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SUFFIX = {"counter": "_total", "gauge": "", "histogram": ""}
BOUNDS = (0.1, 1.0, 10.0)


def histogram(*attributes: str) -> Histogram:
    return Histogram(Declaration("test.duration", "histogram", "s", "for tests", attributes, BOUNDS))


def counter(*attributes: str) -> Counter:
    return Counter(Declaration("test.things", "counter", "{thing}", "for tests", attributes))


@given(st.lists(st.floats(0, 20), min_size=1))
def test_a_value_belongs_to_the_first_bucket_whose_bound_is_not_below_it(values: list[float]) -> None:
    measured = histogram()
    for value in values:
        measured.record(value)
    (found,) = measured.distributions()
    bounds = (*BOUNDS, float("inf"))
    below = [sum(value <= bound for value in values) for bound in bounds]
    assert [sum(found.counts[: place + 1]) for place in range(len(bounds))] == below
    assert (found.count, found.least, found.most) == (len(values), min(values), max(values))
    assert found.sum == pytest.approx(sum(values))


def test_only_a_sampled_span_leaves_an_exemplar() -> None:
    measured = histogram()
    measured.record(0.5)
    with trace.use_span(trace.get_current_span(context_from_traceparent(SAMPLED[:-1] + "0"))):
        measured.record(0.5)
    assert measured.distributions()[0].exemplars == {}
    with trace.use_span(trace.get_current_span(context_from_traceparent(SAMPLED))):
        measured.record(0.05)
        measured.record(5.0)
        measured.record(6.0)
    exemplars = measured.distributions()[0].exemplars
    assert {place: one.value for place, one in exemplars.items()} == {0: 0.05, 2: 6.0}
    assert {(f"{one.trace_id:032x}", f"{one.span_id:016x}") for one in exemplars.values()} == {
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    }


def test_attributes_are_those_that_were_declared() -> None:
    with pytest.raises(ValueError, match="attributes"):
        histogram("outcome").record(1.0)
    with pytest.raises(ValueError, match="attributes"):
        counter().add(1, "undeclared")


def test_a_metric_does_not_grow_without_end() -> None:
    measured, counted = histogram("path"), counter("path")
    for number in range(MAX_SERIES + 100):
        measured.record(1.0, str(number))
        counted.add(1, str(number))
    assert len(measured.distributions()) == len(counted.points()) == MAX_SERIES + 1
    assert measured.distributions()[-1].attributes == (OVERFLOW,)
    assert counted.points()[-1] == Point((OVERFLOW,), 100)
    long = counter("text")
    long.add(1, "x" * 10_000)
    assert len(long.points()[0].attributes[0]) < 200


def test_a_gauge_asks_when_it_is_read_and_takes_the_largest() -> None:
    gauge = Gauge(Declaration("test.age", "gauge", "s", "for tests", ("topic",)))
    gauge.set(1.0, "a")

    def ages() -> Iterator[metrics.Observation]:
        yield 5.0, ("b",)
        yield 3.0, ("b",)

    gauge.observe(ages)
    assert {point.attributes: point.value for point in gauge.points()} == {("a",): 1.0, ("b",): 5.0}


def test_names_are_declared_once_and_bounds_rise() -> None:
    with pytest.raises(ValueError, match="twice"):
        metrics.counter("vitne.outbox.published", "{event}", "again")
    with pytest.raises(ValueError, match="rising"):
        Histogram(Declaration("test.duration", "histogram", "s", "for tests", (), (1.0, 0.5)))


# --- the page -----------------------------------------------------------------------------------------


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> tuple[Histogram, Counter]:
    """The page of a process that declares these."""
    found = histogram("rpc.method"), counter("outcome")
    monkeypatch.setattr(metrics, "declared", lambda: list(found))
    return found


def test_the_page_says_seconds_and_totals_in_both_forms(declared: tuple[Histogram, Counter]) -> None:
    measured, counted = declared
    with trace.use_span(trace.get_current_span(context_from_traceparent(SAMPLED))):
        measured.record(0.5, "A/B")
    counted.add(3, "issued")
    forms: list[tuple[str, Any]] = [
        ("text/plain;version=0.0.4", plain_text),
        ("application/openmetrics-text; version=1.0.0", open_metrics),
    ]
    for accept, parse in forms:
        body, media_type = MetricsPage().render(accept)
        assert media_type.split(";")[0] == accept.split(";")[0]
        families = {family.name: family for family in parse(body.decode())}
        samples = {
            (sample.name, sample.labels.get("le", "")): sample for sample in families["test_duration_seconds"].samples
        }
        assert samples["test_duration_seconds_count", ""].labels == {"rpc_method": "A/B"}
        buckets = [samples["test_duration_seconds_bucket", le].value for le in ("0.1", "1.0", "10.0", "+Inf")]
        assert buckets == [0, 1, 1, 1]
        (total,) = families["test_things"].samples
        assert (total.name, total.labels, total.value) == ("test_things_total", {"outcome": "issued"}, 3)
        exemplar = samples["test_duration_seconds_bucket", "1.0"].exemplar
        assert (exemplar is not None) == (parse is open_metrics)
        if exemplar is not None:
            assert exemplar.labels["trace_id"] == SAMPLED.split("-")[1]
        assert "process_cpu_seconds" in families


def test_the_page_has_passed_the_redactor(declared: tuple[Histogram, Counter]) -> None:
    declared[1].add(1, "learner 41819012345")
    body, _ = MetricsPage().render("")
    assert b"41819012345" not in body
    assert WITHHELD.encode() in body


# --- docs/operating/metrics.md --------------------------------------------------------------------------


def test_the_documentation_lists_exactly_what_is_declared() -> None:
    page = (ROOT / "docs" / "operating" / "metrics.md").read_text()
    listed = {}
    for row in re.findall(r"^\| `([a-z.]+\.[a-z_.]+)` \|(.*)\|$", page, re.MULTILINE):
        name, cells = row[0], [cell.strip() for cell in row[1].split(" | ")]
        assert name not in listed
        listed[name] = (cells[0].strip("`"), cells[1], cells[2], tuple(re.findall(r"`([^`]+)`", cells[3])), cells[4])
    assert listed == {
        name: (prometheus_name(about) + SUFFIX[about.kind], about.kind, about.unit, about.attributes, about.meaning)
        for name, about in DECLARED.items()
    }
    assert len(MODULES) == 8


@pytest.mark.parametrize("about", DECLARED.values(), ids=DECLARED)
def test_names_and_units_follow_the_conventions(about: Declaration) -> None:
    assert re.fullmatch(r"(vitne|rpc|http)(\.[a-z_]+)+", about.name)
    assert about.unit == "s" or re.fullmatch(r"\{[a-z]+\}", about.unit)
    assert about.kind != "histogram" or about.unit == "s"
    assert not any(re.search(r"(^|\.|_)id$|learner|subject|handle|pseudonym", name) for name in about.attributes)
