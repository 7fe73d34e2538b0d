"""Verifiable Credentials Data Model 2.0: W3C's test suite. Names with ``fail`` are refused, all others accepted.

The suite hands its files to an issuer, which is why they name none, and has two instants filled in; so do we.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.frame import Case, Suite, expect_refusal
from vitne.credentials.w3c.vcdm import require_credential, require_presentation

ISSUER = "did:example:issuer"
INSTANTS = {"PAST DATE": "2020-01-01T00:00:00Z", "FUTURE DATE": "2120-01-01T00:00:00Z"}


def cases(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.rglob("*.json")):
        yield Case(str(path.relative_to(folder)), partial(check, path))


def check(path: Path) -> None:
    document = json.loads(path.read_text(), object_hook=filled)
    if path.name.startswith("presentation"):
        require = require_presentation
    else:
        require = require_credential
        document = with_issuer(document)
    if "fail" in path.name:
        expect_refusal(lambda: require(document))
    else:
        require(document)


def filled(members: dict[str, Any]) -> dict[str, Any]:
    return {name: INSTANTS.get(value, value) if isinstance(value, str) else value for name, value in members.items()}


def with_issuer(document: dict[str, Any]) -> dict[str, Any]:
    issuer = document.get("issuer", ISSUER)
    if isinstance(issuer, dict):
        issuer = {"id": ISSUER} | issuer
    return document | {"issuer": issuer}


SUITE = Suite("vcdm2", "VCDM 2.0: credentials and presentations", cases)
