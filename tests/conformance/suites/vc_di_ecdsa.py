"""Data Integrity with ECDSA: the vectors of the specification, to the byte at every intermediate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tests.conformance import data_integrity
from tests.conformance.frame import Case, Suite
from vitne.credentials.data_integrity.multibase import decode
from vitne.credentials.jose import LocalSigner

KEYS = "p256KeyPair.json"


def cases(folder: Path) -> Iterator[Case]:
    # Two bytes say what kind of key it is.
    secret = decode(json.loads((folder / KEYS).read_text())["secretKeyMultibase"])[2:]
    signer = LocalSigner(ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1()))
    return data_integrity.cases(folder, KEYS, signer, signer.public_key)


SUITE = Suite("vc-di-ecdsa", "Data Integrity: ecdsa-jcs-2019, ecdsa-rdfc-2019", cases)
