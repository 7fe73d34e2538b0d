"""SD-JWT against the specification's own examples and two other implementations.

``sd-jwt`` is the reference library of RFC 9901's authors; ``openvc-core`` is another's. We verify what they
issue, and they verify what we do. (The examples are YAML with a tag of their own; the reference library reads it.)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwcrypto.jwk import JWK
from openvc.jwt_vc_issuer import jwt_vc_issuer_metadata_url
from openvc.verify import VerificationPolicy, verify_credential
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.utils.yaml_specification import load_yaml_specification, remove_sdobj_wrappers
from sd_jwt.verifier import SDJWTVerifier

from tests.unit.credential_samples import ENTROPY, HOLDER_KEY, ISSUER_URI, PROVIDER_KEY, sample_credential
from vitne.canonical import from_b64url
from vitne.credentials import sd_jwt_vc
from vitne.credentials.jose import LocalSigner
from vitne.credentials.sd_jwt import Disclosable, HolderBinding, parse, prepare, verify_key_binding
from vitne.credentials.sd_jwt import Path as ClaimPath

AUDIENCE = "https://verifier.example.org"
NONCE = "1234567890"
TYPE = "example+sd-jwt"
EXAMPLES = [
    *("address_only_flat", "address_only_recursive", "address_only_structured", "address_only_structured_one_open"),
    *("arf-pid", "complex_eidas", "complex_eidas_proposal", "complex_ekyc", "json_serialization_flattened"),
    *("json_serialization_general", "jsonld", "simple", "simple_structured", "w3c-vc", "w3c-vc_for_slide_deck"),
]
VC_EXAMPLES = ["01", "02", "03-pid"]


def private_key(name: str) -> JWK:
    """A key of the examples' settings."""
    scalars = {
        "issuer": "Ur2bNKuBPOrAaxsRnbSH6hIhmNTxSGXshDSUD1a1y7g",
        "holder": "5K5SCos8zf9zRemGGUl6yfok-_NiiryNZsvANWMhF-I",
    }
    scalar = int.from_bytes(from_b64url(scalars[name]))
    return JWK.from_pyca(ec.derive_private_key(scalar, ec.SECP256R1()))


def signer(name: str) -> LocalSigner:
    return LocalSigner(ec.derive_private_key(int.from_bytes(from_b64url(private_key(name).d)), ec.SECP256R1()))


def chooser(disclosed: Any) -> Callable[[ClaimPath], bool]:
    """``holder_disclosed_claims`` of an example as a choice of paths."""

    def choose(path: ClaimPath) -> bool:
        node = disclosed
        for step in path:
            if isinstance(node, dict):
                node = node.get(step)
            elif isinstance(node, list) and isinstance(step, int):
                node = node[step] if step < len(node) else None
            else:
                return False
        # The reference takes {} and [] as "yes" for an array's element, and as "no" for a member.
        return bool(node) or (isinstance(path[-1], int) and node not in (None, False))

    return choose


def disclosable(claims: Any) -> Any:
    """The reference library's marks as ours."""
    if isinstance(claims, dict):
        return {
            (name.value if isinstance(name, SDObj) else name): (
                Disclosable(disclosable(value)) if isinstance(name, SDObj) else disclosable(value)
            )
            for name, value in claims.items()
        }
    if isinstance(claims, list):
        return [
            Disclosable(disclosable(item.value)) if isinstance(item, SDObj) else disclosable(item) for item in claims
        ]
    return claims


@pytest.fixture(params=[*(f"sd-jwt/{name}" for name in EXAMPLES), *(f"sd-jwt-vc/{name}" for name in VC_EXAMPLES)])
def example(request: pytest.FixtureRequest, vectors: Path) -> dict[str, Any]:
    folder, name = request.param.split("/")
    return read_example(vectors / folder, name)


def read_example(folder: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = load_yaml_specification(folder / "spec-examples" / name / "specification.yml")
    return read


def test_no_example_is_left_out(vectors: Path) -> None:
    for folder, names in (("sd-jwt", EXAMPLES), ("sd-jwt-vc", VC_EXAMPLES)):
        there = {path.parent.name for path in (vectors / folder / "spec-examples").glob("*/specification.yml")}
        assert there == set(names)


def test_we_read_and_present_what_the_reference_issues(example: dict[str, Any]) -> None:
    bound = example.get("key_binding", False)
    issued = SDJWTIssuer(
        example["user_claims"],
        private_key("issuer"),
        private_key("holder") if bound else None,
        add_decoy_claims=example.get("add_decoy_claims", False),
        extra_header_parameters={"typ": TYPE},
    ).sd_jwt_issuance
    whole = parse(issued, types=(TYPE,))
    assert whole.jws.verified_by(signer("issuer").public_key)
    confirmation = {"cnf": {"jwk": private_key("holder").export_public(as_dict=True)}} if bound else {}
    assert whole.unverified_claims == remove_sdobj_wrappers(example["user_claims"]) | confirmation

    reference = SDJWTHolder(issued)
    holder = private_key("holder") if bound else None
    reference.create_presentation(
        example["holder_disclosed_claims"], NONCE if bound else None, AUDIENCE if bound else None, holder
    )
    ours = whole.present(chooser(example["holder_disclosed_claims"]))
    theirs = parse(reference.sd_jwt_presentation, types=(TYPE,))
    assert parse(ours, types=(TYPE,)).unverified_claims == theirs.unverified_claims
    if bound:
        verify_key_binding(theirs, audience=AUDIENCE, nonce=NONCE, now=datetime.now(UTC), max_age=timedelta(minutes=1))


def test_the_reference_verifies_what_we_issue_and_present(example: dict[str, Any]) -> None:
    claims = disclosable(example["user_claims"]) | {"cnf": {"jwk": signer("holder").public_jwk}}
    prepared = prepare(
        claims,
        header={"alg": "ES256", "typ": TYPE},
        salts=(number.to_bytes(16) for number in count()),
        decoys=2 if example.get("add_decoy_claims") else 0,
    )
    whole = parse(prepared.complete(signer("issuer").sign(prepared.signing_input)), types=(TYPE,))
    now = datetime.now(UTC)
    presentation = whole.present(
        chooser(example["holder_disclosed_claims"]),
        holder=HolderBinding(signer=signer("holder"), audience=AUDIENCE, nonce=NONCE, issued_at=now),
    )
    verified = SDJWTVerifier(
        presentation, lambda _issuer, _header: private_key("issuer"), AUDIENCE, NONCE
    ).get_verified_payload()
    assert verified == parse(presentation, types=(TYPE,)).unverified_claims


def metadata(url: str) -> dict[str, Any]:
    """What an issuer's metadata document says (draft-ietf-oauth-sd-jwt-vc, section 5)."""
    assert url == jwt_vc_issuer_metadata_url(ISSUER_URI)
    return {"issuer": ISSUER_URI, "jwks": {"keys": [PROVIDER_KEY.public_jwk | {"kid": PROVIDER_KEY.key_id}]}}


@pytest.fixture
def micro_credential() -> str:
    credential = sample_credential(holder=HOLDER_KEY.public_key)
    prepared = sd_jwt_vc.prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
    return prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))


def test_others_verify_our_micro_credential(micro_credential: str) -> None:
    policy = VerificationPolicy(expected_vct=sd_jwt_vc.VCT, require_status=False)
    result = verify_credential(micro_credential, policy=policy, jwt_vc_issuer_fetch=metadata)
    assert result.issuer == ISSUER_URI
    assert result.credential["family_name"] == "Prøvesen"
    reference = SDJWTVerifier(
        micro_credential, lambda _issuer, _header: JWK.from_json(json.dumps(PROVIDER_KEY.public_jwk))
    )
    assert reference.get_verified_payload() == sd_jwt_vc.parse(micro_credential).sd_jwt.unverified_claims


def test_others_verify_a_presentation_without_name_and_its_key_binding(micro_credential: str) -> None:
    shown = sd_jwt_vc.parse(micro_credential).sd_jwt.present(
        lambda path: path == ("grade",),
        holder=HolderBinding(signer=HOLDER_KEY, audience=AUDIENCE, nonce=NONCE, issued_at=datetime.now(UTC)),
    )
    policy = VerificationPolicy(audience=AUDIENCE, nonce=NONCE, require_key_binding=True, require_status=False)
    result = verify_credential(shown, policy=policy, jwt_vc_issuer_fetch=metadata)
    assert result.key_bound
    assert result.credential["grade"] == "12"
    assert "family_name" not in result.credential


def test_others_refuse_it_when_tampered_with(micro_credential: str) -> None:
    issuer_signed, rest = micro_credential.split("~", 1)
    broken = issuer_signed[:-2] + ("AA" if issuer_signed[-2:] != "AA" else "BB")
    with pytest.raises(Exception, match=r".+"):
        verify_credential(
            f"{broken}~{rest}", policy=VerificationPolicy(require_status=False), jwt_vc_issuer_fetch=metadata
        )
