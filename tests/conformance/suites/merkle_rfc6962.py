"""Proofs of transparency-dev/merkle's test data: the right ones verify, the damaged ones do not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.frame import Case, Suite, expect_refusal
from vitne.merkle.proofs import verify_consistency, verify_inclusion


def cases(folder: Path) -> Iterator[Case]:
    for kind, verify in (("inclusion", inclusion), ("consistency", consistency)):
        for path in sorted((folder / kind).rglob("*.json")):
            yield Case(str(path.relative_to(folder)), partial(check, path, verify))


def check(path: Path, verify: Any) -> None:
    case = json.loads(path.read_text())
    if case["wantErr"]:
        expect_refusal(lambda: verify(case))
    else:
        verify(case)


def inclusion(case: dict[str, Any]) -> None:
    leaf, root = decoded(case["leafHash"]), decoded(case["root"])
    verify_inclusion(leaf=leaf, index=case["leafIdx"], size=case["treeSize"], path=path_of(case), root=root)


def consistency(case: dict[str, Any]) -> None:
    verify_consistency(
        from_size=case["size1"],
        to_size=case["size2"],
        from_root=decoded(case["root1"]),
        to_root=decoded(case["root2"]),
        path=path_of(case),
    )


def path_of(case: dict[str, Any]) -> list[bytes]:
    return [decoded(value) for value in case["proof"] or []]


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


SUITE = Suite("merkle-rfc6962", "RFC 6962: inclusion and consistency, damaged proofs refused", cases)
