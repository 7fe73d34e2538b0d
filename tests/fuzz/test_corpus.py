"""What fuzzing found stays found: every kept input, and every seed, is read or refused, and takes no time."""

from __future__ import annotations

import pytest

from tests.fuzz import kept
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS, feed
from vitne.errors import VitneError

NAMES = sorted(TARGETS)


@pytest.mark.parametrize("target", NAMES)
def test_every_kept_input_is_read_or_refused(target: str) -> None:
    inputs = kept.load(target)
    assert inputs
    for data in inputs:
        feed(target, data)


@pytest.mark.parametrize("target", NAMES)
def test_fuzzing_begins_behind_the_first_refusal(target: str) -> None:
    """Each target reads what our own writers make: else it would only ever try the refusals."""
    read = 0
    for data in SEEDS[target]():
        try:
            TARGETS[target](data)
        except VitneError:
            continue
        read += 1
    assert read


def test_every_target_has_seeds_and_a_corpus() -> None:
    assert set(SEEDS) == set(TARGETS) == {file.stem for file in kept.FOLDER.iterdir()}


@pytest.mark.parametrize("target", NAMES)
def test_what_is_not_even_the_format_is_refused(target: str) -> None:
    for data in (b"", b"\0", b"{", b"{}", b"[]", b"\xff" * 64, b"<", b"<a/>", b"..", b"~", b"\n" * 64, b"{}\n{}\n{}"):
        feed(target, data)
