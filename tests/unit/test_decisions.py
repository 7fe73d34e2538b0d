"""Decisions are cited by their numbers: each has one of its own, and says it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
#: What cites them: code and pages, and nothing that was built or installed.
FOLDERS = ("bench", "clients", "deploy", "docs", "proto", "services", "tests", "vitne")
CITING = ("*", *(f"{folder}/**/*" for folder in FOLDERS))
SUFFIXES = frozenset({".md", ".proto", ".py", ".sql", ".toml", ".yaml"})


def test_each_decision_has_a_number_of_its_own() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    numbers = [int(page.name.partition("-")[0]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    for number, page in zip(numbers, pages, strict=True):
        assert re.match(rf"# {number}\. \S", page.read_text("utf-8")), page.name


def _cited(text: str) -> set[str]:
    """Decisions that a text cites: by number (``decisions/0021, 0032``) or by the name of the page."""
    return {
        each
        for cited in re.findall(r"decisions/(\d{4}(?:-[\w-]+\.md|(?:, \d{4})*))", text)
        for each in cited.split(", ")
    }


def test_each_decision_that_is_cited_is_there() -> None:
    pages = {page.name for page in DECISIONS.glob("*.md")}
    there = pages | {name.partition("-")[0] for name in pages}
    missing = {
        f"{path.relative_to(ROOT)}: {cited}"
        for folder in CITING
        for path in ROOT.glob(folder)
        if path.suffix in SUFFIXES
        for cited in _cited(path.read_text("utf-8")) - there
    }
    assert missing == set()
