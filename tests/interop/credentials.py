"""``@digitalbazaar/vc`` and ``@sd-jwt/core`` verify what we issue, and the reverse; rdf-canonize agrees with us.

Usage: ``python -m tests.interop.credentials`` from the project's root, after ``npm ci`` in this folder.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.unit.credential_samples import (
    ENTROPY,
    FOREIGN_KEY,
    HOLDER_KEY,
    ISSUER_URI,
    PROVIDER_KEY,
    sample_credential,
)
from tests.unit.test_w3c_oracles import random_graph
from tools.contexts import DESCRIBED, DOCUMENTS, OFFICIAL, OWN, OWN_URL
from vitne.canonical import b64url, instant_text
from vitne.clock import ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.certificates import Certificate, carried
from vitne.credentials.data_integrity import ecdsa_sd_2023, multikey, proof
from vitne.credentials.data_integrity.multibase import encode_base58
from vitne.credentials.data_integrity.suites import EDDSA_RDFC_2022
from vitne.credentials.jose import LocalSigner
from vitne.credentials.model import Credential, Learner
from vitne.credentials.rdf.canonical import canonicalise
from vitne.credentials.rdf.terms import line
from vitne.credentials.sd_jwt import Disclosable, HolderBinding
from vitne.credentials.type_metadata import DISCLOSABLE, INTEGRITY, INTEGRITY_CLAIM
from vitne.credentials.w3c import documents, open_badges, renditions, vcdm
from vitne.errors import InvalidArgument
from vitne.runtime.certificates import DevelopmentCertificates
from vitne.runtime.custody import FileKeyCustody

PROGRAM = Path(__file__).with_suffix(".mjs")
SECRET = bytes(range(32))
SIGNER = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(SECRET))
METHOD = f"{ISSUER_URI}#{SIGNER.key_id}"
ECDSA_METHOD = f"{ISSUER_URI}#{PROVIDER_KEY.key_id}"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
#: Multicodec prefixes of secret keys: Ed25519, P-256.
SECRET_PREFIX = b"\x80\x26"
ECDSA_SECRET_PREFIX = b"\x86\x26"
#: The scalar of the samples' key of a provider.
ECDSA_SECRET = (1001).to_bytes(32)
#: What a holder must show of the document below, and what she chooses to.
MANDATORY = ["/issuer", "/validFrom"]
SELECTIVE = ["/credentialSubject/grade", "/credentialSubject/given_name"]
#: Without lists: their implementation names no list's cells, so it can't disclose what has one.
PARTIAL = {
    "@context": [vcdm.CONTEXT, OWN_URL],
    "type": ["VerifiableCredential", "MicroCredential"],
    "issuer": {"id": ISSUER_URI, "type": "AwardingBody", "names": {"da": "Skolen"}, "country": "DK"},
    "validFrom": "2026-11-21T10:00:00Z",
    "kind": "dk.micro_credential",
    "credentialSubject": {"type": ["Learner"], "given_name": "Kari", "family_name": "Prøvesen", "grade": "12"},
}
GRAPHS = 2000
#: How many SD-JWT VCs are asked about that carry certificates.
CERTIFIED = 5
#: What a verifier asks a holder to sign.
NONCE = "n-0S6_WzA2Mj"


def secured(document: dict[str, Any]) -> dict[str, Any]:
    prepared = proof.prepare(
        document,
        suite=EDDSA_RDFC_2022,
        algorithm=SIGNER.algorithm,
        verification_method=METHOD,
        created=NOW,
    )
    return prepared.complete(SIGNER.sign(prepared.hash_data))


def secured_for_parts() -> dict[str, Any]:
    prepared = ecdsa_sd_2023.prepare(
        PARTIAL,
        mandatory=MANDATORY,
        verification_method=ECDSA_METHOD,
        created=NOW,
        hmac_key=bytes(range(32)),
        proof_key=FOREIGN_KEY,
    )
    return prepared.complete(PROVIDER_KEY.sign(prepared.to_sign))


def named_documents() -> dict[str, Any]:
    """Contexts as they are published, and what is found behind the issuer's address."""
    contexts = {url: json.loads((DOCUMENTS / file).read_text()) for url, file in OFFICIAL.items()}
    contexts |= {url: {"@context": context} for url, context in DESCRIBED.items()}
    methods = {
        method: {
            "@context": "https://w3id.org/security/multikey/v1",
            "id": method,
            "type": "Multikey",
            "controller": ISSUER_URI,
            "publicKeyMultibase": multikey.encode(key.public_key),
        }
        for method, key in ((METHOD, SIGNER), (ECDSA_METHOD, PROVIDER_KEY))
    }
    controller = {"@context": "https://www.w3.org/ns/did/v1", "id": ISSUER_URI, "assertionMethod": list(methods)}
    return contexts | {OWN_URL: json.loads(OWN.read_text()), ISSUER_URI: controller} | methods


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


def chain_of(signer: LocalSigner, credential: Credential, folder: Path) -> tuple[Certificate, ...]:
    """A certificate of a key, and its authority's, as the issuer makes them in development."""
    made = DevelopmentCertificates(FileKeyCustody(folder), ManualClock(NOW))
    return asyncio.run(made.chain(signer, credential.awarding_body))


def token(credential: Credential, signer: LocalSigner, certificates: tuple[Certificate, ...]) -> str:
    """A ``vc+jwt``."""
    prepared = renditions.prepare(
        renditions.Form.JWT,
        credential,
        algorithm=signer.algorithm,
        key_id=signer.key_id,
        salt=bytes(16),
        created=NOW,
        certificates=certificates,
    )
    return prepared.complete(signer.sign(prepared.signing_input))


def certified_tokens(credential: Credential) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """SD-JWT VCs and ``vc+jwt`` that carry certificates: first what is good (ES256, Ed25519), then for
    another
    anchor, of another issuer, signed by another key, and with the anchor inside."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        own, anchor = chain_of(PROVIDER_KEY, credential, Path(one))
        edwards, edwards_anchor = chain_of(SIGNER, credential, Path(one))
        stranger = chain_of(FOREIGN_KEY, credential, Path(other))[1]
    body = replace(credential.awarding_body, issuer_uri="https://other.example/issuer")
    elsewhere = replace(credential, awarding_body=body)
    assert carried((own, anchor)) == (own,)
    sd_jwts = [
        (sd_jwt(credential, (own,)), anchor),
        (sd_jwt(credential, (own,)), stranger),
        (sd_jwt(elsewhere, (own,)), anchor),
        (sd_jwt(credential, (edwards,)), edwards_anchor),
        (sd_jwt(credential, (own, anchor)), anchor),
    ]
    tokens = [
        (token(credential, PROVIDER_KEY, (own,)), anchor),
        (token(credential, SIGNER, (edwards,)), edwards_anchor),
        (token(credential, SIGNER, (edwards,)), stranger),
        (token(elsewhere, PROVIDER_KEY, (own,)), anchor),
        (token(credential, SIGNER, (own,)), anchor),
    ]
    asked = [[{"compact": text, "anchor": trusted.base64} for text, trusted in each] for each in (sd_jwts, tokens)]
    return asked[0], asked[1]


def check_certified(credential: Credential, answers: dict[str, Any]) -> None:
    good, *bad = answers["sdJwtsVerified"][-CERTIFIED:]
    assert good["claims"]["jti"] == f"urn:uuid:{credential.id}"
    es256, ed25519_, *others = answers["tokensVerified"]
    for claims in (es256["claims"], ed25519_["claims"]):
        document = {name: value for name, value in claims.items() if name in plain_document(credential)}
        assert documents.from_document(document) == credential
    assert all("refused" in each for each in [*bad, *others]), [*bad, *others]


def plain_document(credential: Credential) -> dict[str, Any]:
    return documents.to_document(credential, salt=bytes(16))


def sd_jwt(credential: Credential, certificates: tuple[Certificate, ...] = ()) -> str:
    prepared = sd_jwt_vc.prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY, certificates=certificates)
    return prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))


def shown_sd_jwts(credential: Credential) -> list[dict[str, Any]]:
    """Everything; one claim; one claim with a key binding; and what nobody may believe: for another verifier's nonce,
    bound by another holder, issued by another key."""
    whole = sd_jwt(credential)
    issued, first, *_ = whole.split("~")
    part = f"{issued}~{first}~"
    bound = part + HolderBinding(HOLDER_KEY, "https://employer.example", NONCE, NOW).sign(part)
    foreign = part + HolderBinding(FOREIGN_KEY, "https://employer.example", NONCE, NOW).sign(part)
    asked = [(whole, ""), (part, ""), (bound, NONCE), (bound, "another"), (foreign, NONCE)]
    questions = [{"compact": one, "nonce": nonce, "issuer": PROVIDER_KEY.public_jwk} for one, nonce in asked]
    return [*questions, questions[0] | {"issuer": FOREIGN_KEY.public_jwk}]


def plain_claims(credential: Credential) -> dict[str, Any]:
    """The claims of an SD-JWT VC before any is hidden, as another issuer would be given them."""
    claims = {
        name: value.value if isinstance(value, Disclosable) else value
        for name, value in sd_jwt_vc.to_claims(credential).items()
    }
    return claims | {"salt": b64url(bytes(16)), INTEGRITY_CLAIM: INTEGRITY}


def check_sd_jwts(credential: Credential, answers: dict[str, Any]) -> None:
    whole, part, bound, *refused = answers["sdJwtsVerified"][:-CERTIFIED]
    theirs = {name: value for name, value in whole["claims"].items() if name not in ("salt", INTEGRITY_CLAIM)}
    assert sd_jwt_vc.from_claims(theirs) == credential
    assert [DISCLOSABLE[0] in each["claims"] for each in (part, bound)] == [True, True]
    assert not set(DISCLOSABLE[1:]) & set(part["claims"])
    assert all("refused" in each for each in refused), refused
    for form, name in (("whole", None), ("part", credential.learner.given_name)):
        read = sd_jwt_vc.parse(answers["sdJwtIssued"][form])
        assert read.sd_jwt.jws.verified_by(PROVIDER_KEY.public_key)
        shown = credential if name is None else replace(credential, learner=Learner(given_name=name), grade=None)
        assert read.credential == shown


def without_proof(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "proof"}


def main() -> None:
    credential = sample_credential(holder=HOLDER_KEY.public_key)
    plain = [form.to_document(credential, salt=bytes(16)) for form in (documents, open_badges)]
    ours = [secured(document) for document in plain]
    spoilt = [document | {"awarded_on": "2026-11-19"} for document in ours]
    in_parts = secured_for_parts()
    shown = ecdsa_sd_2023.derive(in_parts, SELECTIVE)
    spoilt.append(shown | {"validFrom": "2026-11-21T10:00:01Z"})
    datasets = graphs()
    sd_jwts, tokens = certified_tokens(credential)
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
            "ecdsaKey": {
                "type": "Multikey",
                "id": ECDSA_METHOD,
                "controller": ISSUER_URI,
                "publicKeyMultibase": multikey.encode(PROVIDER_KEY.public_key),
                "secretKeyMultibase": encode_base58(ECDSA_SECRET_PREFIX + ECDSA_SECRET),
            },
            "verify": [*ours, shown, *spoilt],
            "issue": plain,
            "disclose": [{"secured": in_parts, "selective": SELECTIVE}],
            "issueInParts": [{"credential": PARTIAL, "mandatory": MANDATORY, "selective": SELECTIVE}],
            "canonize": [dataset for dataset, _ in datasets],
            "verifySdJwts": [*shown_sd_jwts(credential), *sd_jwts],
            "verifyTokens": tokens,
            "issueSdJwt": {
                "claims": plain_claims(credential),
                "header": {"typ": sd_jwt_vc.TYPE, "kid": PROVIDER_KEY.key_id},
                "issuer": PROVIDER_KEY.public_jwk | {"d": b64url(ECDSA_SECRET)},
                "disclosable": [name for name in DISCLOSABLE if name in plain_claims(credential)],
                "shown": ["given_name"],
            },
        }
    )
    assert answers["verified"][:3] == [""] * 3, answers["verified"]
    assert all(answers["verified"][3:]), "what was changed was believed"
    for document in answers["disclosed"] + answers["issuedInParts"]:
        assert ecdsa_sd_2023.read(document).verified_by(PROVIDER_KEY.public_key)
        assert without_proof(document) == without_proof(shown)
    for form, document in zip((documents, open_badges), answers["issued"], strict=True):
        (read,) = proof.read(document)
        assert read.verified_by(SIGNER.public_key)
        assert form.from_document(document) == credential
    assert answers["canonical"] == [ours for _, ours in datasets]
    check_sd_jwts(credential, answers)
    check_certified(credential, answers)
    spoken = ["eddsa-rdfc-2022", "ecdsa-sd-2023", "sd-jwt", "vc+jwt", "x5c"]
    print(json.dumps({"credentials": "both ways", "suites": spoken, "graphs": len(datasets)}))


if __name__ == "__main__":
    main()
