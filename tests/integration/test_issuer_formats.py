"""A credential in further formats: made when it is asked for, stored before it is signed, with a leaf of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.issuer import batch, store
from services.issuer.certificates import TokenCertificates
from services.issuer.crypto import INDEX_KEY, IndexKey
from services.issuer.origins import Origins
from services.issuer.projection import Permission
from services.issuer.settings import IssuerSettings
from services.verifier.presented import read
from tests.integration.issuer_harness import KLIMA, World, item, make_world, public_jwk, refusal, request
from tests.unit.accreditation_samples import NOKUT, UCL, UIO
from tests.unit.test_w3c_baking import PNG, SVG
from tests.unit.verifier_world import NOW
from vitne.accreditation import timestamp
from vitne.canonical import from_b64url
from vitne.clock import ManualClock
from vitne.credentials import cbor, sd_jwt_vc
from vitne.credentials.elm import seal
from vitne.credentials.elmo import signature as elmo
from vitne.credentials.jose import parse_public_jwk
from vitne.credentials.model import AwardingBody, Learner
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.credentials.type_metadata import DISCLOSABLE
from vitne.credentials.w3c import baking, selective, vc_jwt
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued, parse_leaf
from vitne.messaging import topics
from vitne.runtime.certificates import CertificateFiles, DevelopmentCertificates, pem
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.secret_files import read_secret
from vitne.runtime.status import error_from_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.registry.v1 import facts_pb2

EDC, ELMO = credential_pb2.FORMAT_EDC, credential_pb2.FORMAT_ELMO
SELECTIVE = credential_pb2.FORMAT_VC_SELECTIVE
JWT_ED25519 = credential_pb2.FORMAT_VC_JWT_ED25519
W3C = (
    credential_pb2.FORMAT_VC_JWT,
    credential_pb2.FORMAT_VC_DATA_INTEGRITY,
    credential_pb2.FORMAT_OPEN_BADGE_JWT,
    credential_pb2.FORMAT_OPEN_BADGE,
    credential_pb2.FORMAT_VC_JCS,
)


@pytest.fixture(scope="module")
async def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder, clock = tmp_path_factory.mktemp("issuer"), ManualClock(NOW)
    async with make_world(postgres, folder, clock, lease_low_water=200, x5c=(UCL,)) as made:
        made.learn(made.chronicle.authority(NOKUT, "NO"))
        yield made


async def issue(world: World, *formats: int, request_id: str = "", **values: Any) -> issuer_pb2.IssuedCredential:
    asked = request(request_id or str(uuid4()), **values)
    asked.formats.extend(formats)  # type: ignore[arg-type]  # also numbers that are no formats
    return (await world.caller(UCL).Issue(asked)).credential


async def get(world: World, credential_id: str, *formats: int) -> issuer_pb2.IssuedCredential:
    asked = issuer_pb2.GetCredentialRequest(credential_id=credential_id, formats=formats)  # type: ignore[arg-type]
    return (await world.caller(UCL).GetCredential(asked)).credential


async def leaves(world: World) -> list[bytes]:
    rows = await world.outbox(topics.ISSUER_LEAVES)
    told = [parse_leaf(events_pb2.LeafSubmitted.FromString(row["value"]).leaf) for row in rows]
    return [leaf.digest for leaf in told if isinstance(leaf, Issued)]


async def test_a_credential_is_issued_in_every_format_that_is_asked_for(world: World) -> None:
    issued = await issue(world, EDC, ELMO, grade="12", learner={"birth_date": "1980-01-02"})
    presented = sd_jwt_vc.parse(issued.artefact)
    key = parse_public_jwk(public_jwk(world, presented.key_id))
    sealed, document = issued.artefacts
    assert (sealed.format, document.format) == (EDC, ELMO)
    opened, signed = seal.parse(sealed.artefact), elmo.parse_signed(document.artefact.encode())
    assert opened.verified_by(key)
    assert signed.verified_by(key)
    assert opened.credential() == presented.credential
    assert [node.credential for node in signed.document.nodes()] == [presented.credential]
    assert (sealed.digest, document.digest) == (opened.digest, signed.document.digest)
    digests = {from_b64url(text) for text in (issued.digest, sealed.digest, document.digest)}
    assert len(digests) == 3
    assert digests <= set(await leaves(world))


async def test_w3c_formats_are_read_back_and_verify(world: World) -> None:
    issued = await issue(world, *W3C, grade="12")
    presented = sd_jwt_vc.parse(issued.artefact)
    key = parse_public_jwk(public_jwk(world, presented.key_id))
    assert [one.format for one in issued.artefacts] == list(W3C)
    for one in issued.artefacts:
        shown = read(one.artefact)
        assert shown.credential == presented.credential
        assert (shown.key_id, shown.digest) == (presented.key_id, one.digest)
        assert shown.verified_by(key)
        assert from_b64url(one.digest) in await leaves(world)
    assert "OpenBadgeCredential" in str(vc_jwt.parse(issued.artefacts[2].artefact).document["type"])


async def test_a_learner_shows_parts_of_what_she_was_issued(world: World) -> None:
    issued = await issue(world, SELECTIVE, grade="12")
    whole = sd_jwt_vc.parse(issued.artefact)
    key = parse_public_jwk(public_jwk(world, whole.key_id))
    (base,) = issued.artefacts
    shown = read(selective.show(base.artefact, ("grade",)))
    assert (shown.credential.grade, shown.credential.learner) == ("12", Learner())
    assert read(selective.show(base.artefact, DISCLOSABLE)).credential == whole.credential
    assert (shown.key_id, shown.digest) == (whole.key_id, base.digest)
    assert shown.verified_by(key)
    assert from_b64url(base.digest) in await leaves(world)
    with pytest.raises(InvalidArgument, match="a base proof is for holders"):
        read(base.artefact)
    assert (await get(world, issued.id, SELECTIVE)).artefacts == issued.artefacts
    # Two of one learner have nothing in common that the log, or who is shown both, could tell.
    other = (await issue(world, SELECTIVE, grade="12")).artefacts[0]
    assert not set(parts(base.artefact)) & set(parts(other.artefact))


def parts(secured: str) -> list[bytes]:
    """Of a base proof: signature, key, HMAC key."""
    signature, key, hmac_key, *_ = cbor.decode(from_b64url(json.loads(secured)["proof"]["proofValue"][1:])[3:])
    return [signature, key, hmac_key]


async def test_what_the_registry_and_the_rules_say_beside_it_is_told(world: World) -> None:
    issued = await issue(world, EDC, ELMO)
    document = seal.parse(issued.artefacts[0].artefact).document
    levels = document["credentialSubject"]["hasClaim"]["specifiedBy"]["educationLevel"]
    assert levels[0]["id"] == "http://data.europa.eu/snb/eqf/5"
    agent = document["evidence"]["accreditation"]["accreditingAgent"]
    assert agent["identifier"]["notation"] == NOKUT
    assert "<type>EQF</type><value>5</value>" in issued.artefacts[1].artefact


async def test_asked_again_or_all_at_once_it_is_the_same_artefact(world: World) -> None:
    request_id = str(uuid4())
    first = await issue(world, EDC, request_id=request_id)
    before = len(await leaves(world))
    again = await issue(world, EDC, EDC, request_id=request_id)
    assert again == first
    answers = await asyncio.gather(*(get(world, first.id, ELMO) for _ in range(8)))
    assert len({answer.artefacts[0].artefact for answer in answers}) == 1
    both = await get(world, first.id, ELMO, credential_pb2.FORMAT_SD_JWT_VC, EDC)
    assert [one.format for one in both.artefacts] == [ELMO, EDC]
    assert both.artefacts[1] == first.artefacts[0]
    assert len(await leaves(world)) == before + 1
    assert (await get(world, first.id)).artefacts == []


async def test_what_was_stored_and_not_signed_is_signed_as_it_was_stored(world: World) -> None:
    issued = await issue(world, ELMO, SELECTIVE)
    await world.pool.execute(
        "UPDATE artefact SET signature = NULL, digest = NULL WHERE credential = $1", UUID(issued.id)
    )
    assert (await get(world, issued.id, ELMO, SELECTIVE)).artefacts == issued.artefacts


async def test_nothing_of_the_learner_is_stored_in_clear(world: World) -> None:
    issued = await issue(world, EDC, ELMO, learner={"family_name": "Hemmelig"})
    rows = await world.pool.fetch("SELECT prepared FROM artefact WHERE credential = $1", UUID(issued.id))
    assert len(rows) == 2
    assert all(b"Hemmelig" not in row["prepared"] for row in rows)
    events = await world.outbox(topics.ISSUER_LEAVES)
    assert all(b"Hemmelig" not in row["value"] for row in events)


async def test_a_leaf_says_to_the_issuer_alone_which_format_it_is_of(world: World) -> None:
    issued = await issue(world, ELMO)
    digest = from_b64url(issued.artefacts[0].digest)
    row = (await world.outbox(topics.ISSUER_LEAVES))[-1]
    submitted = events_pb2.LeafSubmitted.FromString(row["value"])
    index = IndexKey(read_secret(world.settings.state_dir, INDEX_KEY, create=False))
    origin = Origins(index).open(digest, submitted.origin)
    assert (origin.credential, origin.format) == (UUID(issued.id), ELMO)


async def test_of_two_signatures_the_one_whose_digest_is_in_the_log_is_answered(world: World) -> None:
    """Two replicas sign at the same time, with a key whose signatures differ each time."""
    issued = await issue(world, EDC)
    artefacts = world.issuer.rpc._renditions._artefacts
    row = await store.issued_by(world.pool, UCL, UUID(issued.id))
    stored = await artefacts.find(UUID(issued.id), EDC)
    assert row is not None
    assert stored is not None
    before = await leaves(world)
    late = await artefacts.finish(replace(stored, signature=None, digest=None), row, b"another", bytes(32), "")
    assert (late.signature, late.digest) == (stored.signature, from_b64url(issued.artefacts[0].digest))
    assert await leaves(world) == before


async def test_formats_that_are_not_made_are_refused_before_anything_is_issued(world: World) -> None:
    before = await world.pool.fetchval("SELECT count(*) FROM credential")
    error = await refusal(issue(world, 99))
    assert isinstance(error, InvalidArgument)
    assert error.field.startswith("formats[0]")
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == before


async def test_a_batch_is_answered_in_the_formats_of_its_header(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More items than may be unread; and what can't be made takes no credential with it."""
    monkeypatch.setattr(batch, "UNREAD", 4)
    badge, request_id = credential_pb2.FORMAT_OPEN_BADGE, str(uuid4())
    items = [item(number) for number in range(15)]
    with monkeypatch.context() as patch:
        patch.setattr(world.issuer.rpc._renditions, "_certificates", CertificateFiles(None))
        first, summary = await world.batch(items, request_id=request_id, formats=[ELMO, badge])
    assert summary.issued == len(items)
    for result in first.values():
        assert [one.format for one in result.credential.artefacts] == [badge]
        assert [error_from_status(one.error).reason for one in result.credential.refused_formats] == ["NO_CERTIFICATE"]
    again, _ = await world.batch(items, request_id=request_id, formats=[ELMO, badge])
    for item_id, result in again.items():
        document, proof = result.credential.artefacts
        assert (document.format, proof) == (ELMO, first[item_id].credential.artefacts[0])
        assert not result.credential.refused_formats
    digests = {from_b64url(one.digest) for result in again.values() for one in result.credential.artefacts}
    assert len(digests) == 2 * len(items)
    assert digests <= set(await leaves(world))
    without, _ = await world.batch(items[:1], request_id=request_id)
    assert without["item-0"].credential.artefacts == []


async def test_a_batch_in_a_format_that_is_not_made_is_refused(world: World) -> None:
    before = await world.pool.fetchval("SELECT count(*) FROM credential")
    error = await refusal(world.batch([item(1)], formats=[99]))  # type: ignore[list-item]
    assert isinstance(error, InvalidArgument)
    assert error.field.startswith("header.formats[0]")
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == before


async def test_another_institution_gets_nothing(world: World) -> None:
    issued = await issue(world)
    asked = issuer_pb2.GetCredentialRequest(credential_id=issued.id, formats=[EDC])
    assert isinstance(await refusal(world.caller(UIO).GetCredential(asked)), NotFound)


async def test_a_key_that_was_retired_signs_no_further_formats(world: World) -> None:
    issued = await issue(world, EDC)
    unsigned = credential_pb2.FORMAT_VC_JWT
    await get(world, issued.id, unsigned)
    # As a crash leaves it between what is to be signed and its signature.
    await world.pool.execute(
        "UPDATE artefact SET signature = NULL, digest = NULL WHERE credential = $1 AND format = $2",
        UUID(issued.id),
        unsigned,
    )
    key_id = sd_jwt_vc.parse(issued.artefact).key_id
    made = await world.caller(UCL).CreateSigningKey(issuer_pb2.CreateSigningKeyRequest(request_id=str(uuid4())))
    world.learn(world.register_key(UCL, made.key_id, made.public_jwk))
    key = world.projection.key(key_id)
    assert key is not None
    retired = facts_pb2.Key()
    retired.CopyFrom(key)
    retired.revision += 1
    retired.valid_until.CopyFrom(timestamp(world.clock.now() - timedelta(seconds=1)))
    world.learn(world.chronicle.record(UCL, key=retired))
    for number in (ELMO, unsigned):
        error = await refusal(get(world, issued.id, number))
        assert (type(error), error.reason) == (FailedPrecondition, "KEY_RETIRED")
    assert (await get(world, issued.id, EDC)).artefacts == issued.artefacts


async def test_a_format_that_can_not_be_made_takes_no_credential_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Certificates that are not there yet: the operator has to put them into their folder.
    monkeypatch.setattr(world.issuer.rpc._renditions, "_certificates", CertificateFiles(None))
    request_id = str(uuid4())
    issued = await issue(world, ELMO, W3C[0], request_id=request_id)
    assert issued.artefact
    assert [one.format for one in issued.artefacts] == [W3C[0]]
    (refused,) = issued.refused_formats
    assert (refused.format, error_from_status(refused.error).reason) == (ELMO, "NO_CERTIFICATE")
    assert await issue(world, ELMO, W3C[0], request_id=request_id) == issued
    assert (await refusal(get(world, issued.id, ELMO))).reason == "NO_CERTIFICATE"
    monkeypatch.undo()
    assert [one.format for one in (await get(world, issued.id, ELMO)).artefacts] == [ELMO]


# --- Baked badges -----------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [PNG, SVG])
async def test_a_badge_is_baked_into_an_image(world: World, image: bytes) -> None:
    issued = await issue(world)
    asked = issuer_pb2.GetCredentialRequest(credential_id=issued.id, badge_image=image)
    answer = await world.caller(UCL).GetCredential(asked)
    (badge,) = answer.credential.artefacts
    assert badge.format == credential_pb2.FORMAT_OPEN_BADGE
    baked = read(baking.extract(answer.badge_image))
    assert (baked.digest, baked.credential) == (badge.digest, read(badge.artefact).credential)
    assert (await world.caller(UCL).GetCredential(asked)).badge_image == answer.badge_image


async def test_what_is_no_image_is_refused(world: World) -> None:
    issued = await issue(world)
    for image, reason in ((b"GIF89a", "BAD_IMAGE"), (b"\x89PNG\r\n", "BAD_IMAGE"), (b"<svg/>", "BAD_IMAGE")):
        asked = issuer_pb2.GetCredentialRequest(credential_id=issued.id, badge_image=image)
        assert (await refusal(world.caller(UCL).GetCredential(asked))).reason == reason
    asked = issuer_pb2.GetCredentialRequest(credential_id=issued.id, badge_image=bytes(1_000_001))
    assert isinstance(await refusal(world.caller(UCL).GetCredential(asked)), InvalidArgument)


# --- Keys for Ed25519 -------------------------------------------------------------------------------


async def test_proofs_are_made_with_a_key_for_ed25519_once_there_is_one(world: World) -> None:
    eddsa = await world.enter_key(UIO, issuer_pb2.SIGNING_ALGORITHM_ED25519)
    own = await world.enter_key(UCL, issuer_pb2.SIGNING_ALGORITHM_ED25519)
    issued = await issue(world, *W3C, ELMO)
    es256 = sd_jwt_vc.parse(issued.artefact).key_id
    assert es256 not in (eddsa, own)
    by_format = {one.format: read(one.artefact) for one in issued.artefacts}
    named = {format_: (shown.key_id, shown.algorithm) for format_, shown in by_format.items()}
    assert named == {
        credential_pb2.FORMAT_VC_JWT: (es256, "ES256"),
        credential_pb2.FORMAT_VC_DATA_INTEGRITY: (own, "eddsa-rdfc-2022"),
        credential_pb2.FORMAT_OPEN_BADGE_JWT: (es256, "ES256"),
        credential_pb2.FORMAT_OPEN_BADGE: (own, "eddsa-rdfc-2022"),
        credential_pb2.FORMAT_VC_JCS: (own, "eddsa-jcs-2022"),
        ELMO: (es256, "XML signature"),
    }
    key = parse_public_jwk(public_jwk(world, own))
    badge = by_format[credential_pb2.FORMAT_OPEN_BADGE]
    assert badge.verified_by(key)
    assert badge.credential == sd_jwt_vc.parse(issued.artefact).credential


async def test_a_jwt_is_signed_with_ed25519_by_whoever_has_such_a_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.enter_key(UCL, issuer_pb2.SIGNING_ALGORITHM_ED25519)
    issued = await issue(world, JWT_ED25519)
    (token,) = issued.artefacts
    shown = read(token.artefact)
    key = parse_public_jwk(public_jwk(world, shown.key_id))
    assert (key.algorithm, shown.algorithm, shown.digest) == ("Ed25519", "Ed25519", token.digest)
    assert shown.verified_by(key)
    assert shown.credential == sd_jwt_vc.parse(issued.artefact).credential
    assert [one.public_key for one in shown.certificates] == [key]

    async def none(*_: Any) -> None:
        return None

    without = await issue(world)
    monkeypatch.setattr(world.issuer.rpc._renditions._signing, "find", none)
    error = await refusal(get(world, without.id, JWT_ED25519))
    assert (type(error), error.reason, error.field) == (FailedPrecondition, "NO_SIGNING_KEY", "formats")


async def test_a_key_that_did_not_count_at_the_issuance_makes_no_proof(world: World) -> None:
    """Verifiers ask for that, whenever the artefact was made."""
    issued = await issue(world)
    asked = issuer_pb2.CreateSigningKeyRequest(request_id=str(uuid4()), algorithm=issuer_pb2.SIGNING_ALGORITHM_ED25519)
    made = await world.caller(UCL).CreateSigningKey(asked)
    entered = world.register_key(UCL, made.key_id, made.public_jwk)
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(timedelta(minutes=1))
    entered.key.valid_from.CopyFrom(timestamp(world.clock.now()))
    world.learn(entered)
    late = await get(world, issued.id, credential_pb2.FORMAT_OPEN_BADGE)
    assert read(late.artefacts[0].artefact).key_id != made.key_id
    now = await issue(world, credential_pb2.FORMAT_OPEN_BADGE)
    assert read(now.artefacts[0].artefact).key_id == made.key_id


async def test_what_a_key_for_ed25519_signed_is_flagged_when_it_is_compromised(world: World) -> None:
    await world.enter_key(UCL, issuer_pb2.SIGNING_ALGORITHM_ED25519)
    badge, plain = await issue(world, credential_pb2.FORMAT_OPEN_BADGE), await issue(world, ELMO)
    own = read(badge.artefacts[0].artefact).key_id
    compromised = facts_pb2.Key()
    known = world.projection.key(own)
    assert known is not None
    compromised.CopyFrom(known)
    compromised.revision += 1
    for end in (compromised.valid_until, compromised.compromised_from):
        end.CopyFrom(timestamp(world.clock.now() - timedelta(seconds=1)))
    said = world.chronicle.record(UCL, key=compromised)
    said.recorded_at.CopyFrom(timestamp(world.clock.now()))
    world.learn(said)
    flags = (await world.caller(UCL).ListFlags(issuer_pb2.ListFlagsRequest(page_size=1000))).flags
    flagged = {flag.credential_id for flag in flags if flag.subject_id == own}
    assert badge.id in flagged
    assert plain.id not in flagged
    # From then on the key for ES256 signs, which counts.
    again = await issue(world, credential_pb2.FORMAT_OPEN_BADGE)
    assert read(again.artefacts[0].artefact).algorithm in ("ecdsa-rdfc-2019", "eddsa-rdfc-2022")
    assert read(again.artefacts[0].artefact).key_id != own


async def test_a_request_for_a_key_is_for_one_algorithm(world: World) -> None:
    asked = issuer_pb2.CreateSigningKeyRequest(request_id=str(uuid4()), algorithm=issuer_pb2.SIGNING_ALGORITHM_ED25519)
    made = await world.caller(UCL).CreateSigningKey(asked)
    assert parse_public_jwk(made.public_jwk).algorithm == "Ed25519"
    assert await world.caller(UCL).CreateSigningKey(asked) == made
    asked.algorithm = issuer_pb2.SIGNING_ALGORITHM_ES256
    assert (await refusal(world.caller(UCL).CreateSigningKey(asked))).reason == "ALGORITHM_REFUSED"


# --- Certificates -----------------------------------------------------------------------------------


def body(world: World) -> AwardingBody:
    permission: Permission = world.issuer.registry.decide(UCL, UUID(KLIMA), 1, world.clock.now())
    return permission.awarding_body


async def test_tokens_carry_the_certificates_of_their_key_and_lead_to_the_authority(world: World) -> None:
    issued = await issue(world, *W3C)
    custody = FileKeyCustody(world.settings.state_dir)
    *_, authority = await DevelopmentCertificates(custody, world.clock).chain(
        custody.ensure(f"test.{uuid4()}", "ES256"), body(world)
    )
    anchors = TrustAnchors.parse(pem((authority,)))
    by_format = {credential_pb2.FORMAT_SD_JWT_VC: read(issued.artefact)}
    by_format |= {one.format: read(one.artefact) for one in issued.artefacts}
    carrying = {number for number, shown in by_format.items() if shown.certificates}
    assert carrying == {
        credential_pb2.FORMAT_SD_JWT_VC,
        credential_pb2.FORMAT_VC_JWT,
        credential_pb2.FORMAT_OPEN_BADGE_JWT,
    }
    for number in carrying:
        shown = by_format[number]
        (own,) = shown.certificates  # and not the authority's
        assert own.public_key == parse_public_jwk(public_jwk(world, shown.key_id))
        anchors.require(shown.certificates, at=shown.signed_at, body=body(world).id, issuer_uri=body(world).issuer_uri)
        with pytest.raises(InvalidArgument, match="CERTIFICATE_OF_ANOTHER"):
            anchors.require(shown.certificates, at=shown.signed_at, body=body(world).id, issuer_uri="https://a.example")


async def test_tokens_go_out_without_certificates_where_there_are_none(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    custody, clock = FileKeyCustody(world.settings.state_dir), world.clock
    signer, provider = custody.ensure(f"test.{uuid4()}", "ES256"), body(world)
    made = DevelopmentCertificates(custody, clock)
    (own, authority) = await made.chain(signer, provider)
    assert await TokenCertificates(made, (UCL,), clock).of(signer, provider, NOW) == (own,)
    assert await TokenCertificates(made, (UIO,), clock).of(signer, provider, NOW) == ()
    present = ManualClock(clock.now())
    from_files = TokenCertificates(CertificateFiles(tmp_path), (UCL,), present)
    file = tmp_path / f"{signer.key_id}.pem"
    with caplog.at_level("INFO", "services.issuer.certificates"):
        for _ in range(2):
            assert await from_files.of(signer, provider, NOW) == ()
        file.write_bytes(pem((own, authority)))
        for _ in range(2):
            assert await from_files.of(signer, provider, NOW) == (own,)  # as soon as the file is there
        present.advance(own.parsed.not_valid_after_utc - present.now() + timedelta(seconds=1))
        for _ in range(2):
            assert await from_files.of(signer, provider, present.now()) == ()
        (renewed, _) = await DevelopmentCertificates(custody, present).chain(signer, provider)
        file.write_bytes(pem((renewed,)))
        assert await from_files.of(signer, provider, present.now()) == (renewed,)
        present.advance(renewed.parsed.not_valid_after_utc - present.now() + timedelta(seconds=1))
        assert await from_files.of(signer, provider, present.now()) == ()
    assert [(record.levelname, record.__dict__["reason"]) for record in caplog.records] == [
        ("INFO", "NO_CERTIFICATE"),
        ("WARNING", "CERTIFICATE_NOT_VALID_THEN"),
        ("WARNING", "CERTIFICATE_NOT_VALID_THEN"),  # and once more when its successor ends
    ]


async def test_tokens_go_out_without_certificates_that_verifiers_would_refuse_them_for(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    custody, clock, provider = FileKeyCustody(world.settings.state_dir), world.clock, body(world)
    made = DevelopmentCertificates(custody, clock)
    others = {
        "names another organisation": replace(provider, id=OrganisationId.parse(UIO)),
        "is for another address": replace(provider, issuer_uri="https://a.example"),
        "is not of whom stands behind it": provider,
    }
    with caplog.at_level("INFO", "services.issuer.certificates"):
        for why, named in others.items():
            signer = custody.ensure(f"test.{uuid4()}", "ES256")
            (own, _) = await made.chain(signer, named)
            (stranger, _) = await made.chain(custody.ensure(f"test.{uuid4()}", "ES256"), provider)
            chain = (own, stranger) if named is provider else (own,)
            (tmp_path / f"{signer.key_id}.pem").write_bytes(pem(chain))
            files = TokenCertificates(CertificateFiles(tmp_path), (UCL,), clock)
            assert await files.of(signer, provider, clock.now()) == (), why
    assert [(record.levelname, record.__dict__["reason"]) for record in caplog.records] == [
        ("WARNING", "CERTIFICATE_OF_ANOTHER"),
        ("WARNING", "CERTIFICATE_OF_ANOTHER"),
        ("WARNING", "CHAIN_OUT_OF_ORDER"),
    ]


async def test_a_token_made_later_goes_out_without_a_certificate_that_did_not_hold_at_the_issuance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verifiers ask whether it held then, and what was made once is answered ever after."""
    issued = await issue(world)
    assert read(issued.artefact).certificates
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(timedelta(seconds=2))
    ahead = ManualClock(world.clock.now() + timedelta(minutes=5))  # Made so, they hold from the present on.
    renewed = DevelopmentCertificates(FileKeyCustody(world.settings.state_dir), ahead)
    rendering = world.issuer.rpc._renditions
    monkeypatch.setattr(rendering, "_on_tokens", TokenCertificates(renewed, (UCL,), world.clock))
    late = await get(world, issued.id, credential_pb2.FORMAT_VC_JWT, credential_pb2.FORMAT_OPEN_BADGE_JWT)
    assert [read(one.artefact).certificates for one in late.artefacts] == [(), ()]
    now = await issue(world, credential_pb2.FORMAT_VC_JWT)
    assert read(now.artefacts[0].artefact).certificates


def test_nobodys_tokens_carry_certificates_unless_somebody_says_so(world: World) -> None:
    assert IssuerSettings.model_fields["x5c"].default == ()
    assert world.settings.x5c == (UCL,)


async def test_certificates_of_development_chain_to_one_authority(world: World) -> None:
    custody = FileKeyCustody(world.settings.state_dir)
    signer = custody.ensure(f"test.{uuid4()}", "ES256")
    leaf, authority = await DevelopmentCertificates(custody, world.clock).chain(signer, body(world))
    assert leaf.public_key is not None
    assert leaf.public_key.key_id == signer.key_id
    leaf.parsed.verify_directly_issued_by(authority.parsed)
    authority.parsed.verify_directly_issued_by(authority.parsed)
    assert "NTRDK-" in leaf.parsed.subject.rfc4514_string()


async def test_certificates_come_from_files_named_by_their_key(world: World, tmp_path: Path) -> None:
    custody = FileKeyCustody(world.settings.state_dir)
    signer, other = (custody.ensure(f"test.{uuid4()}", "ES256") for _ in range(2))
    made = await DevelopmentCertificates(custody, world.clock).chain(signer, body(world))
    (tmp_path / f"{signer.key_id}.pem").write_bytes(pem(made))
    (tmp_path / f"{other.key_id}.pem").write_bytes(pem(made))
    assert await CertificateFiles(tmp_path).chain(signer, body(world)) == made
    for files, key in ((CertificateFiles(None), signer), (CertificateFiles(tmp_path), other)):
        with pytest.raises(FailedPrecondition) as refused:
            await files.chain(key, body(world))
        assert refused.value.reason == "NO_CERTIFICATE"
        assert key.key_id in refused.value.metadata["key"]
