"""Every suite of official test data passes, and `docs/conformance.md` says what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.frame import Suite, run, suites
from tests.conformance.table import PAGE, row


@pytest.mark.parametrize("suite", [suite for suite in suites() if not suite.tested_by], ids=lambda suite: suite.name)
def test_suite(suite: Suite, vectors: Path) -> None:
    result = run(suite, vectors)
    assert not result.failed
    assert row(result) in PAGE.read_text("utf-8"), "make conformance renews the table"


def test_a_suite_that_is_tested_elsewhere_says_where() -> None:
    for suite in suites():
        assert not suite.tested_by or (Path(__file__).parent / suite.tested_by).is_file()
        assert f"| `{suite.name}` |" in PAGE.read_text("utf-8")
