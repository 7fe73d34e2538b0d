"""The demonstration's narrator tells the story to everybody, and details to who asks; what does not hold ends it."""

from __future__ import annotations

import pytest

from vitne.dev.narrator import WIDTH, ExpectationFailed, Narrator


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
    assert (narrator.held, narrator.told) == (2, 1)


def test_who_asks_is_told_all(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(verbose=True)
    assert told(narrator, capsys) == [
        *("", "1. Issue", "issued", "a rule", "and its basis", "ok  it counts", "ok  it counts twice")
    ]
    assert (narrator.held, narrator.told) == (2, 2)


def test_findings_stand_under_each_other_and_long_ones_are_folded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    narrator = Narrator()
    narrator.say("Names are real.")
    narrator.step("Issue")
    narrator.expect(True, "it counts for whoever has it, now and then")
    narrator.say("of that\n  indented  as it came", under=True)
    narrator.say("found")
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop(1).startswith("1. Issue  [")
    assert lines == [
        "  Names are real.",
        "   ok  it counts for whoever has it, now",
        "         and then",
        "         of that",
        "           indented  as it came",
        "       found",
    ]


def test_lines_are_no_longer_than_can_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    Narrator().say("word " * 60)
    assert max(map(len, capsys.readouterr().out.splitlines())) in range(WIDTH - 10, WIDTH + 1)


def test_the_quiet_one_only_counts(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(quiet=True)
    assert told(narrator, capsys) == []
    assert (narrator.held, narrator.told) == (2, 0)


@pytest.mark.parametrize("detail", [False, True])
def test_a_detail_that_does_not_hold_ends_the_job_too(detail: bool) -> None:
    with pytest.raises(ExpectationFailed, match="expected: it counts"):
        Narrator().expect(False, "it counts", detail=detail)
