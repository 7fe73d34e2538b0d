"""SD-JWT: the examples of the specification, both ways between us and the reference library of its authors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance import test_sd_jwt as asked
from tests.conformance.frame import Case, Suite


def cases(folder: Path) -> Iterator[Case]:
    for name in asked.EXAMPLES:
        for check in (
            asked.test_we_read_and_present_what_the_reference_issues,
            asked.test_the_reference_verifies_what_we_issue_and_present,
        ):
            yield Case(f"{name}: {check.__name__}", partial(ask, check, folder, name))


def ask(check: Callable[[dict[str, Any]], None], folder: Path, name: str) -> None:
    check(asked.read_example(folder, name))


SUITE = Suite("sd-jwt", "RFC 9901: each example read from, and read by, the reference", cases, "test_sd_jwt.py")
