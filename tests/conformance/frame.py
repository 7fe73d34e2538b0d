"""What a suite of official test data is, and how one is run.

Each module of :mod:`tests.conformance.suites` has one ``SUITE``, named as its folder of vectors: to add one, add a
file.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance import suites as folder_of_suites
from vitne.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Case:
    """One question that the vectors ask."""

    name: str
    #: Raises where the answer is wrong.
    check: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Suite:
    """The test data of one specification."""

    #: The folder of vectors.
    name: str
    #: What is asked, in a few words, for the table.
    what: str
    #: The cases of a folder.
    cases: Callable[[Path], Iterable[Case]]
    #: The test that asks the same, where that is another than ``test_suites.py``.
    tested_by: str = ""


@dataclass(slots=True)
class Result:
    """How a suite went."""

    suite: Suite
    passed: int = 0
    #: Case and reason of each that failed.
    failed: list[str] = field(default_factory=list)

    def line(self) -> str:
        """As JSON: ``{"suite": "rdfc10", "passed": 86, "failed": 0}``."""
        return json.dumps({"suite": self.suite.name, "passed": self.passed, "failed": len(self.failed)})


def suites() -> list[Suite]:
    """All of them, by name."""
    modules = (
        importlib.import_module(f"{folder_of_suites.__name__}.{found.name}")
        for found in pkgutil.iter_modules(folder_of_suites.__path__)
    )
    found: list[Suite] = [module.SUITE for module in modules]
    return sorted(found, key=lambda suite: suite.name)


def run(suite: Suite, vectors: Path) -> Result:
    """Ask every case of a suite; what is raised counts as failed, whatever it is."""
    result = Result(suite)
    for case in suite.cases(vectors / suite.name):
        try:
            case.check()
        except Exception as error:  # noqa: BLE001 - one case must not hide the others
            result.failed.append(f"{case.name}: {type(error).__name__}: {error}")
        else:
            result.passed += 1
    return result


def expect_refusal(ask: Callable[[], object]) -> None:
    """Fail unless it is refused, as a refusal and not by accident."""
    try:
        ask()
    except InvalidArgument:
        return
    raise AssertionError("it was accepted")


def expect_equal(ours: object, theirs: object) -> None:
    """Fail where the two differ."""
    if ours != theirs:
        raise AssertionError(f"ours: {ours!r:.300}; theirs: {theirs!r:.300}")
