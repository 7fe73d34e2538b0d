"""The outcome of a run: a table for the terminal, the page and the plot in docs/."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from bench.catalogue import BASELINE, MEMORY_BOUND
from bench.results import Result

#: Between these the page holds a run's table.
BEGIN: Final = "<!-- What stands between here and the end of the table is written by `make bench`. -->"
END: Final = "<!-- The end of the table. -->"
_HEADER: Final = ("benchmark", "value", "unit", "p50 ms", "p99 ms", "ratio", "CPU-ms each", "MiB", "first", "end")


def table(results: Sequence[Result], *, judged: bool = True) -> list[list[str]]:
    """The rows, without a header; figures as they are read, held against their targets if that is asked for."""
    return [
        [
            result.name,
            _figure(result.value),
            result.unit,
            _figure(result.p50_ms),
            _figure(result.p99_ms),
            _figure(result.ratio),
            _figure(result.cpu_ms_per_op),
            _figure(result.rss_mib),
            _target(result, result.row.first, judged=judged),
            _target(result, result.row.end, judged=judged),
        ]
        for result in results
    ]


def text(results: Sequence[Result], *, judged: bool = True) -> str:
    """The table for a terminal."""
    rows = [list(_HEADER), *table(results, judged=judged)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    )


def missed(results: Sequence[Result]) -> list[str]:
    """What did not reach the first target, or takes more memory than a service may."""
    return [
        f"{result.name}: {_figure(result.value)} {result.unit}, to be {_figure(result.row.first)}"
        for result in results
        if result.row.first is not None and not result.row.reaches(result.value, result.row.first)
    ]


def write_page(page: Path, results: Sequence[Result], machine: str, commit: str, plot: str) -> None:
    """Put a run into the page, between its markers; the rest of the page is left as it is.

    Args:
        page: Markdown.
        results: of the run.
        machine: that it was taken on.
        commit: that was measured.
        plot: the plot's name, beside the page.
    """
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = ["", f"Taken on {date.today().isoformat()} of commit {commit}: {machine}.", ""]  # noqa: DTZ011 - a page's
    lines += ["| " + " | ".join(_HEADER) + " |", "|---|" + "---:|---|" + "---:|" * (len(_HEADER) - 3)]
    lines += ["| " + " | ".join([f"`{row[0]}`", *row[1:]]) + " |" for row in table(results)]
    lines += ["", f"![How far each value is from its target]({plot})", ""]
    page.write_text(before + BEGIN + "\n".join(lines) + END + after)


def write_plot(path: Path, results: Sequence[Result], caption: str) -> None:
    """How many times as good as its target for the finished system each value is, on a logarithmic scale."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - installed by `make bench` alone, and slow to load

    shown = [result for result in results if result.row.end and result.value and not result.name.startswith("rss.")]
    scores = [
        result.value / result.row.end if result.row.rises else result.row.end / result.value
        for result in shown
        if result.row.end
    ]
    figure = Figure(figsize=(9, 0.34 * len(shown) + 1.2))
    axes = figure.subplots()
    places = range(len(shown), 0, -1)
    axes.barh(
        places, [math.log10(score) for score in scores], color=["#2f6f4f" if s >= 1 else "#b5651d" for s in scores]
    )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(list(places), [f"{result.name}  {_figure(result.value)} {result.unit}" for result in shown])
    ticks = range(math.floor(math.log10(min(scores))), math.ceil(math.log10(max(scores))) + 1)
    axes.set_xticks(list(ticks), [f"×{10.0**tick:g}" for tick in ticks])
    axes.set_xlabel("times as good as the target for the finished system")
    axes.set_title(caption, fontsize=9)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def memory(results: Sequence[Result]) -> str:
    """One line about the services' memory."""
    taken = {result.name.removeprefix("rss."): result.value for result in results if result.name.startswith("rss.")}
    words = ", ".join(f"{service} {value:.0f}" for service, value in taken.items())
    return f"Memory after the benchmarks in MiB, at most {MEMORY_BOUND:.0f} each: {words}"


def baseline(results: Sequence[Result]) -> str:
    """One line about what the ratios are to."""
    value = next((result.value for result in results if result.name == BASELINE), None)
    return f"ratio: to {BASELINE}, {_figure(value)} ops/s in this run"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _target(result: Result, target: float | None, *, judged: bool) -> str:
    if target is None:
        return ""
    if not judged:
        return _figure(target)
    return f"{_figure(target)} {'✓' if result.row.reaches(result.value, target) else '✗'}"
