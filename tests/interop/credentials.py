"""What we issue is verified by ``@digitalbazaar/vc`` and the reverse; rdf-canonize canonicalises as we do.

Usage: ``python -m tests.interop.credentials`` from the project's root, after ``npm ci`` in this folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.unit.credential_samples import HOLDER_KEY, ISSUER_URI, sample_credential
from tests.unit.test_w3c_oracles import random_graph
from tools.contexts import DESCRIBED, DOCUMENTS, OFFICIAL, OWN, OWN_URL
from vitne.canonical import instant_text
from vitne.credentials.data_integrity import multikey, proof
from vitne.credentials.data_integrity.multibase import encode_base58
from vitne.credentials.data_integrity.suites import EDDSA_RDFC_2022
from vitne.credentials.jose import LocalSigner
from vitne.credentials.rdf.canonical import canonicalise
from vitne.credentials.rdf.terms import line
from vitne.credentials.w3c import documents, open_badges
from vitne.errors import InvalidArgument

PROGRAM = Path(__file__).with_suffix(".mjs")
SECRET = bytes(range(32))
SIGNER = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(SECRET))
METHOD = f"{ISSUER_URI}#{SIGNER.key_id}"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
#: Multicodec prefix of a secret Ed25519 key.
SECRET_PREFIX = b"\x80\x26"
GRAPHS = 2000


def secured(document: dict[str, Any]) -> dict[str, Any]:
    prepared = proof.prepare(
        document,
        suite=EDDSA_RDFC_2022,
        algorithm=SIGNER.algorithm,
        verification_method=METHOD,
        created=NOW,
    )
    return prepared.complete(SIGNER.sign(prepared.hash_data))


def named_documents() -> dict[str, Any]:
    """Contexts as they are published, and what is found behind the issuer's address."""
    contexts = {url: json.loads((DOCUMENTS / file).read_text()) for url, file in OFFICIAL.items()}
    contexts |= {url: {"@context": context} for url, context in DESCRIBED.items()}
    method = {
        "@context": "https://w3id.org/security/multikey/v1",
        "id": METHOD,
        "type": "Multikey",
        "controller": ISSUER_URI,
        "publicKeyMultibase": multikey.encode(SIGNER.public_key),
    }
    controller = {"@context": "https://www.w3.org/ns/did/v1", "id": ISSUER_URI, "assertionMethod": [METHOD]}
    return contexts | {OWN_URL: json.loads(OWN.read_text()), METHOD: method, ISSUER_URI: controller}


def graphs() -> list[tuple[str, str]]:
    """Datasets with what we make of them: those that take too much work left out."""
    asked = []
    for seed in range(GRAPHS):
        quads = random_graph(seed)
        try:
            asked.append(("".join(map(line, quads)), canonicalise(quads).document.decode()))
        except InvalidArgument:
            continue
    return asked


def ask(job: dict[str, Any]) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        raise SystemExit("interop: Node 20 or newer is not on the PATH")
    ended = subprocess.run([node, PROGRAM], input=json.dumps(job), text=True, capture_output=True, check=False)
    if ended.returncode:
        raise SystemExit(f"interop: {ended.stderr}")
    answers: dict[str, Any] = json.loads(ended.stdout)
    return answers


def main() -> None:
    credential = sample_credential(holder=HOLDER_KEY.public_key)
    plain = [form.to_document(credential, salt=bytes(16)) for form in (documents, open_badges)]
    ours = [secured(document) for document in plain]
    spoilt = [document | {"awarded_on": "2026-11-19"} for document in ours]
    datasets = graphs()
    answers = ask(
        {
            "now": instant_text(NOW),
            "documents": named_documents(),
            "key": {
                "type": "Multikey",
                "id": METHOD,
                "controller": ISSUER_URI,
                "publicKeyMultibase": multikey.encode(SIGNER.public_key),
                "secretKeyMultibase": encode_base58(SECRET_PREFIX + SECRET),
            },
            "verify": ours + spoilt,
            "issue": plain,
            "canonize": [dataset for dataset, _ in datasets],
        }
    )
    assert answers["verified"][:2] == ["", ""], answers["verified"]
    assert all(answers["verified"][2:]), "what was changed was believed"
    for form, document in zip((documents, open_badges), answers["issued"], strict=True):
        (read,) = proof.read(document)
        assert read.verified_by(SIGNER.public_key)
        assert form.from_document(document) == credential
    assert answers["canonical"] == [ours for _, ours in datasets]
    print(json.dumps({"credentials": "both ways", "formats": 2, "graphs": len(datasets)}))


if __name__ == "__main__":
    main()
