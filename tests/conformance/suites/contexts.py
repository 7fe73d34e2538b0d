"""Our term tables against the official contexts that they were compiled from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.frame import Case, Suite, expect_equal
from tools.contexts import DATA, tables, text


def cases(folder: Path) -> Iterator[Case]:
    made = list(tables(folder))
    for _, file, content in made:
        yield Case(file, lambda f=file, c=content: expect_equal((DATA / f).read_text("utf-8"), text(c)))
    index = {url: file for url, file, _ in made}
    yield Case("index", lambda: expect_equal(json.loads((DATA / "index.json").read_text("utf-8")), index))
    yield Case("nothing else", lambda: expect_equal({p.name for p in DATA.iterdir()}, {*index.values(), "index.json"}))


SUITE = Suite("contexts", "JSON-LD: pinned contexts as committed", cases)
