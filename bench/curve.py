"""What an append costs as a log grows: the points that were measured, and the plot of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

#: From where on costs are held against log n: below, what a batch costs whatever its log's size is most of it.
FROM: Final = 100_000


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stretch of the log.

    Attributes:
        size: leaves at its end.
        leaves: that were appended in it.
        cpu_us: CPU time of the sequencer and of PostgreSQL for each of them, in microseconds.
        wall_us: time for each of them, in microseconds; says something on a calm machine only.
        commit: of the tree that was measured.
    """

    size: int
    leaves: int
    cpu_us: float
    wall_us: float
    commit: str


def append_point(path: Path, point: Point) -> None:
    """Add a point to a file, one JSON object a line; one that begins with an empty log begins the file anew."""
    with path.open("wb" if point.leaves == point.size else "ab") as file:
        file.write(msgspec.json.encode(point) + b"\n")


def read_points(path: Path) -> list[Point]:
    """The points of a file, in the order of their sizes; none where there is no file."""
    if not path.exists():
        return []
    points = [msgspec.json.decode(line, type=Point) for line in path.read_bytes().splitlines()]
    return sorted(points, key=lambda point: point.size)


def beyond_log(points: Iterable[Point]) -> float | None:
    """By which factor the cost at the end of the log is more than log n makes of the cost at :data:`FROM` leaves.

    At most 1: it grows no faster than log n. None where there are no two points from there on.
    """
    known = [point for point in points if point.size >= FROM]
    if len(known) < 2:
        return None
    first, last = known[0], known[-1]
    return (last.cpu_us / first.cpu_us) / (math.log(last.size) / math.log(first.size))


def write_plot(path: Path, points: Sequence[Point], caption: str) -> None:
    """Cost by size on a logarithmic scale, with what log n would make of the cost at :data:`FROM` leaves."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - installed by `make bench` alone, and slow to load

    sizes = [point.size for point in points]
    figure = Figure(figsize=(8, 4.2))
    axes = figure.subplots()
    axes.semilogx(sizes, [point.cpu_us for point in points], marker="o", color="#2f6f4f", label="CPU time, measured")
    axes.semilogx(sizes, [point.wall_us for point in points], marker=".", color="#9a9a9a", label="time, measured")
    first = next((point for point in points if point.size >= FROM), None)
    if first is not None:
        reached = [size for size in sizes if size >= first.size]
        grown = [first.cpu_us * math.log(size) / math.log(first.size) for size in reached]
        axes.semilogx(reached, grown, linestyle="--", color="#b5651d", label="as log n, from the CPU time at 100,000")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("leaves in the log")
    axes.set_ylabel("µs for each leaf")
    axes.set_title(caption, fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
