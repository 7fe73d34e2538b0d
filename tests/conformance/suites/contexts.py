"""Our term tables against the official contexts that they were compiled from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.frame import Case, Suite, expect_equal
from tools.contexts import DATA, tables, text


def cases(folder: Path) -> Iterator[Case]:
    made = list(tables(folder))
    for _, file, content in made:
        yield Case(file, partial(check, file, content))
    index = {url: file for url, file, _ in made}
    yield Case("index", partial(check, "index.json", index))
    yield Case("nothing else", lambda: expect_equal({p.name for p in DATA.iterdir()}, {*index.values(), "index.json"}))


def check(file: str, content: dict[str, Any]) -> None:
    expect_equal((DATA / file).read_text("utf-8"), text(content))


SUITE = Suite("contexts", "JSON-LD: pinned contexts as committed", cases)
