"""Proofs of transparency-dev/merkle's test data: the right ones verify, the damaged ones do not."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from vitne.errors import InvalidArgument
from vitne.merkle.proofs import verify_consistency, verify_inclusion


def read_cases(vectors: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    folder = vectors / "merkle-rfc6962" / kind
    cases = [(str(path.relative_to(folder)), json.loads(path.read_text())) for path in sorted(folder.rglob("*.json"))]
    assert {case["wantErr"] for _, case in cases} == {True, False}
    return cases


def decoded(case: dict[str, Any], *names: str) -> list[bytes]:
    return [base64.b64decode(case[name] or "") for name in names]


def test_inclusion(vectors: Path) -> None:
    for name, case in read_cases(vectors, "inclusion"):
        leaf, root = decoded(case, "leafHash", "root")
        path = [base64.b64decode(value) for value in case["proof"] or []]

        def verify(case: dict[str, Any] = case, leaf: bytes = leaf, root: bytes = root, path: Any = path) -> None:
            verify_inclusion(leaf=leaf, index=case["leafIdx"], size=case["treeSize"], path=path, root=root)

        expect(name, case, verify)


def test_consistency(vectors: Path) -> None:
    for name, case in read_cases(vectors, "consistency"):
        root1, root2 = decoded(case, "root1", "root2")
        path = [base64.b64decode(value) for value in case["proof"] or []]

        def verify(case: dict[str, Any] = case, one: bytes = root1, two: bytes = root2, path: Any = path) -> None:
            verify_consistency(from_size=case["size1"], to_size=case["size2"], from_root=one, to_root=two, path=path)

        expect(name, case, verify)


def expect(name: str, case: dict[str, Any], verify: Any) -> None:
    if not case["wantErr"]:
        verify()
        return
    try:
        verify()
    except InvalidArgument:
        return
    pytest.fail(f"{name} ({case['desc']}) was believed")
