"""The table of suites in ``docs/conformance.md``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.conformance.frame import Result

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
BEGIN = "<!-- suites -->"
END = "<!-- end of suites -->"


def row(result: Result) -> str:
    """A suite's line of the table."""
    return f"| `{result.suite.name}` | {result.suite.what} | {result.passed} | {len(result.failed)} |"


def write(page: Path, results: Iterable[Result]) -> None:
    """Put the table of results into a page, between its marks."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = ["| suite | what | passed | failed |", "|---|---|---|---|", *map(row, results)]
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(table) + f"\n{END}{after}", "utf-8")
