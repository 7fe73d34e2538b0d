"""Decisions are cited by their numbers: each has one of its own, and says it."""

from __future__ import annotations

import re
from pathlib import Path

DECISIONS = Path(__file__).resolve().parents[2] / "docs" / "decisions"


def test_each_decision_has_a_number_of_its_own() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    numbers = [int(page.name.partition("-")[0]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    for number, page in zip(numbers, pages, strict=True):
        assert re.match(rf"# {number}\. \S", page.read_text("utf-8")), page.name
