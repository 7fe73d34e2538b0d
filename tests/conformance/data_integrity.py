"""What the vectors of the Data Integrity suites have in common: every intermediate value, and the signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.frame import Case, expect_equal
from vitne.canonical import parse_instant
from vitne.credentials.data_integrity import multikey, proof
from vitne.credentials.data_integrity.multibase import decode, encode_base58
from vitne.credentials.data_integrity.suites import SUITES, hash_of
from vitne.credentials.jose import Signer


def cases(folder: Path, keys: str, signer: Signer, key: multikey.VerificationKey) -> Iterator[Case]:
    """The cases of each suite that has a folder."""
    yield Case("the public key", partial(check_key, folder / keys, signer))
    for vector in sorted(path for path in folder.iterdir() if path.is_dir()):
        for name in CHECKS:
            yield Case(f"{vector.name}: {name}", partial(check_vector, name, folder, vector, signer, key))


def check_vector(name: str, folder: Path, vector: Path, signer: Signer, key: multikey.VerificationKey) -> None:
    CHECKS[name](Vector(folder, vector, signer, key))


def check_key(path: Path, signer: Signer) -> None:
    text = json.loads(path.read_text())["publicKeyMultibase"]
    key = multikey.parse(text)
    assert not isinstance(key, multikey.P384Key)
    expect_equal(key.jwk, signer.public_jwk)
    expect_equal(multikey.encode(key), text)


class Vector:
    """One suite's files."""

    def __init__(self, folder: Path, vector: Path, signer: Signer, key: multikey.VerificationKey) -> None:
        self.unsigned = json.loads((folder / "unsigned.json").read_text())
        self.signer, self.key = signer, key
        self._vector = vector
        signed = next(vector.glob("signed*.json"))
        self._ending = signed.stem.removeprefix("signed")
        self.signed = json.loads(signed.read_text())
        self.options = json.loads((vector / f"proofConfig{self._ending}.json").read_text())
        self.suite = SUITES[self.options["cryptosuite"]]
        self.hash_name = hash_of(key.algorithm)

    def text(self, name: str) -> str:
        return (self._vector / f"{name}{self._ending}.txt").read_text()

    def prepared(self) -> proof.Prepared:
        return proof.prepare(
            self.unsigned,
            suite=self.suite,
            algorithm=self.key.algorithm,
            verification_method=self.options["verificationMethod"],
            created=parse_instant(self.options["created"]),
        )

    def digest(self, document: dict[str, Any]) -> str:
        return hashlib.new(self.hash_name, self.suite.canonicalise(document, self.hash_name)).hexdigest()


def _canonical_document(vector: Vector) -> None:
    expect_equal(vector.suite.canonicalise(vector.unsigned, vector.hash_name).decode(), vector.text("canonDoc"))


def _canonical_options(vector: Vector) -> None:
    expect_equal(vector.suite.canonicalise(vector.options, vector.hash_name).decode(), vector.text("proofCanon"))


def _hashes(vector: Vector) -> None:
    expect_equal(vector.digest(vector.unsigned), vector.text("docHash"))
    expect_equal(vector.digest(vector.options), vector.text("proofHash"))
    expect_equal(vector.prepared().hash_data.hex(), vector.text("combinedHash"))


def _signature(vector: Vector) -> None:
    signature = vector.signer.sign(vector.prepared().hash_data)
    expect_equal(signature.hex(), vector.text("sigHex"))
    expect_equal(encode_base58(signature), vector.text("sigBTC58"))
    expect_equal(decode(vector.text("sigBTC58")).hex(), vector.text("sigHex"))


def _issued(vector: Vector) -> None:
    expect_equal(vector.prepared().complete(bytes.fromhex(vector.text("sigHex"))), vector.signed)


def _verified(vector: Vector) -> None:
    (read,) = proof.read(vector.signed)
    assert read.verified_by(vector.key)
    (damaged,) = proof.read(vector.signed | {"name": "another"})
    assert not damaged.verified_by(vector.key)


CHECKS = {
    "canonical document": _canonical_document,
    "canonical proof options": _canonical_options,
    "hashes": _hashes,
    "signature": _signature,
    "secured document": _issued,
    "verification": _verified,
}
