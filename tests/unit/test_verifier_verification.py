from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.verifier import evidence
from services.verifier import verification as verification_module
from services.verifier.answers import outcome_word, to_json, to_message, to_text, verdict_word
from services.verifier.checks.log_inclusion import leaf_of
from services.verifier.evidence import StatusLists
from services.verifier.knowledge import Knowledge
from services.verifier.presented import read
from services.verifier.verdict import ON_FAILURE, UNTOLD, name_of
from services.verifier.verification import Verification
from tests.unit.accreditation_samples import ALL, DAI, T0, UCL, UIO, WITHDRAWN, Chronicle, achievement, scope, uuid
from tests.unit.verifier_world import (
    CHECKPOINT_KEY,
    FOREIGN_KEY,
    HOLDER_KEY,
    ISSUED,
    NOW,
    OPERATOR,
    OTHER_CHECKPOINT_KEY,
    PROVIDER_KEY,
    World,
)
from vitne.accreditation import fact_digest, timestamp
from vitne.canonical import b64url, canonical_bytes, from_b64url
from vitne.clock import ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.artefact import sd_jwt_digest
from vitne.credentials.jose import LocalSigner, complete, signing_input
from vitne.credentials.model import DecisionReference, StatusReference
from vitne.credentials.sd_jwt import HolderBinding
from vitne.credentials.status_list import MEDIA_TYPE
from vitne.errors import PermissionDenied, Unavailable
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued, KeyRecorded
from vitne.runtime.fetch import Fetched
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2


@pytest.fixture
def world() -> World:
    return World()


def pass_time(world: World, by: timedelta) -> None:
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(by)


def outcomes(verification: Verification) -> dict[str, str]:
    return {check.name: outcome_word(check.outcome) for check in verification.checks}


def detail(verification: Verification, name: str) -> str:
    return next(check.detail for check in verification.checks if check.name == name)


def expect(verification: Verification, verdict: str, name: str, outcome: str) -> None:
    assert verdict_word(verification) == verdict, to_text(verification)
    assert outcomes(verification)[name] == outcome, to_text(verification)


# --- What is valid ---


@pytest.mark.parametrize("catalogue", [True, False])
async def test_a_rightful_credential_is_valid(world: World, catalogue: bool) -> None:
    world.catalogue = catalogue
    verification = await world.verify(world.issue())
    told = outcomes(verification)
    assert list(told) == [name for name in ON_FAILURE if name not in UNTOLD]
    assert told.pop("catalogue") == ("passed" if catalogue else "skipped")
    assert set(told.values()) == {"passed"}, to_text(verification)
    assert verification.headline == "Valid: “Klimaregnskaber”, issued by Provider on 2026-11-21."
    assert verification.registry_revision == len(world.chronicle.facts)
    assert verification.verified_at == NOW


@pytest.mark.parametrize(
    ("changes", "verdict", "outcome"),
    [
        ({}, "valid", "passed"),
        ({"rule": "dk.earlier.recognition"}, "valid_with_notes", "note"),
        ({"achievement_version": 2}, "invalid", "failed"),
        ({"outcomes": [7]}, "invalid", "failed"),
    ],
)
async def test_who_recognised_prior_learning_was_responsible_for_it(
    world: World, changes: dict[str, Any], verdict: str, outcome: str
) -> None:
    module, level = world.achievement, ("dk.nqf", "5")
    certificates = scope("dk.eksamensbevis", levels=[level], credit_unit="ects")
    world.chronicle.accredit(UCL, "dk.institution", certificates, accreditation=0xA002, authority=DAI)
    world.achievement = achievement(
        UCL,
        "dk.eksamensbevis",
        id=uuid(0xC100),
        level=level,
        workload=("ects", "1.25"),
        assessment=credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING,
    )
    world.chronicle.publish(world.achievement)
    said: dict[str, Any] = {
        "purpose": credential_pb2.RECOGNITION_PURPOSE_EXEMPTION,
        "methods": [credential_pb2.RECOGNITION_METHOD_PORTFOLIO],
        "evidence": ["A" * 43],
        "assessor": "Study board",
        "achievement_id": module.id,
        "achievement_version": 1,
        "rule": "dk.professional.recognition",
        **changes,
    }
    act = credential_pb2.Recognition(**said)
    expect(await world.verify(world.issue(recognition=act)), verdict, "recognition", outcome)


async def test_what_is_shown_without_name_and_grade_is_valid(world: World) -> None:
    presentation = sd_jwt_vc.parse(world.issue()).sd_jwt.present(lambda path: False)
    verification = await world.verify(f" {presentation}\n")
    expect(verification, "valid", "mandatory_elements", "passed")
    assert "withholds" in detail(verification, "mandatory_elements")


def shown(compact: str, *names: str) -> str:
    """A presentation in which its holder shows only these of what is about the learner."""
    return sd_jwt_vc.parse(compact).sd_jwt.present(lambda path: path[-1] in names)


async def test_no_check_names_the_learner_and_nothing_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        verification = await world.verify(world.issue())
    text = to_text(replace(verification, credential=None)) + caplog.text + repr(verification)
    for secret in ("Kari", "Prøvesen", "1990", "s1"):
        assert secret not in text


async def test_it_is_told_whom_a_credential_is_about_as_far_as_its_holder_shows_it(world: World) -> None:
    learner = "  learner          "
    told = to_text(await world.verify(world.issue())).splitlines()
    assert told[1] == f"{learner}Kari Prøvesen, born 1990-01-01"
    answer = to_json(await world.verify(shown(world.issue(), "given_name", "birthdate")))
    assert answer.credential is not None
    assert answer.credential.model_dump() == {
        "title": {"en": "Klimaregnskaber"},
        "issuer": {"en": "Provider"},
        "issuer_id": UCL,
        "issued_on": "2026-11-21",
        "given_name": "Kari",
        "family_name": None,
        "birth_date": "1990-01-01",
    }
    nobody = to_text(await world.verify(shown(world.issue()))).splitlines()
    assert nobody[1] == f"{learner}neither name nor date of birth is shown: ask its holder to present it with them"


async def test_of_what_nobody_is_known_to_have_signed_nothing_is_told(world: World) -> None:
    signed, _, disclosures = world.issue().partition("~")
    verification = await world.verify(f"{signed[:-8]}AAAAAAAA~{disclosures}")
    expect(verification, "invalid", "signature", "failed")
    assert verification.credential is None
    assert to_json(verification).credential is None
    assert not to_message(verification).HasField("credential")
    assert "Kari" not in to_text(verification)


async def test_level_and_credits_are_not_needed_where_they_do_not_apply(world: World) -> None:
    world.achievement = credential_pb2.Achievement()
    world.achievement.CopyFrom(next(fact.achievement for fact in world.chronicle.facts if fact.HasField("achievement")))
    world.achievement.version = 2
    world.achievement.ClearField("level")
    world.chronicle.publish(world.achievement)
    expect(await world.verify(world.issue()), "valid", "mandatory_elements", "passed")


# --- Notes ---


async def test_withdrawn_from_now_on_is_a_note(world: World) -> None:
    compact = world.issue()
    world.accredit(revision=2, state=WITHDRAWN, effective_from=NOW - timedelta(minutes=1))
    verification = await world.verify(compact)
    expect(verification, "valid_with_notes", "accreditation_today", "note")
    assert outcomes(verification)["not_withdrawn_backwards"] == "passed"
    assert verification.headline.startswith("Valid, with notes: “Klimaregnskaber”")
    assert "withdrawn" in verification.headline


async def test_a_provider_that_closed_is_a_note(world: World) -> None:
    compact = world.issue()
    world.chronicle.provider(UCL, revision=2, closed_at=timestamp(NOW - timedelta(minutes=1)))
    verification = await world.verify(compact)
    expect(verification, "valid_with_notes", "accreditation_today", "note")
    assert "had closed" in verification.headline


@pytest.mark.parametrize("change", ["valid_until", "compromised_from"])
async def test_a_key_that_was_retired_or_compromised_later_is_a_note(world: World, change: str) -> None:
    compact = world.issue()
    moment = {change: NOW - timedelta(minutes=1)}
    world.witnessed(NOW - timedelta(minutes=1))
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, **moment)
    world.witnessed(NOW)
    expect(await world.verify(compact), "valid_with_notes", "issuer_key", "note")


async def test_a_key_that_will_be_retired_is_no_note(world: World) -> None:
    compact = world.issue()
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, valid_until=NOW + timedelta(days=1))
    expect(await world.verify(compact), "valid", "issuer_key", "passed")


# --- The log ---


async def test_what_is_not_in_the_log_is_never_valid(world: World) -> None:
    compact = world.sign(world.credential(at=NOW - timedelta(seconds=30)), logged=False)
    verification = await world.verify(compact)
    expect(verification, "not_determinable", "log_inclusion", "not_determinable")
    assert "try again in a second" in verification.headline
    pass_time(world, timedelta(seconds=31))
    verification = await world.verify(compact)
    expect(verification, "not_determinable", "log_inclusion", "not_determinable")
    assert "should be by now" in verification.headline


async def test_a_leaf_that_arrives_is_found(world: World) -> None:
    compact, verifier = world.sign(world.credential(), logged=False), world.verifier()
    assert verdict_word(await verifier.verify(compact)) == "not_determinable"
    world.log.append(leaf_of(read(compact)))
    assert verdict_word(await verifier.verify(compact)) == "valid"


async def test_what_is_in_the_log_is_asked_for_once(world: World) -> None:
    compact, verifier = world.issue(), world.verifier()
    await asyncio.gather(*(verifier.verify(compact) for _ in range(5)))
    shown = sd_jwt_vc.parse(compact).sd_jwt.present(lambda _: False)
    assert verdict_word(await verifier.verify(shown)) == "valid"
    assert world.log.asked == 3, "its issuance, the accreditation, the key"
    world.log.failure = Unavailable("UNAVAILABLE", "connection refused")
    expect(await verifier.verify(compact), "valid", "log_inclusion", "passed")


async def test_what_was_proved_by_a_key_that_counts_no_longer_is_asked_for_again(world: World) -> None:
    compact = world.issue()
    world.key(
        CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT, revision=2, valid_until=NOW + timedelta(seconds=5)
    )
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    verifier = world.verifier()
    assert verdict_word(await verifier.verify(compact)) == "valid"
    pass_time(world, timedelta(seconds=5))
    expect(await verifier.verify(compact), "not_determinable", "log_inclusion", "not_determinable")
    world.log.signer = OTHER_CHECKPOINT_KEY
    expect(await verifier.verify(compact), "valid", "log_inclusion", "passed")


async def test_another_log_of_the_operators_proves_nothing(world: World) -> None:
    world.log.origin = "log.vitne.example/test"
    verification = await world.verify(world.issue())
    expect(verification, "not_determinable", "log_inclusion", "not_determinable")
    assert "LOG_ORIGIN_UNKNOWN" in detail(verification, "log_inclusion")


async def test_what_is_not_logged_under_a_compromised_key_is_invalid(world: World) -> None:
    compact = world.sign(world.credential(), logged=False)
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=NOW - timedelta(minutes=1))
    expect(await world.verify(compact), "invalid", "log_inclusion", "failed")


async def test_only_what_the_log_had_before_the_compromise_was_told_is_older_than_it(world: World) -> None:
    older, dated_back = world.sign(world.credential()), world.sign(world.credential(), logged=False)
    world.witnessed(NOW - timedelta(minutes=1))
    fact = world.key(
        PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=NOW - timedelta(minutes=1)
    )
    # The log does not have the news yet: what witnesses saw by then is older.
    expect(await world.verify(older), "valid_with_notes", "issuer_key", "note")
    world.log.append(KeyRecorded(from_b64url(PROVIDER_KEY.key_id), 2, fact_digest(fact)).leaf_hash())
    world.log.append(Issued(from_b64url(sd_jwt_digest(dated_back))).leaf_hash())
    world.log_facts()
    world.witnessed(NOW)
    expect(await world.verify(older), "valid_with_notes", "issuer_key", "note")
    expect(await world.verify(dated_back), "invalid", "log_inclusion", "failed")
    # A later revision, of an earlier instant, does not move when it was first told.
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=3, compromised_from=NOW - timedelta(minutes=2))
    expect(await world.verify(dated_back), "invalid", "log_inclusion", "failed")


async def test_what_came_into_the_log_between_a_compromise_and_the_news_is_not_determinable(world: World) -> None:
    since = NOW - timedelta(minutes=1)
    older = world.issue()
    world.witnessed(since)
    between = world.issue()
    world.witnessed(since + timedelta(seconds=1))
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=since)
    world.log_facts()
    world.witnessed(NOW)
    expect(await world.verify(older), "valid_with_notes", "log_inclusion", "passed")
    verification = await world.verify(between)
    expect(verification, "not_determinable", "log_inclusion", "not_determinable")
    assert "no witnesses saw it there by" in verification.headline


async def test_without_witnesses_no_log_says_what_is_older_than_a_compromise(world: World) -> None:
    compact = world.issue()
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=NOW - timedelta(minutes=1))
    verification = await world.verify(compact)
    expect(verification, "not_determinable", "log_inclusion", "not_determinable")
    assert "without its witnesses" in verification.headline


async def test_while_keys_are_rotated_both_count_and_then_the_new_one(world: World) -> None:
    other = LocalSigner(ec.derive_private_key(99, ec.SECP256R1()))
    hour = timedelta(hours=1)
    world.key(other, UCL, facts_pb2.KEY_USE_CREDENTIAL, valid_from=NOW - 3 * hour)
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, valid_until=NOW - hour)
    for ago, old, new in (
        (4, "valid_with_notes", "invalid"),
        (2, "valid_with_notes", "valid"),
        (0, "invalid", "valid"),
    ):
        credential = world.credential(at=NOW - ago * hour)
        by_old, by_new = world.sign(credential), world.sign(credential, signer=other)
        assert [name_of((await world.verify(compact)).verdict) for compact in (by_old, by_new)] == [old, new], ago


def _other_root(answer: Any) -> None:
    answer.path[0] = bytes(32)


def _other_size(answer: Any) -> None:
    answer.tree_size += 1


def _other_leaf(answer: Any) -> None:
    answer.leaf_index = 0


def _no_checkpoint(answer: Any) -> None:
    answer.checkpoint = ""


@pytest.mark.parametrize("change", [_other_root, _other_size, _other_leaf, _no_checkpoint])
async def test_a_proof_that_does_not_hold_proves_nothing(world: World, change: Callable[[Any], None]) -> None:
    world.log.change = change
    expect(await world.verify(world.issue()), "not_determinable", "log_inclusion", "not_determinable")


async def test_a_checkpoint_of_somebody_else_proves_nothing(world: World) -> None:
    world.log.signer = OTHER_CHECKPOINT_KEY
    # Registered, but not the operator's.
    world.key(OTHER_CHECKPOINT_KEY, UCL, facts_pb2.KEY_USE_CHECKPOINT)
    expect(await world.verify(world.issue()), "not_determinable", "log_inclusion", "not_determinable")


async def test_after_a_rotation_either_checkpoint_key_will_do(world: World) -> None:
    world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
    compact = world.issue()
    for signer in (CHECKPOINT_KEY, OTHER_CHECKPOINT_KEY):
        world.log.signer = signer
        expect(await world.verify(compact), "valid", "log_inclusion", "passed")


async def test_a_log_out_of_reach_is_not_determinable(world: World) -> None:
    world.log.failure = Unavailable("UNAVAILABLE", "connection refused")
    expect(await world.verify(world.issue()), "not_determinable", "log_inclusion", "not_determinable")


# --- Status ---


@pytest.mark.parametrize(
    ("status", "verdict", "name"), [(1, "revoked", "not_revoked"), (2, "suspended", "not_suspended")]
)
async def test_what_the_list_says_counts(world: World, status: int, verdict: str, name: str) -> None:
    world.publisher.statuses[7] = status
    expect(await world.verify(world.issue()), verdict, name, "failed")


async def test_revoked_is_known_whatever_else_is_not(world: World) -> None:
    world.publisher.statuses[7] = 1
    world.log.failure = Unavailable("UNAVAILABLE", "connection refused")
    expect(await world.verify(world.issue()), "revoked", "log_inclusion", "not_determinable")


def _unsigned(token: str) -> str:
    head, body, _ = token.split(".")
    return f"{head}.{body}."


def _none(token: str) -> str:
    _, body, _ = token.split(".")
    head = b64url(json.dumps({"alg": "none", "typ": "statuslist+jwt"}).encode())
    return f"{head}.{body}.AA"


def _tampered(token: str) -> str:
    head, body, tail = token.split(".")
    claims = json.loads(from_b64url(body)) | {"ttl": 11}
    return f"{head}.{b64url(json.dumps(claims).encode())}.{tail}"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda publisher: publisher.options.update(
            issued_at=NOW - timedelta(hours=1), expires_at=NOW - timedelta(seconds=1)
        ),
        lambda publisher: setattr(publisher, "change", _unsigned),
        lambda publisher: setattr(publisher, "change", _none),
        lambda publisher: setattr(publisher, "change", _tampered),
        lambda publisher: setattr(publisher, "change", lambda token: token[:-20]),
        lambda publisher: setattr(publisher, "change", lambda _: "<html>"),
        lambda publisher: setattr(publisher, "content_type", "text/html"),
        lambda publisher: setattr(publisher, "statuses", [0] * 4),
        lambda publisher: setattr(publisher, "statuses", [3] * 1000),
        lambda publisher: publisher.options.update(uri="https://status.vitne.example/dk/2"),
        lambda publisher: publisher.options.update(signer=FOREIGN_KEY),
        lambda publisher: publisher.options.update(signer=PROVIDER_KEY),
        lambda publisher: setattr(publisher, "failure", Unavailable("FETCH_FAILED", "nobody there")),
        lambda publisher: setattr(publisher, "failure", PermissionDenied("FETCH_NOT_ALLOWED", "no rule")),
    ],
    ids=[
        *("stale", "unsigned", "alg none", "tampered", "truncated", "no token", "other media type", "too short"),
        *("unknown status", "other list", "foreign key", "provider's key", "unreachable", "not allowed"),
    ],
)
async def test_without_a_list_to_rely_on_nothing_is_valid(world: World, spoil: Callable[[Any], None]) -> None:
    spoil(world.publisher)
    verification = await world.verify(world.issue())
    expect(verification, "not_determinable", "status_list", "not_determinable")
    assert outcomes(verification)["not_revoked"] == outcomes(verification)["not_suspended"] == "skipped"


async def test_a_list_is_kept_for_its_ttl_and_no_longer(world: World) -> None:
    compact, verifier = world.issue(), world.verifier()
    for _ in range(3):
        assert verdict_word(await verifier.verify(compact)) == "valid"
    assert world.publisher.fetches == 1
    world.publisher.statuses[7] = 1
    pass_time(world, timedelta(seconds=9))
    assert verdict_word(await verifier.verify(compact)) == "valid"
    pass_time(world, timedelta(seconds=1))
    assert verdict_word(await verifier.verify(compact)) == "revoked"
    assert world.publisher.fetches == 2


async def test_of_many_lists_the_least_recently_used_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(evidence, "MAX_HELD_LISTS", 2)
    knowledge = Knowledge(
        projection=world.projection(),
        frameworks=ALL,
        operator=OPERATOR,
        registry_key="",
        bound=timedelta(minutes=10),
        catalogue=True,
    )
    fetched: list[str] = []

    class Publisher:
        async def fetch(self, url: str, *, accept: str = "", max_bytes: int | None = None) -> Fetched:
            fetched.append(url[-1])
            world.publisher.options["uri"] = url
            return Fetched(url, world.publisher.token().encode(), MEDIA_TYPE, "")

    lists = StatusLists(Publisher(), knowledge, world.clock)
    for name in "abacab":
        await lists.status_list(f"https://status.vitne.example/{name}")
    assert fetched == ["a", "b", "c", "b"]


async def test_a_list_is_not_kept_beyond_its_expiry(world: World) -> None:
    world.publisher.options.update(expires_at=NOW + timedelta(seconds=5))
    compact, verifier = world.issue(), world.verifier()
    assert verdict_word(await verifier.verify(compact)) == "valid"
    pass_time(world, timedelta(seconds=6))
    assert verdict_word(await verifier.verify(compact)) == "not_determinable"


# --- The registry ---


async def test_a_stale_registry_says_nothing(world: World) -> None:
    world.heard = timedelta(minutes=11)
    expect(await world.verify(world.issue()), "not_determinable", "registry", "not_determinable")


async def test_an_unknown_registry_says_nothing(world: World) -> None:
    compact = world.issue()
    world.chronicle = Chronicle()
    expect(await world.verify(compact), "not_determinable", "registry", "not_determinable")


async def test_a_credential_ahead_of_what_is_known_is_not_determinable(world: World) -> None:
    world.chronicle.authority("0192:974788985")
    compact = world.issue()
    world.chronicle.facts.pop()
    expect(await world.verify(compact), "not_determinable", "registry", "not_determinable")


# --- Accreditation and decision ---


async def test_withdrawn_backwards_is_invalid_and_both_are_said(world: World) -> None:
    compact = world.issue()
    world.accredit(revision=2, state=WITHDRAWN, effective_from=ISSUED - timedelta(days=1))
    verification = await world.verify(compact)
    expect(verification, "invalid", "not_withdrawn_backwards", "failed")
    assert outcomes(verification)["accreditation_then"] == "passed"
    assert "as known at issuance it was rightfully issued" in verification.headline
    assert "no longer counts" in verification.headline
    assert "withdrawn" in verification.headline


async def test_another_accreditation_granted_backwards_does_not_mend_it(world: World) -> None:
    compact = world.issue()
    # Its id sorts before the other's, so that the decision function would name it if both allowed it.
    world.accredit(accreditation=0x9001)
    expect(await world.verify(compact), "valid", "not_withdrawn_backwards", "passed")
    world.accredit(revision=2, state=WITHDRAWN, effective_from=ISSUED - timedelta(days=1))
    verification = await world.verify(compact)
    expect(verification, "invalid", "not_withdrawn_backwards", "failed")
    for named in ("as known at issuance it was rightfully issued", "no longer counts", uuid(0xA001), uuid(0x9001)):
        assert named in verification.headline


def decision(world: World, **changes: Any) -> DecisionReference:
    record = world.credential().decision.members() | changes
    return DecisionReference.parse(canonical_bytes(record))


async def test_a_provider_that_was_not_accredited_is_invalid(world: World) -> None:
    before = decision(world, at="2025-06-01T10:00:00Z")
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, valid_from=T0 - timedelta(days=900))
    compact = world.issue(decision=before, awarded_on=date(2025, 5, 1))
    expect(await world.verify(compact), "invalid", "accreditation_then", "failed")


@pytest.mark.parametrize(
    "change",
    [
        {"accreditation": {"id": "01930f6e-7a00-7000-8000-00000000a001", "revision": 2}},
        {"accreditation": {"id": "01930f6e-7a00-7000-8000-00000000a009", "revision": 1}},
        {"rule": "dk.business_academy.module"},
        {"provider": UIO},
        {"achievement": {"id": "01930f6e-7a00-7000-8000-00000000c001", "version": 9}},
    ],
)
@pytest.mark.parametrize("catalogue", [True, False])
async def test_a_decision_that_the_facts_do_not_give_is_invalid(
    world: World, change: dict[str, Any], catalogue: bool
) -> None:
    world.catalogue = catalogue
    compact = world.issue(decision=decision(world, **change))
    expect(await world.verify(compact), "invalid", "decision", "failed")


async def test_a_decision_by_another_version_of_the_rules_that_is_the_same_passes(world: World) -> None:
    older = decision(world, framework={"country": "DK", "version": "2026-01-01"})
    verification = await world.verify(world.issue(decision=older))
    expect(verification, "valid", "decision", "passed")
    assert "2026-01-01" in detail(verification, "decision")


async def test_rules_that_are_not_known_here_are_not_determinable(world: World) -> None:
    older = decision(world, framework={"country": "DK", "version": "2026-01-01"})
    compact = world.issue(decision=older)
    # Here, rules of pilots are not applied.
    world.frameworks = type(ALL)(list(ALL), ["in_force"])  # type: ignore[list-item]  # a standing is a text
    expect(await world.verify(compact), "not_determinable", "accreditation_then", "not_determinable")


async def test_what_the_provider_did_not_publish_is_invalid(world: World) -> None:
    other = credential_pb2.Achievement()
    other.CopyFrom(world.achievement)
    other.title[0].text = "Something grander"
    expect(await world.verify(world.issue(achievement=other)), "invalid", "catalogue", "failed")


# --- Issuer and key ---


async def test_an_unknown_issuer_is_invalid(world: World) -> None:
    body = world.credential().awarding_body
    for stranger in (
        replace(body, id=OrganisationId.parse(UIO)),
        replace(body, issuer_uri="https://evil.example/issuer"),
        replace(body, name={"en": "Another name"}),
        replace(body, country="NO"),
    ):
        credential = world.credential()
        offered = credential_pb2.Achievement()
        offered.CopyFrom(credential.achievement)
        offered.provider = str(stranger.id)
        compact = world.sign(replace(credential, awarding_body=stranger, achievement=offered))
        verification = await world.verify(compact)
        expect(verification, "invalid", "issuer", "failed")
        assert "issued by" not in verification.headline


async def test_a_foreign_key_is_invalid(world: World) -> None:
    credential = world.credential()
    expect(await world.verify(world.sign(credential, signer=FOREIGN_KEY)), "invalid", "issuer_key", "failed")
    pretender = world.sign(credential, signer=FOREIGN_KEY, key_id=PROVIDER_KEY.key_id)
    expect(await world.verify(pretender), "invalid", "signature", "failed")
    world.key(FOREIGN_KEY, DAI, facts_pb2.KEY_USE_CREDENTIAL)
    expect(await world.verify(world.sign(credential, signer=FOREIGN_KEY)), "invalid", "issuer_key", "failed")


async def test_a_key_of_the_providers_for_something_else_is_invalid(world: World) -> None:
    world.key(FOREIGN_KEY, UCL, facts_pb2.KEY_USE_STATUS_LIST)
    compact = world.sign(world.credential(), signer=FOREIGN_KEY)
    expect(await world.verify(compact), "invalid", "issuer_key", "failed")


@pytest.mark.parametrize(
    "change",
    [
        {"valid_from": ISSUED + timedelta(seconds=1)},
        {"valid_until": ISSUED},
        {"compromised_from": ISSUED},
    ],
)
async def test_a_key_that_did_not_count_at_issuance_is_invalid(world: World, change: dict[str, Any]) -> None:
    compact = world.issue()
    world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, **change)
    expect(await world.verify(compact), "invalid", "issuer_key", "failed")


async def test_nothing_is_fetched_on_the_word_of_who_did_not_sign(world: World) -> None:
    compact = world.sign(world.credential(), signer=FOREIGN_KEY, key_id=PROVIDER_KEY.key_id)
    verification = await world.verify(compact)
    assert world.publisher.fetches == 0
    assert verification.headline.startswith("Invalid: the signature does not hold")
    assert outcomes(verification)["status_list"] == outcomes(verification)["log_inclusion"] == "skipped"


@pytest.mark.parametrize("signer", [HOLDER_KEY, FOREIGN_KEY])
async def test_a_key_binding_must_be_the_holders(world: World, signer: LocalSigner) -> None:
    whole = sd_jwt_vc.parse(world.issue(holder=HOLDER_KEY.public_key)).sd_jwt
    binding = HolderBinding(signer=signer, audience="https://employer.example", nonce="n", issued_at=NOW)
    presentation = whole.present(lambda path: path == ("grade",), holder=binding)
    verification = await world.verify(presentation)
    if signer is HOLDER_KEY:
        expect(verification, "valid", "signature", "passed")
    else:
        expect(verification, "invalid", "signature", "failed")


async def test_a_key_binding_of_another_presentation_is_invalid(world: World) -> None:
    whole = sd_jwt_vc.parse(world.issue(holder=HOLDER_KEY.public_key)).sd_jwt
    binding = HolderBinding(signer=HOLDER_KEY, audience="https://employer.example", nonce="n", issued_at=NOW)
    bound = whole.present(lambda path: path == ("grade",), holder=binding).rsplit("~", 1)[1]
    verification = await world.verify(whole.present(lambda path: False) + bound)
    expect(verification, "invalid", "signature", "failed")


# --- Dates ---


@pytest.mark.parametrize(
    "change",
    [
        {"expires_on": date(2026, 11, 21)},
        {"awarded_on": date(2026, 11, 23)},
        {"at": NOW + timedelta(minutes=2)},
    ],
)
async def test_dates_must_hold(world: World, change: dict[str, Any]) -> None:
    expect(await world.verify(world.issue(**change)), "invalid", "validity", "failed")


async def test_it_is_valid_until_the_day_it_expires(world: World) -> None:
    expect(await world.verify(world.issue(expires_on=date(2026, 11, 22))), "valid", "validity", "passed")


# --- What nobody foresaw ---


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("check_structure", ["structure"]),
        ("check_validity", ["validity"]),
        ("check_mandatory_elements", ["mandatory_elements"]),
        ("check_registry", ["registry"]),
        ("check_issuer", ["issuer"]),
        ("check_issuer_key", ["issuer_key"]),
        ("check_signature", ["signature"]),
        ("check_accreditation", ["accreditation_then", "not_withdrawn_backwards", "accreditation_today"]),
        ("check_decision", ["decision"]),
        ("check_catalogue", ["catalogue"]),
        ("check_recognised", ["recognition"]),
        ("check_status", ["status_list", "not_revoked", "not_suspended"]),
        ("check_log_inclusion", ["log_inclusion"]),
    ],
)
async def test_a_check_that_breaks_determines_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, function: str, told: list[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("Kari")

    monkeypatch.setattr(verification_module, function, broken)
    verification = await world.verify(world.issue())
    for name in told:
        expect(verification, "not_determinable", name, "not_determinable")
        assert "incident" in detail(verification, name)
    assert list(outcomes(verification)) == [name for name in ON_FAILURE if name not in UNTOLD or name in told]
    assert "unexpected RuntimeError" in caplog.text
    assert "Kari" not in caplog.text + to_text(replace(verification, credential=None))


async def test_a_source_that_breaks_determines_nothing(world: World) -> None:
    world.log.failure = RuntimeError("nobody foresaw it")
    expect(await world.verify(world.issue()), "not_determinable", "log_inclusion", "not_determinable")


async def test_work_of_a_strange_size_is_an_answer_too(world: World) -> None:
    world.catalogue = False
    strange = credential_pb2.Achievement()
    strange.CopyFrom(world.achievement)
    strange.workload.points = "plenty"
    expect(await world.verify(world.issue(achievement=strange)), "invalid", "structure", "failed")


async def test_a_disclosure_that_is_not_ascii_is_an_answer_too(world: World) -> None:
    issuer_signed, _ = world.issue().split("~", 1)
    expect(await world.verify(f"{issuer_signed}~é~"), "invalid", "structure", "failed")


# --- What can't be read ---


def payload_changed(compact: str, change: Callable[[dict[str, Any]], None]) -> str:
    issuer_signed, rest = compact.split("~", 1)
    head, body, tail = issuer_signed.split(".")
    claims = json.loads(from_b64url(body))
    change(claims)
    return f"{head}.{b64url(json.dumps(claims).encode())}.{tail}~{rest}"


async def test_a_swapped_status_index_breaks_the_signature(world: World) -> None:
    def swap(claims: dict[str, Any]) -> None:
        claims["status"]["status_list"]["idx"] = 8

    expect(await world.verify(payload_changed(world.issue(), swap)), "invalid", "signature", "failed")


async def test_a_forged_title_is_not_repeated_as_if_somebody_had_issued_it(world: World) -> None:
    def grander(claims: dict[str, Any]) -> None:
        claims["achievement"]["title"] = {"en": "Something grander"}

    verification = await world.verify(payload_changed(world.issue(), grander))
    expect(verification, "invalid", "signature", "failed")
    assert verification.headline == (
        "Invalid: the signature does not hold: it was changed, or signed by somebody else."
    )


async def test_a_changed_name_belongs_to_no_digest(world: World) -> None:
    issuer_signed, first, *rest = world.issue().split("~")
    salt, name, _ = json.loads(from_b64url(first))
    forged = b64url(json.dumps([salt, name, "Somebody Else"]).encode())
    expect(await world.verify("~".join((issuer_signed, forged, *rest))), "invalid", "structure", "failed")


async def test_alg_none_is_refused(world: World) -> None:
    issuer_signed, rest = world.issue().split("~", 1)
    _, body, _ = issuer_signed.split(".")
    for header in ({"alg": "none", "typ": "dc+sd-jwt"}, {"alg": "HS256", "typ": "dc+sd-jwt"}):
        head = b64url(json.dumps(header).encode())
        for signature in ("", "AA"):
            verification = await world.verify(f"{head}.{body}.{signature}~{rest}")
            expect(verification, "invalid", "structure", "failed")


async def test_truncated_anywhere_is_invalid(world: World) -> None:
    compact = world.issue()
    parts = compact.split("~")
    lengths = range(0, len(compact), 97)
    for cut in (compact[:length] for length in lengths):
        verification = await world.verify(cut)
        # A holder may withhold whole disclosures; anything else is not a credential any more.
        whole = cut.endswith("~") and cut.rstrip("~").split("~") == parts[: cut.count("~")]
        assert verdict_word(verification) == ("valid" if whole else "invalid"), cut[-20:]


async def test_what_looks_cut_is_told_as_that(world: World) -> None:
    compact = world.issue()
    signed_part = compact.index("~")
    for length in (signed_part, signed_part - 9, signed_part + 9, len(compact) - 9):
        verification = await world.verify(compact[:length])
        expect(verification, "invalid", "structure", "failed")
        assert "it looks cut" in verification.headline
        assert "(SD_JWT_MALFORMED)" in verification.headline
    plain = signing_input({"alg": "ES256", "typ": "JWT", "kid": PROVIDER_KEY.key_id}, b"{}")
    other = await world.verify(f"{plain.decode()}.AAAA")
    assert "(WRONG_TYPE)" in other.headline


@pytest.mark.parametrize("text", ["", "~", "..~", "hello", "ø" * 100, "a" * 300_000, '{"credential":1}', "\x00~\x00"])
async def test_anything_else_is_an_answer_too(world: World, text: str) -> None:
    verification = await world.verify(text)
    expect(verification, "invalid", "structure", "failed")
    assert list(outcomes(verification)) == [name for name in ON_FAILURE if name not in UNTOLD]
    assert verification.headline.startswith("Invalid: it can't be read")


async def test_another_type_of_credential_is_not_ours(world: World) -> None:
    claims = {"vct": "https://other.example/type", "iss": "https://other.example"}
    data = signing_input({"alg": "ES256", "typ": "dc+sd-jwt", "kid": PROVIDER_KEY.key_id}, json.dumps(claims).encode())
    verification = await world.verify(complete(data, PROVIDER_KEY.sign(data)) + "~")
    expect(verification, "invalid", "structure", "failed")


async def test_an_address_that_no_rule_covers_is_not_determinable(world: World) -> None:
    compact = world.issue(status=StatusReference("http://169.254.169.254/latest", 7))
    expect(await world.verify(compact), "not_determinable", "status_list", "not_determinable")


# --- The registry's past ---


async def test_a_registry_that_tells_another_past_than_it_logged_is_found_out(world: World) -> None:
    compact = world.issue()
    world.log_facts()
    expect(await world.verify(compact), "valid", "registry_logged", "passed")
    # Years later the registry serves another accreditation under the same revision: the provider's own signature tells.
    world.accreditation.accreditation.scope.credential_kinds.append("dk.module")
    verification = await world.verify(compact)
    expect(verification, "invalid", "accreditation_cited", "failed")
    assert "shows another accreditation" in detail(verification, "accreditation_cited")
    # Without a citation the log tells, by name.
    world.accreditation.accreditation.scope.credential_kinds.remove("dk.module")
    uncited = world.sign(world.credential(accreditation_digest=""))
    world.accreditation.accreditation.scope.credential_kinds.append("dk.module")
    verification = await world.verify(uncited)
    expect(verification, "not_determinable", "registry_logged", "not_determinable")
    assert outcomes(verification)["accreditation_cited"] == "skipped"
    assert f"accreditation {uuid(0xA001)} revision 1 as the registry shows it" in detail(
        verification, "registry_logged"
    )


async def test_a_key_that_was_not_logged_as_it_is_shown_is_found_out(world: World) -> None:
    compact = world.issue()
    world.log_facts()
    entry = next(fact for fact in world.chronicle.facts if fact.key.id == PROVIDER_KEY.key_id)
    entry.key.valid_from.CopyFrom(timestamp(T0 - timedelta(days=1)))
    verification = await world.verify(compact)
    expect(verification, "not_determinable", "registry_logged", "not_determinable")
    assert f"key {PROVIDER_KEY.key_id} revision 1" in detail(verification, "registry_logged")


async def test_a_fact_that_is_on_its_way_to_the_log_is_waited_for(world: World) -> None:
    world.logged_facts = len(world.chronicle.facts)
    clock = ManualClock(T0 + timedelta(minutes=10))
    world.clock = world.publisher._clock = clock
    compact = world.issue(at=clock.now())
    expect(await world.verify(compact), "not_determinable", "registry_logged", "not_determinable")
