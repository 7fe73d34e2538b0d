"""The benchmarks run, and lines have the form in which runs are compared over months. No figure gates anything."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.__main__ import main
from bench.cases import baseline, formats, log, portal, pure, registry, sharing, stack, stacking
from bench.catalogue import BASELINE, BY_NAME, ROWS
from bench.curve import Point, append_point, beyond_log, read_points
from bench.load import closed, paced, percentile
from bench.long import sizes
from bench.results import Finding, Result, append_lines, read_lines

ROOT = Path(__file__).resolve().parents[2]

#: What other documents and earlier runs know the benchmarks by.
NAMES = {
    *("rpc.noop.c16", "issue.unary.c16", "issue.unary.c64", "issue.batch", "issue.ob3.c16", "verify.http"),
    *("revoke.c16", "revoke.to_published.p99", "issue.to_portal.p99", "decide.inprocess", "registry.projection.load"),
    *("stack.evaluate", "format.sdjwt.issue", "format.sdjwt.verify", "format.jcs.issue", "format.ob3.issue"),
    *("format.ob3.verify", "format.rdfc.356", "format.elmo.sign", "format.edc.seal", "log.append", "log.proof.1e6"),
    *("log.restart.1e6", "list.build.131072", "list.build.1e6", "list.get", "portal.page", "portal.share.p99"),
    "portal.catchup",
}
#: Beside them: a variant of the same that is measured apart, and the services' memory.
OURS = {
    *("log.append.bulk", "format.rdfc.356.tied", "issue.to_portal.p99.embedded"),
    *("format.ob3.whole.issue", "format.ob3.whole.verify", "portal.share.read"),
    *("portal.page.rps", "portal.catchup.fetched", "portal.catchup.apache", "portal.catchup.fetched.apache"),
    *("issue.batch.to_portal.p99", "issue.batch.to_portal.p99.embedded"),
    *("revoke.bulk", "revoke.bulk.to_published.p99"),
    *("revoke.to_published.forms.p99", "revoke.bulk.to_published.forms.p99"),
} | {f"rss.{service}" for service in ("registry", "issuer", "ledger", "verifier", "portal")}
MEMBERS = {
    *("name", "value", "unit", "p50_ms", "p99_ms", "rss_mib", "cpu_ms_per_op", "baseline", "ratio", "cpus", "commit"),
}


def test_the_names_are_those_that_runs_are_compared_by() -> None:
    assert set(BY_NAME) == NAMES | OURS
    assert len(BY_NAME) == len(ROWS)


def test_every_benchmark_is_run_by_exactly_one_case() -> None:
    pure_cases = (*pure.CASES, *formats.CASES, *stacking.CASES)
    on_stack = (*stack.CASES, *portal.EMBEDDED, *portal.APACHE, *portal.CASES, *sharing.CASES)
    cases = (*baseline.CASES, *pure_cases, *on_stack)
    run = [name for case in cases for name in case.names]
    run += [name for case in (*registry.CASES, *log.CASES) for name in case.names]
    assert sorted(run) == sorted(row.name for row in ROWS if not row.name.startswith("rss."))


def test_targets_know_whether_more_is_better() -> None:
    assert BY_NAME["issue.batch"].reaches(2500, 2000)
    assert not BY_NAME["issue.batch"].reaches(1999, 2000)
    assert BY_NAME["revoke.to_published.p99"].reaches(0.3, 0.5)
    assert not BY_NAME["portal.page"].reaches(51, 50)


def test_a_line_has_the_members_that_apply_and_no_others(tmp_path: Path) -> None:
    finding = Finding("issue.unary.c16", 1234.5678, [0.010, 0.012, 0.020], rss_mib=101.26, cpu_ms_per_op=1.5)
    append_lines(tmp_path / "lines", [finding.result(6000.0, "abc"), Finding("portal.page", 12.0).result(None, "abc")])
    full, bare = (json.loads(line) for line in (tmp_path / "lines").read_text().splitlines())
    assert set(full) == MEMBERS
    assert (full["value"], full["unit"], full["p50_ms"], full["p99_ms"]) == (1234.6, "ops/s", 12.0, 20.0)
    assert full["ratio"] == pytest.approx(1234.6 / 6000, rel=1e-3)
    assert set(bare) == {"name", "value", "unit", "cpus", "commit"}
    assert [result.name for result in read_lines(tmp_path / "lines")] == ["issue.unary.c16", "portal.page"]


def test_what_misses_its_first_target_is_told() -> None:
    results = [Result(name="issue.batch", value=100.0, unit="ops/s"), Result(name="rss.issuer", value=90.0, unit="MiB")]
    assert [line.partition(":")[0] for line in report.missed(results)] == ["issue.batch"]


def test_figures_that_say_nothing_are_held_against_no_target() -> None:
    results = [Result(name="issue.batch", value=100.0, unit="ops/s")]
    assert "✗" in report.text(results)
    assert not {"✗", "✓"} & set(report.text(results, judged=False))


def test_the_page_keeps_what_is_written_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for value in (1.0, 2.0):
        result = Result(name="portal.page", value=value, unit="ms")
        report.write_page(page, [result], "a machine", "abc", "plot.svg")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| `portal.page` | 2 | ms |" in text
    assert "old" not in text
    assert "| `portal.page` | 1 | ms |" not in text


def test_the_page_in_docs_has_the_place_for_the_table() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert text.index(report.BEGIN) < text.index(report.END)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([7.0], 0.99) == 7.0


async def test_a_load_counts_what_was_answered_and_ends_with_what_failed() -> None:
    async def fine(_number: int) -> None:
        return None

    async def broken(number: int) -> None:
        await asyncio.sleep(0)
        if number == 3:
            raise ValueError("the third")

    measured = await paced(fine, rate=1000, seconds=0.05)
    assert measured.operations == len(measured.latencies) == 50
    with pytest.raises(ExceptionGroup) as raised:
        await closed(broken, 2, 60.0)
    assert raised.group_contains(ValueError, match="the third")


def test_costs_are_held_against_log_n_from_a_size_on(tmp_path: Path) -> None:
    def point(size: int, cpu_us: float) -> Point:
        return Point(size=size, leaves=size // 2, cpu_us=cpu_us, wall_us=cpu_us, commit="abc")

    assert list(sizes(100_000)) == [10_000, 20_000, 50_000, 100_000]
    early, first, last = point(10_000, 99.0), point(100_000, 10.0), point(10_000_000, 14.0)
    for each in (last, early, first):
        append_point(tmp_path / "points", each)
    assert read_points(tmp_path / "points") == [early, first, last]
    assert beyond_log([early, first, last]) == pytest.approx(1.0)  # log n has grown by 7 / 5
    assert beyond_log([early, first]) is None
    assert read_points(tmp_path / "none") == []
    anew = Point(size=10_000, leaves=10_000, cpu_us=9.0, wall_us=9.0, commit="def")
    append_point(tmp_path / "points", anew)
    assert read_points(tmp_path / "points") == [anew]


def test_the_command_runs_a_benchmark_beside_its_baseline(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "format.sdjwt.issue"]
    done = subprocess.run(
        [*command, "--home", str(tmp_path / "home"), "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = {result.name: result for result in read_lines(output)}
    assert set(results) == {BASELINE, "format.sdjwt.issue"}
    assert results["format.sdjwt.issue"].baseline == results[BASELINE].value
    assert results["format.sdjwt.issue"].ratio


def test_a_name_that_no_benchmark_begins_with_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "nothing"])
    assert ended.value.code == 2
    assert "no benchmark's name begins with nothing" in capsys.readouterr().err
