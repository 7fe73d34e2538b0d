"""Results: one JSON object a line, and who took them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench.catalogue import BASELINE, BY_NAME, Row
from bench.load import Measured, percentile

#: Significant digits of what is written: more would only be noise.
_DIGITS: Final = 5


class Result(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """One benchmark's result; the members are those of a line, and what does not apply is left out.

    Attributes:
        name: see :mod:`bench.catalogue`.
        value: in ``unit``.
        unit: of ``value``.
        p50_ms: median of the operations' latencies.
        p99_ms: what 99 of 100 are not above.
        rss_mib: memory of the service that does most of the work, afterwards.
        cpu_ms_per_op: CPU-milliseconds of the five services and of PostgreSQL for each operation, with what follows
            from it (outbox, consumers, log) and without client and broker.
        baseline: :data:`~bench.catalogue.BASELINE` in the same run, operations a second.
        ratio: ``value`` by ``baseline``, for rates.
        cpus: that the process may run on.
        commit: of the tree that was measured, with ``-dirty`` where it had changes.
    """

    name: str
    value: float
    unit: str
    p50_ms: float | None = None
    p99_ms: float | None = None
    rss_mib: float | None = None
    cpu_ms_per_op: float | None = None
    baseline: float | None = None
    ratio: float | None = None
    cpus: int | None = None
    commit: str | None = None

    @property
    def row(self) -> Row:
        """What the catalogue says of it."""
        return BY_NAME[self.name]


@dataclass(frozen=True, slots=True)
class Finding:
    """A benchmark's outcome before it is a line.

    Attributes:
        name: see :mod:`bench.catalogue`.
        value: in the unit that the catalogue names.
        latencies: of the operations, in seconds; empty where they say nothing.
        rss_mib: as in :class:`Result`.
        cpu_ms_per_op: as in :class:`Result`.
    """

    name: str
    value: float
    latencies: Sequence[float] = ()
    rss_mib: float | None = None
    cpu_ms_per_op: float | None = None

    @classmethod
    def rate(
        cls, name: str, measured: Measured, *, rss_mib: float | None = None, cpu_ms_per_op: float | None = None
    ) -> Finding:
        """A load's rate and latencies."""
        return cls(name, measured.rate, measured.latencies, rss_mib, cpu_ms_per_op)

    def result(self, baseline: float | None, commit: str) -> Result:
        """The line."""
        row = BY_NAME[self.name]
        compared = baseline is not None and row.rises and row.name != BASELINE
        return Result(
            name=self.name,
            value=_rounded(self.value),
            unit=row.unit,
            p50_ms=_rounded(percentile(self.latencies, 0.5) * 1000) if self.latencies else None,
            p99_ms=_rounded(percentile(self.latencies, 0.99) * 1000) if self.latencies else None,
            rss_mib=None if self.rss_mib is None else round(self.rss_mib, 1),
            cpu_ms_per_op=None if self.cpu_ms_per_op is None else _rounded(self.cpu_ms_per_op),
            baseline=_rounded(baseline) if compared and baseline is not None else None,
            ratio=_rounded(self.value / baseline) if compared and baseline else None,
            cpus=len(os.sched_getaffinity(0)),
            commit=commit,
        )


def append_lines(path: Path, results: Iterable[Result]) -> None:
    """Append results to a file, one JSON object a line."""
    with path.open("ab") as file:
        file.writelines(msgspec.json.encode(result) + b"\n" for result in results)


def read_lines(path: Path) -> list[Result]:
    """The results of a file, strictly: another member than those of :class:`Result` is an error."""
    return [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]


def commit_of(folder: Path) -> str:
    """The commit that is checked out; ``unknown`` where that can't be told."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
