"""RDF Dataset Canonicalization: W3C's test suite, the poison graph by refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.frame import Case, Suite, expect_equal, expect_refusal
from vitne.credentials.rdf.canonical import Canonical, Hash, canonicalise
from vitne.credentials.rdf.nquads import parse


def cases(folder: Path) -> Iterator[Case]:
    manifest = json.loads((folder / "manifest.jsonld").read_text())
    for entry in manifest["entries"]:
        yield Case(entry["id"].lstrip("#"), partial(check, folder, entry))


def check(folder: Path, entry: dict[str, Any]) -> None:
    hash_name: Hash = "sha384" if entry.get("hashAlgorithm") == "SHA384" else "sha256"
    quads = parse((folder / entry["action"]).read_text())

    def ask() -> Canonical:
        return canonicalise(quads, hash_name=hash_name)

    match entry["type"]:
        case "rdfc:RDFC10EvalTest":
            expect_equal(ask().document, (folder / entry["result"]).read_bytes())
        case "rdfc:RDFC10MapTest":
            labels = {before[2:]: after[2:] for before, after in ask().labels.items()}
            expect_equal(labels, json.loads((folder / entry["result"]).read_text()))
        case "rdfc:RDFC10NegativeEvalTest":
            expect_refusal(ask)
        case other:
            raise AssertionError(f"a kind of test that is not known: {other}")


SUITE = Suite("rdfc10", "RDFC-1.0: canonical form, labels, a poison graph", cases)
