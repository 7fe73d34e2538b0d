"""RFC 8785: the test data of its author."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.conformance.frame import Case, Suite, expect_equal
from vitne.canonical import canonical_value
from vitne.credentials.jose import strict_json


def cases(folder: Path) -> Iterator[Case]:
    for source in sorted((folder / "input").glob("*.json")):
        yield Case(source.stem, partial(check, folder, source))


def check(folder: Path, source: Path) -> None:
    ours = canonical_value(strict_json(source.read_bytes()))
    expect_equal(ours, (folder / "output" / source.name).read_bytes())
    expect_equal(ours, bytes.fromhex((folder / "outhex" / f"{source.stem}.txt").read_text()))


SUITE = Suite("jcs", "RFC 8785: canonical JSON", cases)
