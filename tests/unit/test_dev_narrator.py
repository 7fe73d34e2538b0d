"""The demonstration's narrator tells the story to everybody, and details to who asks; what does not hold ends it."""

from __future__ import annotations

import pytest

from vitne.dev.narrator import ExpectationFailed, Narrator


def told(narrator: Narrator, capsys: pytest.CaptureFixture[str]) -> list[str]:
    narrator.step("Issue")
    narrator.say("issued")
    narrator.detail("a rule\nand its basis")
    narrator.expect(True, "it counts")
    narrator.expect(True, "it counts twice", detail=True)
    return [line.strip().partition("  [")[0] for line in capsys.readouterr().out.splitlines()]


def test_the_story_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator()
    assert told(narrator, capsys) == ["1. Issue", "issued", "ok  it counts"]
    assert narrator.held == 2


def test_who_asks_is_told_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(Narrator(verbose=True), capsys) == [
        *("", "1. Issue", "issued", "a rule", "and its basis", "ok  it counts", "ok  it counts twice")
    ]


def test_the_quiet_one_only_counts(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(quiet=True)
    assert told(narrator, capsys) == []
    assert narrator.held == 2


@pytest.mark.parametrize("detail", [False, True])
def test_a_detail_that_does_not_hold_ends_the_job_too(detail: bool) -> None:
    with pytest.raises(ExpectationFailed, match="expected: it counts"):
        Narrator().expect(False, "it counts", detail=detail)
