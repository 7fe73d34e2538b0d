"""What may be changed by whom: each refusal beside the neighbour that is allowed, without a database."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from services.registry import accreditations, catalogue, closing, decisions, keys, organisations
from services.registry.desk import Desk
from tests.unit.accreditation_samples import (
    ALL,
    COLLEGE,
    DAI,
    FAGSKOLE,
    HKDIR,
    NOKUT,
    NOW,
    OPERATOR,
    PRIVATE,
    SUSPENDED,
    UCL,
    UIB,
    UIO,
    WITHDRAWN,
    Chronicle,
    achievement,
    days,
    scope,
    text,
    uuid,
)
from vitne.accreditation import instant, timestamp
from vitne.clock import ManualClock
from vitne.credentials.jose import LocalSigner
from vitne.errors import VitneError
from vitne.identifiers import UuidFactory
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2, registry_pb2

ECTS5 = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects")
MODULES = scope("no.fagskole.module", credit_unit="no.fagskolepoeng", educations=["fvt.eldrehelse"])
ACCREDITATION = uuid(0xA001)
P256 = LocalSigner(ec.derive_private_key(77, ec.SECP256R1()))
OTHER_P256 = LocalSigner(ec.derive_private_key(78, ec.SECP256R1()))
ED = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
SECOND = timedelta(seconds=1)


def remit(authority: str) -> facts_pb2.Remit:
    return {
        NOKUT: facts_pb2.Remit(
            country="NO",
            provider_kinds=["no.university", "no.fagskole"],
            accreditation_kinds=["no.self_accrediting", "no.fagskole.programme", "no.fagskole.field"],
        ),
        HKDIR: facts_pb2.Remit(
            country="NO", provider_kinds=["no.private_provider"], accreditation_kinds=["no.non_formal_approval"]
        ),
        DAI: facts_pb2.Remit(
            country="DK", provider_kinds=["dk.business_academy"], accreditation_kinds=["dk.institution"]
        ),
    }[authority]


def world() -> Chronicle:
    """Three authorities; a fagskole, a private provider, a closed university, and UCL with an accreditation."""
    chronicle = Chronicle()
    for authority in (NOKUT, HKDIR, DAI):
        entry = facts_pb2.Authority(id=authority, name=[text(authority)], remit=remit(authority), revision=1)
        chronicle.record(authority, actor=OPERATOR, authority=entry)
    for provider in (FAGSKOLE, PRIVATE, UCL, COLLEGE):
        chronicle.provider(provider)
    chronicle.provider(UIB, closed_at=timestamp(days(1)))
    chronicle.accredit(UCL, "dk.institution", ECTS5, authority=DAI, valid_from=days(10))
    return chronicle


def desk(caller: str, chronicle: Chronicle | None = None, now: datetime = NOW, officer: str = "one") -> Desk:
    projection = (chronicle or world()).projection()
    return Desk(projection, ALL, OPERATOR, caller, now, UuidFactory(ManualClock(now)), officer)


def agreed(act: Any, caller: str, chronicle: Chronicle | None, request: Any) -> facts_pb2.Fact:
    """What one officer proposes and another confirms at once; the chronicle stays as it was."""
    known = copy.deepcopy(chronicle or world())
    proposal = act(desk(caller, known), request)
    assert not proposal.HasField("accreditation")
    recorded = known.record(proposal.subject, actor=caller, officer=proposal.officer, case_step=proposal.case_step)
    recorded.recorded_at.CopyFrom(timestamp(NOW))
    proposed = recorded.case_step
    confirmation = registry_pb2.ConfirmDecisionRequest(accreditation_id=proposed.id, base_revision=proposed.revision)
    return decisions.confirm(desk(caller, known, officer="two"), confirmation)


def refusal(act: Callable[[], object]) -> tuple[str, str]:
    """Reason and field of the refusal, which has a rule and a remedy."""
    with pytest.raises(VitneError) as caught:
        act()
    assert caught.value.rule
    assert caught.value.remedy
    return str(caught.value.reason), caught.value.field


# --- Authorities and providers ---------------------------------------------------------------------


def set_up(caller: str = OPERATOR, **changes: Any) -> Callable[[], facts_pb2.Fact]:
    fields = {
        "country": "NO",
        "provider_kinds": ["no.university"],
        "accreditation_kinds": ["no.self_accrediting"],
        **changes,
    }
    entry = facts_pb2.Authority(
        id=fields.pop("id", UIO), name=fields.pop("name", [text("A")]), remit=facts_pb2.Remit(**fields)
    )
    return lambda: organisations.register_authority(
        desk(caller), registry_pb2.RegisterAuthorityRequest(authority=entry)
    )


def test_the_operator_sets_up_authorities() -> None:
    fact = set_up()()
    assert (fact.subject, fact.authority.remit.country) == (UIO, "NO")


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"caller": NOKUT}, "NOT_THE_OPERATOR", ""),
        ({"id": NOKUT}, "AUTHORITY_EXISTS", "authority.id"),
        ({"country": "FI"}, "UNKNOWN_COUNTRY", "authority.remit.country"),
        ({"provider_kinds": ["dk.university"]}, "UNKNOWN_TERM", "authority.remit.provider_kinds[0]"),
        ({"accreditation_kinds": ["dk.institution"]}, "UNKNOWN_TERM", "authority.remit.accreditation_kinds[0]"),
        ({"provider_kinds": ["no.county"]}, "REMIT_CONTRADICTS", "authority.remit.accreditation_kinds[0]"),
        ({"name": [text("A"), text("B")]}, "LANGUAGE_REPEATED", "authority.name[1].language"),
    ],
)
def test_authorities_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(set_up(**changes)) == (reason, field)


def enter(caller: str = NOKUT, **changes: Any) -> Callable[[], facts_pb2.Fact]:
    fields: dict[str, Any] = {
        "id": UIO,
        "name": [text("UiO")],
        "country": "NO",
        "kind": "no.university",
        "issuer_uri": "https://vitne.example/issuers/uio",
        "revision": 7,
        "closed_at": timestamp(NOW),
        **changes,
    }
    request = registry_pb2.RegisterProviderRequest(provider=facts_pb2.Provider(**fields))
    return lambda: organisations.register_provider(desk(caller), request)


def test_an_authority_enters_providers_of_its_remit() -> None:
    fact = enter()()
    assert fact.subject == UIO
    assert fact.provider.revision == 1, "the registry's to set"
    assert not fact.provider.HasField("closed_at"), "the registry's to set"


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"caller": UIO}, "NOT_AN_AUTHORITY", ""),
        ({"caller": DAI}, "OUTSIDE_REMIT", "provider.country"),
        ({"kind": "no.county"}, "OUTSIDE_REMIT", "provider.kind"),
        ({"kind": "no.academy"}, "UNKNOWN_TERM", "provider.kind"),
        ({"country": "FI"}, "UNKNOWN_COUNTRY", "provider.country"),
        ({"id": "0184:30773047"}, "COUNTRY_CONTRADICTS", "provider.country"),
        ({"id": FAGSKOLE}, "PROVIDER_EXISTS", "provider.id"),
        ({"issuer_uri": f"https://vitne.example/issuers/{UCL}"}, "ISSUER_URI_TAKEN", "provider.issuer_uri"),
        ({"name": [text("A", "nb"), text("B", "NB")]}, "LANGUAGE_REPEATED", "provider.name[1].language"),
    ],
)
def test_providers_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(enter(**changes)) == (reason, field)


def amend_authority(caller: str = OPERATOR, **changes: Any) -> Callable[[], facts_pb2.Fact]:
    fields: dict[str, Any] = {
        "authority": NOKUT,
        "base_revision": 1,
        "name": [text("New name")],
        "remit": facts_pb2.Remit(
            country="NO", provider_kinds=["no.university"], accreditation_kinds=["no.self_accrediting"]
        ),
        "ground": "regulation 1",
        **changes,
    }
    chronicle = fields.pop("chronicle", None) or world()
    request = registry_pb2.AmendAuthorityRequest(**fields)
    return lambda: organisations.amend_authority(desk(caller, chronicle), request)


def test_the_operator_gives_an_authority_another_remit() -> None:
    chronicle = world()
    known_before = len(chronicle.facts)
    fact = amend_authority(chronicle=chronicle)()
    assert (fact.subject, fact.authority.revision, fact.authority.ground) == (NOKUT, 2, "regulation 1")
    chronicle.record(NOKUT, actor=OPERATOR, authority=fact.authority)
    projection = chronicle.projection()
    for known_at, kinds in [(None, ["no.university"]), (known_before, ["no.university", "no.fagskole"])]:
        entry = projection.authority(NOKUT, known_at)
        assert entry is not None
        assert list(entry.remit.provider_kinds) == kinds
    # What it no longer answers for, it no longer decides on.
    request = registry_pb2.GrantAccreditationRequest(provider=FAGSKOLE, kind="no.fagskole.programme", scope=MODULES)
    act = lambda: agreed(decisions.grant, NOKUT, chronicle, request)  # noqa: E731
    assert refusal(act) == ("OUTSIDE_REMIT", "provider")
    assert amend_authority(chronicle=chronicle, base_revision=2)().authority.revision == 3


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"caller": NOKUT}, "NOT_THE_OPERATOR", ""),
        ({"authority": UIO}, "AUTHORITY_UNKNOWN", "authority"),
        ({"base_revision": 2}, "REVISION_MOVED", "base_revision"),
        ({"name": [text("A"), text("B")]}, "LANGUAGE_REPEATED", "name[1].language"),
        ({"remit": remit(DAI)}, "COUNTRY_CONTRADICTS", "remit.country"),
        ({"remit": facts_pb2.Remit(country="NO", provider_kinds=["no.academy"])}, "UNKNOWN_TERM",
         "remit.provider_kinds[0]"),
        ({"remit": facts_pb2.Remit(country="NO", provider_kinds=["no.county"],
          accreditation_kinds=["no.self_accrediting"])}, "REMIT_CONTRADICTS", "remit.accreditation_kinds[0]"),
    ],
)  # fmt: skip
def test_amendments_of_authorities_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(amend_authority(**changes)) == (reason, field)


def close(
    caller: str = DAI, chronicle: Chronicle | None = None, closed_at: datetime | None = None, **changes: Any
) -> Callable[[], facts_pb2.Fact]:
    fields: dict[str, Any] = {"provider": UCL, "base_revision": 1, "ground": "merged", **changes}
    request = registry_pb2.CloseProviderRequest(**fields)
    if closed_at is not None:
        request.closed_at.CopyFrom(timestamp(closed_at))
    return lambda: closing.propose(desk(caller, chronicle, officer="one"), request)


def closed_by(chronicle: Chronicle, **changes: Any) -> facts_pb2.Provider:
    """What becomes of a proposal when another officer confirms it at once."""
    entry = agreed(lambda _desk, _request: close(chronicle=chronicle, **changes)(), DAI, chronicle, None).provider
    return chronicle.record(UCL, actor=DAI, provider=entry).provider


def test_an_authority_closes_a_provider_from_now_or_an_instant_to_come() -> None:
    said = closed_by(world())
    assert (said.id, said.revision, instant(said.closed_at), said.ground) == (UCL, 2, NOW, "merged")
    assert said.issuer_uri == f"https://vitne.example/issuers/{UCL}"
    assert instant(closed_by(world(), closed_at=NOW - 30 * SECOND).closed_at) == NOW, "it never reaches back"
    chronicle = world()
    closed_by(chronicle, closed_at=NOW + 9 * SECOND)
    # Until then it is open, and the end may be moved.
    published(chronicle=chronicle)()
    sooner = closed_by(chronicle, base_revision=2, closed_at=NOW + SECOND)
    assert instant(sooner.closed_at) == NOW + SECOND
    closed = desk(DAI, chronicle, NOW + SECOND)
    request = registry_pb2.CloseProviderRequest(provider=UCL, base_revision=3)
    assert refusal(lambda: closing.propose(closed, request)) == ("PROVIDER_CLOSED", "provider")


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"caller": UCL}, "NOT_AN_AUTHORITY", ""),
        ({"caller": NOKUT}, "OUTSIDE_REMIT", "provider"),
        ({"caller": NOKUT, "provider": PRIVATE}, "OUTSIDE_REMIT", "provider"),
        ({"provider": UIO}, "PROVIDER_UNKNOWN", "provider"),
        ({"caller": NOKUT, "provider": UIB}, "PROVIDER_CLOSED", "provider"),
        ({"base_revision": 2}, "REVISION_MOVED", "base_revision"),
        ({"closed_at": NOW - 61 * SECOND}, "CLOSED_BACKWARDS", "closed_at"),
    ],
)
def test_closures_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(close(**changes)) == (reason, field)


# --- Keys ------------------------------------------------------------------------------------------


def register(caller: str = UCL, signer: LocalSigner = P256, **changes: Any) -> Callable[[], facts_pb2.Fact]:
    fields: dict[str, Any] = {
        "owner": caller,
        "use": facts_pb2.KEY_USE_CREDENTIAL,
        "public_jwk": json.dumps(signer.public_jwk | {"alg": "whatever"}),
        "valid_from": timestamp(days(5)),
        **changes,
    }
    return lambda: keys.register_key(desk(caller), registry_pb2.RegisterKeyRequest(key=facts_pb2.Key(**fields)))


def test_a_provider_enters_a_key_of_its_own() -> None:
    key = register(valid_until=timestamp(days(6)))().key
    assert (key.id, key.revision, key.owner) == (P256.key_id, 1, UCL)
    assert json.loads(key.public_jwk) == P256.public_jwk, "only the members that define the key"
    assert register(id=P256.key_id)().key.id == P256.key_id
    assert register(signer=ED)().key.id == ED.key_id, "for Data Integrity proofs"


@pytest.mark.parametrize(
    ("use", "signer"),
    [
        (facts_pb2.KEY_USE_STATUS_LIST, P256),
        (facts_pb2.KEY_USE_CHECKPOINT, ED),
        (facts_pb2.KEY_USE_TRUST_LIST, P256),
    ],
)
def test_the_operator_enters_the_keys_of_the_installation(use: facts_pb2.KeyUse.ValueType, signer: LocalSigner) -> None:
    assert register(OPERATOR, signer, use=use)().key.use == use
    assert refusal(register(UCL, signer, use=use)) == ("NOT_THE_OPERATOR", "")
    assert refusal(register(OPERATOR, ED if signer is P256 else P256, use=use)) == ("KEY_TYPE_WRONG", "key.public_jwk")


def test_an_authority_enters_keys_for_its_accreditations() -> None:
    key = register(NOKUT, use=facts_pb2.KEY_USE_ACCREDITATION)().key
    assert (key.owner, key.use) == (NOKUT, facts_pb2.KEY_USE_ACCREDITATION)
    assert refusal(register(UCL, use=facts_pb2.KEY_USE_ACCREDITATION)) == ("NOT_AN_AUTHORITY", "")
    assert refusal(register(NOKUT, ED, use=facts_pb2.KEY_USE_ACCREDITATION)) == ("KEY_TYPE_WRONG", "key.public_jwk")


PRIVATE_JWK = json.dumps(P256.public_jwk | {"d": "AAAA"})


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"owner": UIO}, "FOREIGN_KEY", "key.owner"),
        ({"caller": UIO}, "PROVIDER_UNKNOWN", "key.owner"),
        ({"caller": UIB}, "PROVIDER_CLOSED", "key.owner"),
        ({"public_jwk": PRIVATE_JWK}, "PRIVATE_KEY_SENT", "key.public_jwk"),
        ({"public_jwk": "{"}, "BAD_JSON", "key.public_jwk"),
        ({"public_jwk": "{}"}, "BAD_JWK", "key.public_jwk"),
        ({"id": OTHER_P256.key_id}, "KEY_ID_CONTRADICTS", "key.id"),
        ({"valid_until": timestamp(days(5))}, "DATES_CONTRADICT", "key.valid_until"),
    ],
)
def test_keys_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(register(**changes)) == (reason, field)


def retire(chronicle: Chronicle, caller: str = UCL, key_id: str = P256.key_id, **instants: datetime) -> facts_pb2.Key:
    request = registry_pb2.RetireKeyRequest(key_id=key_id)
    for name, moment in instants.items():
        getattr(request, name).CopyFrom(timestamp(moment))
    fact = keys.retire_key(desk(caller, chronicle), request)
    chronicle.record(UCL, key=fact.key)
    return fact.key


def with_key() -> Chronicle:
    chronicle = world()
    chronicle.record(UCL, key=register()().key)
    return chronicle


def test_a_key_is_entered_once_and_for_one_use() -> None:
    request = registry_pb2.RegisterKeyRequest(
        key=facts_pb2.Key(
            owner=OPERATOR,
            use=facts_pb2.KEY_USE_STATUS_LIST,
            public_jwk=json.dumps(P256.public_jwk),
            valid_from=timestamp(NOW),
        )
    )
    act = lambda: keys.register_key(desk(OPERATOR, with_key()), request)  # noqa: E731
    assert refusal(act) == ("KEY_EXISTS", "key.public_jwk")


def test_a_key_ends_now_or_later_and_only_a_compromise_reaches_back() -> None:
    chronicle = with_key()
    assert refusal(lambda: retire(chronicle, key_id=OTHER_P256.key_id)) == ("KEY_UNKNOWN", "key_id")
    assert refusal(lambda: retire(chronicle, caller=FAGSKOLE)) == ("FOREIGN_KEY", "key_id")
    assert refusal(lambda: retire(chronicle, valid_until=NOW - SECOND)) == ("RETIRED_BACKWARDS", "valid_until")
    assert refusal(lambda: retire(chronicle, valid_until=days(4))) == ("DATES_CONTRADICT", "valid_until")
    later = retire(chronicle, valid_until=NOW + 9 * SECOND)
    assert (later.revision, instant(later.valid_until)) == (2, NOW + 9 * SECOND)
    assert refusal(lambda: retire(chronicle, valid_until=NOW + 10 * SECOND)) == ("KEY_ENDS_EARLIER", "valid_until")
    now = retire(chronicle)
    assert (now.revision, instant(now.valid_until)) == (3, NOW)
    assert refusal(lambda: retire(chronicle, compromised_from=NOW + SECOND)) == ("DATES_CONTRADICT", "compromised_from")
    known = retire(chronicle, compromised_from=days(60))
    assert instant(known.compromised_from) == days(60)
    assert refusal(lambda: retire(chronicle, compromised_from=days(61))) == (
        "COMPROMISE_STATED_EARLIER",
        "compromised_from",
    )
    assert instant(retire(chronicle, compromised_from=days(59)).compromised_from) == days(59)
    assert instant(retire(chronicle).compromised_from) == days(59), "what was stated stays stated"


def test_an_end_that_is_known_is_not_moved_into_the_past_without_a_compromise() -> None:
    chronicle = with_key()
    retire(chronicle, valid_until=NOW + 9 * SECOND)
    assert refusal(lambda: retire(chronicle, valid_until=NOW - SECOND)) == ("RETIRED_BACKWARDS", "valid_until")
    assert refusal(lambda: retire(chronicle, valid_until=days(4))) == ("DATES_CONTRADICT", "valid_until")
    # A compromise of today is no ground for what was signed before it.
    late: dict[str, Any] = {"valid_until": days(50), "compromised_from": days(51)}
    assert refusal(lambda: retire(chronicle, **late)) == ("RETIRED_BACKWARDS", "valid_until")
    assert instant(retire(chronicle, valid_until=days(50), compromised_from=days(50)).valid_until) == days(50)
    # What has ended already ends there still, whoever says so again.
    assert instant(retire(chronicle, valid_until=days(50)).valid_until) == days(50)
    assert refusal(lambda: retire(chronicle, valid_until=days(49))) == ("RETIRED_BACKWARDS", "valid_until")


# --- Accreditations --------------------------------------------------------------------------------


def grant(caller: str = NOKUT, **changes: Any) -> Callable[[], facts_pb2.Fact]:
    fields = {"provider": FAGSKOLE, "kind": "no.fagskole.programme", "scope": MODULES, **changes}
    # UCL's accreditation was withdrawn, so that it does not stand in the way of another.
    known = after((WITHDRAWN, days(20)))
    return lambda: agreed(decisions.grant, caller, known, registry_pb2.GrantAccreditationRequest(**fields))


def test_a_grant_counts_from_now_or_from_when_it_says() -> None:
    fact = grant(ground="case 1")()
    said = fact.accreditation
    assert (fact.subject, said.authority, said.revision) == (FAGSKOLE, NOKUT, 1)
    assert instant(said.valid_from) == instant(said.effective_from) == NOW
    assert said.state == facts_pb2.ACCREDITATION_STATE_GRANTED
    dated = grant(valid_from=timestamp(days(3)), valid_until=timestamp(days(4)), ground="case 0")().accreditation
    assert (instant(dated.valid_from), instant(dated.valid_until)) == (days(3), days(4))
    assert dated.effective_from == dated.valid_from
    # A clock that lags a little reaches back without meaning to.
    assert instant(grant(valid_from=timestamp(NOW - 60 * SECOND))().accreditation.valid_from) == NOW - 60 * SECOND


def fields_scope(*fields: str) -> facts_pb2.Scope:
    return scope("no.fagskole.module", credit_unit="no.fagskolepoeng", fields=fields)


def programme(**changes: Any) -> dict[str, Any]:
    fields = {"credit_unit": "no.fagskolepoeng", "educations": ["fvt.eldrehelse"], **changes}
    return {"scope": scope(*fields.pop("kinds", ["no.fagskole.module"]), **fields)}


def ucl(**changes: Any) -> dict[str, Any]:
    fields = {"levels": [("dk.nqf", "5")], "credit_unit": "ects", **changes}
    kinds = fields.pop("kinds", ["dk.micro_credential"])
    return {"caller": DAI, "provider": UCL, "kind": "dk.institution", "scope": scope(*kinds, **fields)}


def private(**changes: Any) -> dict[str, Any]:
    return {
        "caller": HKDIR,
        "provider": PRIVATE,
        "kind": "no.non_formal_approval",
        "scope": scope("no.kompetanseattest", **changes),
    }


@pytest.mark.parametrize(
    "changes",
    [
        programme(max_points="60"),
        # Since 2021 there is a rule for the vitnemål of so small an education, too.
        programme(kinds=["no.vitnemal"], levels=[("no.nkr", "5.1")], max_points="20"),
        programme(kinds=["no.fagskole.module", "no.vitnemal"], levels=[("no.nkr", "5.1"), ("no.nkr", "5.2")]),
        {"kind": "no.fagskole.field", "scope": fields_scope("09", "0411")},
        ucl(min_points="0.5", max_points="10"),
        ucl(levels=[]),
        ucl(kinds=["dk.micro_credential", "dk.module"]),
        private(),
    ],
)
def test_scopes_that_the_national_rules_know(changes: dict[str, Any]) -> None:
    assert grant(**changes)().accreditation.scope == changes["scope"]


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"caller": UCL}, "NOT_AN_AUTHORITY", ""),
        ({"provider": UIO}, "PROVIDER_UNKNOWN", "provider"),
        ({"provider": UIB, "kind": "no.self_accrediting"}, "PROVIDER_CLOSED", "provider"),
        ({"caller": DAI}, "OUTSIDE_REMIT", "provider"),
        ({"kind": "dk.institution"}, "UNKNOWN_TERM", "kind"),
        ({**ucl(), "caller": NOKUT}, "OUTSIDE_REMIT", "provider"),
        ({"caller": HKDIR}, "OUTSIDE_REMIT", "provider"),
        ({"kind": "no.fagskole.institution"}, "OUTSIDE_REMIT", "kind"),
        ({"provider": COLLEGE, "kind": "no.university_college.field"}, "OUTSIDE_REMIT", "provider"),
        ({"kind": "no.self_accrediting"}, "KIND_NOT_HELD", "kind"),
        (programme(kinds=["no.diploma"]), "UNKNOWN_TERM", "scope.credential_kinds[0]"),
        (programme(kinds=["no.kompetanseattest"]), "KIND_NOT_ALLOWED", "scope.credential_kinds[0]"),
        (programme(kinds=["no.fagskole.module"] * 2), "TERM_REPEATED", "scope.credential_kinds[1]"),
        (programme(credit_unit="ects"), "UNIT_NOT_ALLOWED", "scope.credit_unit"),
        (programme(credit_unit="kr"), "UNKNOWN_TERM", "scope.credit_unit"),
        (programme(credit_unit=""), "CREDITS_REQUIRED", "scope.credit_unit"),
        (programme(levels=[("no.nkr", "5.1")]), "LEVEL_NOT_ALLOWED", "scope.levels[0]"),
        (programme(levels=[("no.nkr", "5")]), "UNKNOWN_LEVEL", "scope.levels[0]"),
        (programme(educations=[]), "BOUND_REQUIRED", "scope.educations"),
        (programme(fields=["9"]), "BAD_FIELD_CODE", "scope.fields[0]"),
        (programme(min_points="2", max_points="1"), "SIZES_CONTRADICT", "scope.min_points"),
        (programme(fields=["0921", "09"]), "FIELDS_OVERLAP", "scope.fields[1]"),
        (programme(kinds=["no.vitnemal"]), "LEVEL_REQUIRED", "scope.levels"),
        ({"kind": "no.fagskole.field", "scope": fields_scope()}, "BOUND_REQUIRED", "scope.fields"),
        (ucl(levels=[("dk.nqf", "5"), ("dk.nqf", "6")]), "LEVEL_NOT_ALLOWED", "scope.levels[1]"),
        (ucl(levels=[("dk.nqf", "5"), ("dk.nqf", "5")]), "TERM_REPEATED", "scope.levels[1]"),
        (ucl(kinds=["dk.module"], levels=[]), "LEVEL_REQUIRED", "scope.levels"),
        (ucl(max_points="0.25"), "SIZE_BELOW_MINIMUM", "scope.max_points"),
        # The module alone could be that small; the micro-credential beside it could not.
        (ucl(kinds=["dk.module", "dk.micro_credential"], max_points="0.25"), "SIZE_BELOW_MINIMUM", "scope.max_points"),
        (ucl(kinds=["dk.nanomodule"]), "KIND_NOT_ALLOWED", "scope.credential_kinds[0]"),
        (private(levels=[("no.nkr", "3")]), "LEVEL_NOT_ALLOWED", "scope.levels[0]"),
        (private(credit_unit="ects"), "UNIT_NOT_ALLOWED", "scope.credit_unit"),
        (private(max_points="1"), "SIZE_WITHOUT_UNIT", "scope.max_points"),
        ({"valid_from": timestamp(NOW), "valid_until": timestamp(NOW)}, "DATES_CONTRADICT", "valid_until"),
        ({"valid_until": timestamp(NOW - SECOND)}, "DATES_CONTRADICT", "valid_until"),
        ({"valid_from": timestamp(NOW - 61 * SECOND)}, "GROUND_MISSING", "ground"),
        ({"valid_from": timestamp(NOW - 61 * SECOND), "ground": " "}, "GROUND_MISSING", "ground"),
    ],
)
def test_grants_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(grant(**changes)) == (reason, field)


def test_what_nobody_may_issue_is_refused_with_the_reason_why() -> None:
    with pytest.raises(VitneError) as caught:
        grant(**ucl(kinds=["dk.nanomodule"]))()
    assert caught.value.rule == "dk.nanomodule.earns_nothing"
    assert "suitable number" in caught.value.remedy


# --- What overlaps, and what must end --------------------------------------------------------------


def second(chronicle: Chronicle, **changes: Any) -> Callable[[], facts_pb2.Fact]:
    """Another accreditation for UCL, beside the one that it has."""
    fields = {k: v for k, v in ucl(**changes).items() if k != "caller"}
    return lambda: agreed(decisions.grant, DAI, chronicle, registry_pb2.GrantAccreditationRequest(**fields))


@pytest.mark.parametrize("changes", [{}, {"levels": []}, {"min_points": "2", "max_points": "5"}])
def test_an_accreditation_that_overlaps_another_of_its_kind_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(second(world(), **changes)) == ("SCOPES_OVERLAP", "scope")
    # What is suspended would otherwise be granted again by another name.
    assert refusal(second(after((SUSPENDED, days(20))), **changes)) == ("SCOPES_OVERLAP", "scope")
    second(after((WITHDRAWN, days(20))), **changes)()


@pytest.mark.parametrize(
    ("first", "changes"),
    [
        ({}, {"kinds": ["dk.module"]}),
        ({"max_points": "5"}, {"min_points": "6"}),
        ({"fields": ["09"]}, {"fields": ["0411"]}),
        ({"educations": ["ucl.a"]}, {"educations": ["ucl.b"]}),
    ],
)
def test_accreditations_that_cover_different_things_stand_beside_each_other(
    first: dict[str, Any], changes: dict[str, Any]
) -> None:
    chronicle = world()
    fields = {"levels": [("dk.nqf", "5")], "credit_unit": "ects", **first}
    chronicle.accredit(
        UCL, "dk.institution", scope("dk.micro_credential", **fields), authority=DAI, valid_from=days(10), revision=2
    )
    second(chronicle, **changes)()


def test_a_renewal_begins_where_the_accreditation_ends() -> None:
    chronicle = world()
    chronicle.accredit(
        UCL, "dk.institution", ECTS5, authority=DAI, valid_from=days(10), valid_until=NOW + SECOND, revision=2
    )
    fields = {k: v for k, v in ucl().items() if k != "caller"}

    def renew(begins: datetime) -> Callable[[], facts_pb2.Fact]:
        request = registry_pb2.GrantAccreditationRequest(valid_from=timestamp(begins), **fields)
        return lambda: agreed(decisions.grant, DAI, chronicle, request)

    assert refusal(renew(NOW)) == ("SCOPES_OVERLAP", "scope")
    assert instant(renew(NOW + SECOND)().accreditation.valid_from) == NOW + SECOND


def test_an_amendment_does_not_reach_into_another_accreditation() -> None:
    chronicle = world()
    modules = scope("dk.module", levels=[("dk.nqf", "5")], credit_unit="ects")
    chronicle.accredit(UCL, "dk.institution", modules, authority=DAI, valid_from=days(10), accreditation=0xA002)
    both = scope("dk.micro_credential", "dk.module", levels=[("dk.nqf", "5")], credit_unit="ects")
    assert refusal(lambda: change("amend", chronicle, scope=both)) == ("SCOPES_OVERLAP", "scope")
    # Its own older revision is no other accreditation.
    assert change("amend", chronicle, scope=ECTS5).revision == 2


def test_what_is_narrower_only_from_a_later_day_on_covers_until_then_what_it_does_now() -> None:
    chronicle, later = world(), NOW + timedelta(days=30)
    modules = scope("dk.module", levels=[("dk.nqf", "5")], credit_unit="ects")
    chronicle.accredit(
        UCL, "dk.institution", modules, authority=DAI, valid_from=days(10), revision=2, effective_from=later
    )
    fields = {k: v for k, v in ucl().items() if k != "caller"}

    def grant(begins: datetime) -> facts_pb2.Fact:
        request = registry_pb2.GrantAccreditationRequest(valid_from=timestamp(begins), **fields)
        return agreed(decisions.grant, DAI, chronicle, request)

    assert refusal(lambda: grant(NOW)) == ("SCOPES_OVERLAP", "scope")
    assert grant(later).accreditation.revision == 1


def test_an_amendment_is_held_against_what_others_cover_from_then_on_only() -> None:
    chronicle = world()
    modules = scope("dk.module", levels=[("dk.nqf", "5")], credit_unit="ects")
    ended: dict[str, Any] = {"authority": DAI, "valid_from": days(10), "accreditation": 0xA002}
    chronicle.accredit(UCL, "dk.institution", modules, **ended)
    chronicle.accredit(UCL, "dk.institution", modules, **ended, revision=2, state=WITHDRAWN, effective_from=days(20))
    both = scope("dk.micro_credential", "dk.module", levels=[("dk.nqf", "5")], credit_unit="ects")
    assert change("amend", chronicle, scope=both).scope == both


MYH = "0007:2021999905"
YH = "0007:5599999918"


def yh_world() -> Chronicle:
    chronicle = Chronicle()
    covers = facts_pb2.Remit(
        country="SE", provider_kinds=["se.yh_provider"], accreditation_kinds=["se.yh_programme", "se.yh_course"]
    )
    authority = facts_pb2.Authority(id=MYH, name=[text("MYH")], remit=covers, revision=1)
    chronicle.record(MYH, actor=OPERATOR, authority=authority)
    chronicle.provider(YH, country="SE", kind="se.yh_provider")
    return chronicle


def test_what_is_approved_for_a_limited_period_says_when_it_ends() -> None:
    chronicle = yh_world()
    fields: dict[str, Any] = {
        "provider": YH,
        "kind": "se.yh_course",
        "scope": scope("se.utbildningsbevis", educations=["yh.solceller"]),
    }
    end = timestamp(NOW + timedelta(days=700))

    def approve(**ends: Any) -> Callable[[], facts_pb2.Fact]:
        request = registry_pb2.GrantAccreditationRequest(**fields, **ends)
        return lambda: agreed(decisions.grant, MYH, chronicle, request)

    assert refusal(approve()) == ("END_REQUIRED", "valid_until")
    said = approve(valid_until=end)().accreditation
    assert said.valid_until == end
    said.ClearField("case_revision")  # The case is not recorded here.
    chronicle.record(YH, actor=MYH, accreditation=said)
    # An amendment replaces the end, so that it has to say it again.
    amended: dict[str, Any] = {"accreditation_id": said.id, "base_revision": 1, "scope": said.scope}

    def amend(**ends: Any) -> Callable[[], facts_pb2.Fact]:
        request = registry_pb2.AmendAccreditationRequest(**amended, **ends)
        return lambda: agreed(decisions.amend, MYH, chronicle, request)

    assert refusal(amend()) == ("END_REQUIRED", "valid_until")
    assert amend(valid_until=end)().accreditation.valid_until == end


CHANGES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "amend": (decisions.amend, registry_pb2.AmendAccreditationRequest, {"scope": ECTS5}),
    "suspend": (accreditations.suspend, registry_pb2.SuspendAccreditationRequest, {"ground": "case 2"}),
    "reinstate": (accreditations.reinstate, registry_pb2.ReinstateAccreditationRequest, {"ground": "case 3"}),
    "withdraw": (decisions.withdraw, registry_pb2.WithdrawAccreditationRequest, {"ground": "case 4"}),
}


def change(name: str, chronicle: Chronicle, caller: str = DAI, **changes: Any) -> facts_pb2.Accreditation:
    act, kind, fields = CHANGES[name]
    at = changes.pop("effective_from", None)
    request = kind(accreditation_id=ACCREDITATION, **{"base_revision": 1, **fields, **changes})
    if at is not None:
        request.effective_from.CopyFrom(timestamp(at))
    fact: facts_pb2.Fact = (
        act(desk(caller, chronicle), request)
        if act in {accreditations.suspend, accreditations.reinstate}
        else agreed(act, caller, chronicle, request)
    )
    assert fact.subject == UCL
    return fact.accreditation


def after(*revisions: tuple[facts_pb2.AccreditationState.ValueType, datetime]) -> Chronicle:
    """UCL's accreditation with further revisions: state, and from when."""
    chronicle = world()
    for number, (state, effective) in enumerate(revisions, start=2):
        chronicle.accredit(
            UCL,
            "dk.institution",
            ECTS5,
            authority=DAI,
            valid_from=days(10),
            revision=number,
            state=state,
            effective_from=effective,
        )
    return chronicle


def test_an_amendment_replaces_scope_and_end_and_nothing_else() -> None:
    narrower = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", max_points="5")
    said = change("amend", world(), scope=narrower, valid_until=timestamp(NOW + SECOND), ground="case 5")
    assert (said.revision, said.scope, said.ground) == (2, narrower, "case 5")
    assert (instant(said.valid_from), instant(said.valid_until)) == (days(10), NOW + SECOND)
    assert instant(said.effective_from) == NOW
    assert not change("amend", world()).HasField("valid_until")
    assert change("amend", after((SUSPENDED, days(20))), base_revision=2).state == SUSPENDED


def test_a_life_from_suspension_to_withdrawal() -> None:
    suspended = change("suspend", world())
    assert (suspended.state, instant(suspended.effective_from), suspended.ground) == (SUSPENDED, NOW, "case 2")
    reinstated = change("reinstate", after((SUSPENDED, days(20))), base_revision=2)
    assert reinstated.state == facts_pb2.ACCREDITATION_STATE_GRANTED
    withdrawn = change("withdraw", after((SUSPENDED, days(20))), base_revision=2)
    assert (withdrawn.state, instant(withdrawn.effective_from)) == (WITHDRAWN, NOW)
    backwards = change("withdraw", world(), effective_from=days(15))
    assert instant(backwards.effective_from) == days(15)
    further = change("withdraw", after((WITHDRAWN, days(20))), base_revision=2, effective_from=days(12))
    assert instant(further.effective_from) == days(12)


def test_a_change_of_what_takes_effect_later_takes_effect_then() -> None:
    later = NOW + timedelta(days=9)
    assert instant(change("reinstate", after((SUSPENDED, later)), base_revision=2).effective_from) == later
    assert instant(change("suspend", world(), effective_from=NOW - 30 * SECOND).effective_from) == NOW - 30 * SECOND


def test_a_suspension_is_ended_within_the_remit_and_of_a_provider_that_is_open_only() -> None:
    # What is taken back is never outside the remit; what is given again is.
    chronicle = after((SUSPENDED, days(20)))
    elsewhere = facts_pb2.Remit(country="DK", provider_kinds=["dk.university"], accreditation_kinds=["dk.institution"])
    entry = facts_pb2.Authority(id=DAI, name=[text(DAI)], remit=elsewhere, revision=2)
    chronicle.record(DAI, actor=OPERATOR, authority=entry)
    assert refusal(lambda: change("reinstate", chronicle, base_revision=2)) == ("OUTSIDE_REMIT", "provider")
    assert change("withdraw", chronicle, base_revision=2).state == WITHDRAWN
    closed = after((SUSPENDED, days(20)))
    closed.provider(UCL, revision=2, closed_at=timestamp(NOW))
    assert refusal(lambda: change("reinstate", closed, base_revision=2)) == ("PROVIDER_CLOSED", "accreditation_id")


@pytest.mark.parametrize("name", CHANGES)
def test_only_the_authority_that_granted_it_changes_an_accreditation_and_only_its_newest_revision(name: str) -> None:
    chronicle = after((SUSPENDED, days(20))) if name == "reinstate" else after((WITHDRAWN, days(20)))
    chronicle = world() if name in {"amend", "suspend", "withdraw"} else chronicle
    assert refusal(lambda: change(name, chronicle, caller=NOKUT)) == ("FOREIGN_ACCREDITATION", "accreditation_id")
    assert refusal(lambda: change(name, chronicle, caller=UCL)) == ("NOT_AN_AUTHORITY", "")
    assert refusal(lambda: change(name, chronicle, base_revision=9)) == ("REVISION_MOVED", "base_revision")
    act, kind, fields = CHANGES[name]
    unknown = kind(accreditation_id=uuid(0xDEAD), base_revision=1, **fields)
    assert refusal(lambda: act(desk(DAI, chronicle), unknown)) == ("ACCREDITATION_UNKNOWN", "accreditation_id")


@pytest.mark.parametrize(
    ("name", "chronicle", "changes", "reason", "field"),
    [
        ("suspend", after((SUSPENDED, days(20))), {"base_revision": 2}, "NOT_GRANTED", "accreditation_id"),
        ("reinstate", world(), {}, "NOT_SUSPENDED", "accreditation_id"),
        ("amend", after((WITHDRAWN, days(20))), {"base_revision": 2}, "ACCREDITATION_WITHDRAWN", "accreditation_id"),
        ("suspend", after((WITHDRAWN, days(20))), {"base_revision": 2}, "ACCREDITATION_WITHDRAWN", "accreditation_id"),
        ("reinstate", after((WITHDRAWN, NOW)), {"base_revision": 2}, "ACCREDITATION_WITHDRAWN", "accreditation_id"),
        ("withdraw", after((WITHDRAWN, days(20))), {"base_revision": 2}, "ACCREDITATION_WITHDRAWN", "accreditation_id"),
        ("withdraw", world(), {"effective_from": days(9)}, "DATES_CONTRADICT", "effective_from"),
        ("suspend", world(), {"effective_from": NOW - 61 * SECOND}, "EFFECTIVE_BACKWARDS", "effective_from"),
        ("amend", world(), {"effective_from": days(15)}, "EFFECTIVE_BACKWARDS", "effective_from"),
        (
            "reinstate",
            after((SUSPENDED, NOW + 9 * SECOND)),
            {"base_revision": 2, "effective_from": NOW},
            "DATES_CONTRADICT",
            "effective_from",
        ),
        ("amend", world(), {"valid_until": timestamp(days(10))}, "DATES_CONTRADICT", "valid_until"),
        (
            "amend",
            world(),
            {"scope": scope("dk.micro_credential", credit_unit="no.fagskolepoeng")},
            "UNKNOWN_TERM",
            "scope.credit_unit",
        ),
    ],
)
def test_changes_that_are_refused(
    name: str, chronicle: Chronicle, changes: dict[str, Any], reason: str, field: str
) -> None:
    assert refusal(lambda: change(name, chronicle, **changes)) == (reason, field)


# --- Catalogue -------------------------------------------------------------------------------------


def published(caller: str = UCL, chronicle: Chronicle | None = None, **changes: Any) -> Callable[[], facts_pb2.Fact]:
    fields: dict[str, Any] = {"workload": ("ects", "0.25"), "level": ("dk.nqf", "5"), **changes}
    offered = achievement(fields.pop("provider", UCL), "dk.micro_credential", **fields)
    request = registry_pb2.PublishAchievementRequest(achievement=offered)
    return lambda: catalogue.publish(desk(caller, chronicle), request)


def with_version(number: int) -> Chronicle:
    chronicle = world()
    for version in range(1, number + 1):
        chronicle.publish(achievement(UCL, "dk.micro_credential", version=version, workload=("ects", "1")))
    return chronicle


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"workload": ("", ""), "level": None},
        {"level": ("dk.nqf", "8"), "field": "0411"},
        {"chronicle": with_version(2), "version": 3},
    ],
)
def test_the_catalogue_takes_what_the_country_has_words_for(changes: dict[str, Any]) -> None:
    # Whether it may be issued is another question, decided at each issuance.
    assert published(**changes)().subject == UCL


def outcome(category: str, *texts: credential_pb2.LocalisedText) -> credential_pb2.LearningOutcome:
    return credential_pb2.LearningOutcome(category=category, text=texts or [text("Knows.")])


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"caller": FAGSKOLE}, "FOREIGN_ACHIEVEMENT", "achievement.provider"),
        ({"caller": FAGSKOLE, "provider": FAGSKOLE, "chronicle": with_version(1), "kind": "no.micro_credential",
          "level": None}, "FOREIGN_ACHIEVEMENT", "achievement.id"),
        ({"caller": UIO, "provider": UIO}, "PROVIDER_UNKNOWN", "achievement.provider"),
        ({"caller": UIB, "provider": UIB}, "PROVIDER_CLOSED", "achievement.provider"),
        ({"version": 2}, "VERSION_NOT_NEXT", "achievement.version"),
        ({"chronicle": with_version(1), "version": 1}, "VERSION_NOT_NEXT", "achievement.version"),
        ({"chronicle": with_version(1), "version": 3}, "VERSION_NOT_NEXT", "achievement.version"),
        ({"kind": "no.micro_credential"}, "UNKNOWN_TERM", "achievement.kind"),
        ({"workload": ("no.fagskolepoeng", "1")}, "UNKNOWN_TERM", "achievement.workload.unit"),
        ({"level": ("no.nkr", "5.1")}, "UNKNOWN_LEVEL", "achievement.level"),
        ({"level": ("dk.nqf", "9")}, "UNKNOWN_LEVEL", "achievement.level"),
        ({"outcomes": [outcome("skills"), outcome("general_competence")]}, "UNKNOWN_TERM",
         "achievement.outcomes[1].category"),
        ({"outcomes": [outcome("skills", text("A"), text("B"))]}, "LANGUAGE_REPEATED",
         "achievement.outcomes[0].text[1].language"),
        ({"field": "1"}, "BAD_FIELD_CODE", "achievement.field"),
        ({"title": [text("A"), text("B")]}, "LANGUAGE_REPEATED", "achievement.title[1].language"),
        ({"title": []}, "MANDATORY_ELEMENT_MISSING", "achievement.title"),
        ({"outcomes": []}, "MANDATORY_ELEMENT_MISSING", "achievement.outcomes"),
        ({"assessment": 0}, "MANDATORY_ELEMENT_MISSING", "achievement.assessment"),
        ({"participation": 0}, "MANDATORY_ELEMENT_MISSING", "achievement.participation"),
        ({"quality_assurance": credential_pb2.QualityAssurance()}, "MANDATORY_ELEMENT_MISSING",
         "achievement.quality_assurance"),
    ],
)  # fmt: skip
def test_achievements_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(published(**changes)) == (reason, field)


@pytest.mark.parametrize(
    ("workload", "reason", "field"),
    [
        ({}, "MANDATORY_ELEMENT_MISSING", "achievement.workload"),
        ({"unit": "ects", "hours": "5"}, "WORKLOAD_CONTRADICTS", "achievement.workload.points"),
        ({"points": "5"}, "WORKLOAD_CONTRADICTS", "achievement.workload.unit"),
        ({"unit": "ects", "points": "0.00"}, "WORKLOAD_CONTRADICTS", "achievement.workload.points"),
        ({"hours": "0"}, "WORKLOAD_CONTRADICTS", "achievement.workload.hours"),
    ],
)
def test_a_workload_says_how_much(workload: dict[str, str], reason: str, field: str) -> None:
    request = registry_pb2.PublishAchievementRequest(achievement=achievement(UCL, "dk.micro_credential"))
    request.achievement.workload.CopyFrom(credential_pb2.Workload(**workload))
    assert refusal(lambda: catalogue.publish(desk(UCL), request)) == (reason, field)
    request.achievement.workload.CopyFrom(credential_pb2.Workload(unit="ects", points="5", hours="130"))
    assert catalogue.publish(desk(UCL), request).achievement.workload.points == "5"
