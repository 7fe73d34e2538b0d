"""Data Integrity with EdDSA: the vectors of the specification, to the byte at every intermediate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.conformance import data_integrity
from tests.conformance.frame import Case, Suite
from vitne.credentials.data_integrity.multibase import decode
from vitne.credentials.jose import LocalSigner

KEYS = "keyPair.json"


def cases(folder: Path) -> Iterator[Case]:
    # Two bytes say what kind of key it is.
    secret = decode(json.loads((folder / KEYS).read_text())["privateKeyMultibase"])[2:]
    signer = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(secret))
    return data_integrity.cases(folder, KEYS, signer, signer.public_key)


SUITE = Suite("vc-di-eddsa", "Data Integrity: eddsa-jcs-2022, eddsa-rdfc-2022", cases)
