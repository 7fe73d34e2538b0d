"""ELMO documents and European Digital Credentials, verified as SD-JWT VCs are: the same checks, the same verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.verifier.answers import outcome_word, to_text, verdict_word
from services.verifier.command import read_credential
from services.verifier.presented import read
from services.verifier.verification import Verification
from tests.unit.accreditation_samples import UCL
from tests.unit.european_samples import SALT, SETTING, certificate
from tests.unit.test_w3c_baking import PNG, SVG
from tests.unit.verifier_world import FOREIGN_KEY, ISSUED, NOW, PROVIDER_KEY, World
from vitne.canonical import from_b64url
from vitne.credentials.data_integrity.ecdsa_sd_2023 import HMAC_KEY_BYTES
from vitne.credentials.elm.seal import seal
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import LocalSigner
from vitne.credentials.model import Credential
from vitne.credentials.type_metadata import DISCLOSABLE
from vitne.credentials.w3c import renditions, selective
from vitne.credentials.w3c.baking import bake
from vitne.credentials.w3c.renditions import Form
from vitne.errors import InvalidArgument
from vitne.merkle.leaves import Issued
from vitne_api.registry.v1 import facts_pb2

#: Scalars of the world's keys.
SCALARS = {PROVIDER_KEY.key_id: 501, FOREIGN_KEY.key_id: 502}
W3C = tuple(form.value for form in Form)
SELECTIVE = "selective"
FORMATS = ("edc", "elmo", *W3C, SELECTIVE)


@pytest.fixture
def world() -> World:
    return World()


def sign_as(format_: str, credential: Credential, signer: LocalSigner = PROVIDER_KEY) -> str:
    if format_ in W3C:
        prepared = renditions.prepare(
            Form(format_),
            credential,
            algorithm=signer.algorithm,
            key_id=signer.key_id,
            salt=SALT,
            created=credential.issued_at,
        )
        return prepared.complete(signer.sign(prepared.signing_input))
    if format_ == SELECTIVE:
        return selective.show(base(credential, signer), DISCLOSABLE)
    chain = [certificate(SCALARS[signer.key_id])]
    if format_ == "edc":
        return seal(credential, signer, SETTING, certificates=chain, salt=SALT)
    return sign([Node(credential, setting=SETTING)], signer, certificates=chain, salt=SALT).decode()


def base(credential: Credential, signer: LocalSigner = PROVIDER_KEY) -> str:
    prepared = selective.prepare(
        credential,
        key_id=signer.key_id,
        salt=SALT,
        created=credential.issued_at,
        hmac_key=bytes(HMAC_KEY_BYTES),
        # What tells two documents apart in the log is this key, and the salt.
        proof_key=LocalSigner(ec.generate_private_key(ec.SECP256R1())),
    )
    return prepared.complete(signer.sign(prepared.signing_input))


def issue(world: World, format_: str, signer: LocalSigner = PROVIDER_KEY, *, logged: bool = True) -> str:
    text = sign_as(format_, world.credential(), signer)
    if logged:
        world.log.append(Issued(from_b64url(read(text).digest)).leaf_hash())
        world.log.append(bytes(32))
    return text


def outcomes(verification: Verification) -> dict[str, str]:
    return {check.name: outcome_word(check.outcome) for check in verification.checks}


def expect(verification: Verification, verdict: str, name: str, outcome: str) -> None:
    assert (verdict_word(verification), outcomes(verification)[name]) == (verdict, outcome), to_text(verification)


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_rightful_credential_is_valid(world: World, format_: str) -> None:
    verification = await world.verify(f" {issue(world, format_)}\n")
    assert set(outcomes(verification).values()) == {"passed"}, to_text(verification)
    assert verification.headline == "Valid: “Klimaregnskaber”, issued by Provider on 2026-11-21."
    for secret in ("Kari", "Prøvesen", "1990", "s1"):
        assert secret not in to_text(replace(verification, credential=None))


@pytest.mark.parametrize("format_", ["edc", "elmo"])
async def test_another_name_is_invalid(world: World, format_: str) -> None:
    text = issue(world, format_)
    assert "Prøvesen" in text
    expect(
        await world.verify(text.replace("Kari Prøvesen", "Kari Nordmann").replace(">Prøvesen<", ">Nordmann<")),
        "invalid",
        "structure" if format_ == "edc" else "signature",
        "failed",
    )


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_key_that_the_registry_does_not_know_is_invalid(world: World, format_: str) -> None:
    expect(await world.verify(issue(world, format_, FOREIGN_KEY)), "invalid", "issuer_key", "failed")


@pytest.mark.parametrize("format_", FORMATS)
async def test_revoked_is_revoked_in_every_format(world: World, format_: str) -> None:
    text = issue(world, format_)
    world.publisher.statuses[7] = 1
    expect(await world.verify(text), "revoked", "not_revoked", "failed")


@pytest.mark.parametrize("format_", FORMATS)
async def test_an_artefact_that_is_not_in_the_log_is_not_determinable(world: World, format_: str) -> None:
    issue(world, "elmo" if format_ == "edc" else "edc")  # that the other one is logged does not help
    verification = await world.verify(issue(world, format_, logged=False))
    expect(verification, "not_determinable", "log_inclusion", "not_determinable")


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_compromised_key_counts_for_what_the_log_proves_to_be_older(world: World, format_: str) -> None:
    logged, unlogged = issue(world, format_), sign_as(format_, world.credential(grade="10"))
    world.witnessed(ISSUED + timedelta(minutes=1))
    world.key(
        PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=ISSUED + timedelta(minutes=1)
    )
    world.log_facts()
    world.witnessed(ISSUED + timedelta(minutes=2))
    expect(await world.verify(logged), "valid_with_notes", "issuer_key", "note")
    expect(await world.verify(unlogged), "invalid", "log_inclusion", "failed")


@pytest.mark.parametrize("format_", [Form.DATA_INTEGRITY, Form.JCS, Form.BADGE])
async def test_another_name_beside_a_proof_is_invalid(world: World, format_: str) -> None:
    spoilt = issue(world, format_).replace("Prøvesen", "Nordmann")
    expect(await world.verify(spoilt), "invalid", "signature", "failed")


@pytest.mark.parametrize("format_", [Form.JWT, Form.BADGE_JWT])
async def test_a_jwt_with_the_payload_of_another_is_invalid(world: World, format_: str) -> None:
    header, _, signature = issue(world, format_).split(".")
    _, other, _ = sign_as(format_, world.credential(grade="10")).split(".")
    expect(await world.verify(f"{header}.{other}.{signature}"), "invalid", "signature", "failed")


async def test_what_a_learner_derived_is_valid_whatever_she_shows(world: World) -> None:
    held = base(world.credential())
    world.log.append(Issued(from_b64url(read(selective.show(held, ())).digest)).leaf_hash())
    world.log.append(bytes(32))
    for claims in ((), ("grade",), ("given_name", "family_name")):
        verification = await world.verify(selective.show(held, claims))
        assert set(outcomes(verification).values()) == {"passed"}, to_text(verification)
        assert f"{len(claims)} of the 5 claims" in to_text(verification)
        assert ("its holder withholds" in to_text(verification)) is ("given_name" not in claims)


async def test_what_its_learner_did_not_derive_is_for_no_verifier(world: World) -> None:
    verification = await world.verify(base(world.credential()))
    expect(verification, "invalid", "structure", "failed")
    assert "a base proof is for holders" in to_text(verification)


async def test_a_claim_that_was_put_into_what_is_shown_is_invalid(world: World) -> None:
    shown = json.loads(selective.show(base(world.credential()), ("given_name",)))
    shown["credentialSubject"]["given_name"] = "Nordmann"
    expect(await world.verify(json.dumps(shown)), "invalid", "signature", "failed")
    shown["credentialSubject"]["grade"] = "12"
    expect(await world.verify(json.dumps(shown)), "invalid", "structure", "failed")


async def test_a_proof_for_another_purpose_or_by_another_is_invalid(world: World) -> None:
    document = json.loads(issue(world, Form.DATA_INTEGRITY))
    made = document["proof"]
    for other in (
        made | {"proofPurpose": "authentication"},
        made | {"verificationMethod": f"https://example.org#{PROVIDER_KEY.key_id}"},
        made | {"cryptosuite": "eddsa-rdfc-2022"},
        [made, made],
        1,
    ):
        verification = await world.verify(json.dumps(document | {"proof": other}))
        assert verdict_word(verification) == "invalid"
    expect(await world.verify(json.dumps(document | {"type": 1})), "invalid", "structure", "failed")


async def test_more_than_one_credential_is_refused(world: World) -> None:
    nodes = [Node(world.credential()), Node(world.credential(grade="10"))]
    text = sign(nodes, PROVIDER_KEY, certificates=[certificate(501)], salt=SALT).decode()
    verification = await world.verify(text)
    expect(verification, "invalid", "structure", "failed")
    assert "2 credentials" in to_text(verification)


@pytest.mark.parametrize(
    "text", ["{}", "<", "<elmo/>", "{" * 1000, json.dumps({"payload": "\ud800"}), "<\ud800", "{\ud800"]
)
async def test_nonsense_is_invalid(world: World, text: str) -> None:
    expect(await world.verify(text), "invalid", "structure", "failed")
    with pytest.raises(InvalidArgument):
        read(text)


async def test_what_is_issued_is_not_of_the_future(world: World) -> None:
    text = sign_as("edc", world.credential(at=NOW + timedelta(minutes=5)))
    expect(await world.verify(text), "invalid", "validity", "failed")


def test_a_command_reads_a_badge_out_of_its_image(world: World, tmp_path: Path) -> None:
    badge = sign_as(Form.BADGE, world.credential())
    file = tmp_path / "presented"
    for presented in (bake(PNG, badge), bake(SVG, badge), f" {badge}\n".encode()):
        file.write_bytes(presented)
        assert read_credential(str(file)) == badge
    document = sign_as("elmo", world.credential())
    file.write_text(document, "utf-8")
    assert read_credential(str(file)) == document.strip()
    file.write_bytes(PNG)
    with pytest.raises(InvalidArgument, match="NOT_BAKED"):
        read_credential(str(file))
