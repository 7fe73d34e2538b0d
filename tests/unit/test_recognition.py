"""Recognition of prior learning: who may recognise what for what, what documents it, and what it counts as."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.portal.presentation import show
from services.portal.stacks import question
from tests.unit.accreditation_samples import ALL, COLLEGE, FAGSKOLE, PRIVATE, UCL, UIO, achievement, uuid
from tests.unit.credential_samples import sample_credential
from tests.unit.stacking_samples import answer, one, rule
from tests.unit.test_portal_presentation import kept
from vitne.canonical import digest_text
from vitne.credentials import sd_jwt_vc
from vitne.credentials.sd_jwt import Disclosable
from vitne.errors import InvalidArgument, VitneError
from vitne.frameworks import LAW, Frameworks, Standing
from vitne.runtime.rules import check_rules
from vitne.stacking import Outcome, Terms, check_recognition, counts_whole, held, recognised_by, responsible
from vitne.stacking import Standing as HeldStanding
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

TODAY = date(2026, 11, 21)
PORTFOLIO = digest_text(b"a portfolio")
PRIOR = credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING
ADMISSION, EXEMPTION, QUALIFICATION = (
    credential_pb2.RECOGNITION_PURPOSE_ADMISSION,
    credential_pb2.RECOGNITION_PURPOSE_EXEMPTION,
    credential_pb2.RECOGNITION_PURPOSE_QUALIFICATION,
)
FP = "no.fagskolepoeng"
#: Made-up organisations, one a country.
OTHER_FAGSKOLE, MUNICIPALITY, COUNTY = "0192:313000052", "0192:313000060", "0192:313000079"
INDUSTRY, OTHER_INDUSTRY = "0007:5599999918", "0007:5560125790"
CENTRE = "0196:7101990009"
UNIVERSITY_DK, COLLEGE_DK = "0184:29283958", "0184:30819213"


def offered(provider: str, kind: str, size: str = "", level: str = "", **changes: Any) -> credential_pb2.Achievement:
    """An achievement; ``size`` is "points unit", ``level`` "framework level"."""
    points, _, unit = size.partition(" ")
    framework, _, name = level.partition(" ")
    return achievement(provider, kind, workload=(unit, points), level=(framework, name) if level else None, **changes)


def outcome(provider: str, kind: str, **changes: Any) -> credential_pb2.Achievement:
    """What the body publishes to document what it recognises."""
    return offered(provider, kind, id=uuid(0xC100), assessment=PRIOR, **changes)


def act(against: credential_pb2.Achievement, **changes: Any) -> credential_pb2.Recognition:
    fields: dict[str, Any] = {
        "purpose": EXEMPTION,
        "methods": [credential_pb2.RECOGNITION_METHOD_PORTFOLIO, credential_pb2.RECOGNITION_METHOD_INTERVIEW],
        "evidence": [PORTFOLIO],
        "assessor": "Board of studies, health",
        "achievement_id": against.id,
        "achievement_version": against.version,
        **changes,
    }
    return credential_pb2.Recognition(**fields)


def body(provider: str, kind: str) -> facts_pb2.Provider:
    countries = {"0192": "NO", "0007": "SE", "0184": "DK", "0196": "IS"}
    return facts_pb2.Provider(id=provider, kind=kind, country=countries[provider[:4]])


MODULE = offered(FAGSKOLE, "no.fagskole.module", f"10 {FP}")
VITNEMAL = offered(FAGSKOLE, "no.vitnemal", f"60 {FP}", "no.nkr 5.2")
DEGREE = offered(UIO, "no.vitnemal", "180 ects", "no.nkr 6.2")
UPPER_SECONDARY = offered(COUNTY, "no.kompetansebevis")
PRIMARY = offered(MUNICIPALITY, "no.vitnemal", level="no.nkr 2")
ATTEST = offered(PRIVATE, "no.kompetanseattest")
DK_MODULE = offered(UCL, "dk.module", "5 ects", "dk.nqf 5")
DK_MASTER = offered(UNIVERSITY_DK, "dk.eksamensbevis", "10 ects", "dk.nqf 7")
MODEL = offered(INDUSTRY, "se.kvalifikationsbevis", assessment=PRIOR)
JOB = offered(CENTRE, "is.fagbref", level="is.isqf 2", assessment=PRIOR)
ASSESSED = "no.realkompetansevurdering"

#: Who recognises, against what, for what, documented by what; and why not, where a reason is named.
CASES = [
    # Norway: whoever is responsible at the level, for admission and exemption; never a whole qualification.
    ("the fagskole that has the module", FAGSKOLE, "no.fagskole", MODULE, EXEMPTION, ASSESSED, ""),
    ("another fagskole: the same level", OTHER_FAGSKOLE, "no.fagskole", MODULE, EXEMPTION, ASSESSED, ""),
    ("a fagskole, for admission", FAGSKOLE, "no.fagskole", VITNEMAL, ADMISSION, ASSESSED, ""),
    ("a fagskole gives no vitnemål by it", FAGSKOLE, "no.fagskole", VITNEMAL, QUALIFICATION, ASSESSED,
     "PURPOSE_NOT_ALLOWED"),
    ("a university, not for a fagskole's module", UIO, "no.university", MODULE, EXEMPTION, ASSESSED,
     "NOT_RESPONSIBLE"),
    ("a university for a degree", UIO, "no.university", DEGREE, EXEMPTION, ASSESSED, ""),
    ("a fagskole, not for a degree", FAGSKOLE, "no.fagskole", DEGREE, EXEMPTION, ASSESSED, "NOT_RESPONSIBLE"),
    ("by a micro-credential it is not documented", UIO, "no.university", DEGREE, EXEMPTION, "no.micro_credential",
     "KIND_DOES_NOT_DOCUMENT"),
    ("the county for upper secondary education", COUNTY, "no.county", UPPER_SECONDARY, EXEMPTION, ASSESSED, ""),
    ("the county, not for primary education", COUNTY, "no.county", PRIMARY, EXEMPTION, ASSESSED, "NOT_RESPONSIBLE"),
    ("the municipality for primary education", MUNICIPALITY, "no.municipality", PRIMARY, EXEMPTION, ASSESSED, ""),
    ("the municipality, not above it", MUNICIPALITY, "no.municipality", UPPER_SECONDARY, EXEMPTION, ASSESSED,
     "NOT_RESPONSIBLE"),
    ("a private provider, not even its own", PRIVATE, "no.private_provider", ATTEST, EXEMPTION, "no.kompetanseattest",
     "NOT_RESPONSIBLE"),
    # Denmark: the institution approved for the education, also as the whole, by exam certificate.
    ("a business academy as the whole", UCL, "dk.business_academy", DK_MODULE, QUALIFICATION, "dk.eksamensbevis", ""),
    ("by exam certificate, not by a badge", UCL, "dk.business_academy", DK_MODULE, QUALIFICATION,
     "dk.micro_credential", "KIND_DOES_NOT_DOCUMENT"),
    ("a master's part is the university's", UNIVERSITY_DK, "dk.university", DK_MASTER, EXEMPTION, "dk.eksamensbevis",
     ""),
    ("and no university college's", COLLEGE_DK, "dk.university_college", DK_MASTER, EXEMPTION, "dk.eksamensbevis",
     "NOT_RESPONSIBLE"),
    # Sweden and Iceland: against models and criteria of one's own.
    ("an industry against its own model", INDUSTRY, "se.industry_body", MODEL, QUALIFICATION,
     "se.kvalifikationsbevis", ""),
    ("and no other industry's", OTHER_INDUSTRY, "se.industry_body", MODEL, QUALIFICATION, "se.kvalifikationsbevis",
     "NOT_RESPONSIBLE"),
    ("a centre against its own job criteria", CENTRE, "is.social_partner_centre", JOB, QUALIFICATION, "is.fagbref",
     ""),
    ("a centre lets nobody in", CENTRE, "is.social_partner_centre", JOB, ADMISSION, "is.fagbref",
     "PURPOSE_NOT_ALLOWED"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "kind", "against", "purpose", "documented_by", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_who_may_recognise_what_for_what(
    provider: str, kind: str, against: credential_pb2.Achievement, purpose: Any, documented_by: str, reason: str
) -> None:
    said, issued = act(against, purpose=purpose), outcome(provider, documented_by)
    if not reason:
        rested_on = check_recognition(said, issued, against, body(provider, kind), ALL, decided_on=TODAY)
        assert rested_on.id.endswith(".recognition")
        assert len(rested_on.basis.passage) > 20
        return
    with pytest.raises(VitneError) as caught:
        check_recognition(said, issued, against, body(provider, kind), ALL, decided_on=TODAY)
    assert caught.value.reason == reason
    assert caught.value.rule
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("provider", "kind", "against"),
    [(UIO, "no.university_college", DEGREE), (OTHER_INDUSTRY, "se.university", MODEL)],
)
def test_where_no_source_says_who_recognises_the_refusal_says_that(
    provider: str, kind: str, against: credential_pb2.Achievement
) -> None:
    with pytest.raises(VitneError) as caught:
        check_recognition(
            act(against), outcome(provider, ASSESSED), against, body(provider, kind), ALL, decided_on=TODAY
        )
    assert caught.value.reason == "NOT_RESPONSIBLE"
    assert f"{kind} recognises prior learning, for want of a source" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"methods": [0]}, "METHOD_MISSING", "recognition.methods"),
        ({"outcomes": [2]}, "UNKNOWN_OUTCOME", "recognition.outcomes"),
        ({"outcomes": [0, 0]}, "OUTCOMES_REPEATED", "recognition.outcomes"),
        ({"outcomes": [0, 1]}, "PARTS_CONTRADICT", "recognition.outcomes"),  # all of them: the whole
        ({"outcomes": [0], "purpose": QUALIFICATION}, "PARTS_CONTRADICT", "recognition.outcomes"),
    ],
)
def test_acts_that_contradict_themselves(changes: dict[str, Any], reason: str, field: str) -> None:
    module = offered(FAGSKOLE, "no.fagskole.module", f"10 {FP}")
    module.outcomes.add().CopyFrom(module.outcomes[0])
    with pytest.raises(InvalidArgument) as caught:
        check_recognition(
            act(module, **changes),
            outcome(FAGSKOLE, ASSESSED),
            module,
            body(FAGSKOLE, "no.fagskole"),
            ALL,
            decided_on=TODAY,
        )
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_the_credential_s_assessment_says_so() -> None:
    issued = offered(FAGSKOLE, ASSESSED)
    with pytest.raises(VitneError) as caught:
        check_recognition(act(MODULE), issued, MODULE, body(FAGSKOLE, "no.fagskole"), ALL, decided_on=TODAY)
    assert caught.value.reason == "ASSESSMENT_CONTRADICTS"


@pytest.mark.parametrize(
    "changes",
    [{"purpose": 0}, {"methods": []}, {"evidence": []}, {"evidence": ["AAAA"]}, {"assessor": ""},
     {"evidence": [PORTFOLIO] * 51}, {"achievement_id": "x"}, {"achievement_version": 0}],
)  # fmt: skip
def test_what_the_contract_asks_of_an_act(changes: dict[str, Any]) -> None:
    check_rules(act(MODULE))
    with pytest.raises(InvalidArgument):
        check_rules(act(MODULE, **changes))


def test_only_rules_that_are_applied_and_in_force_make_a_body_responsible() -> None:
    college = body("0184:30819213", "dk.vocational_college")
    unit = offered("0184:30819213", "dk.eud_unit")
    assert [one.id for one in responsible(college, unit, Frameworks.load(LAW), TODAY)] == ["dk.eud.recognition"]
    assert not responsible(college, unit, Frameworks.load([Standing.IN_FORCE]), TODAY), "it is a reading, not law"
    assert not responsible(facts_pb2.Provider(id=COLLEGE, country="FI"), MODULE, ALL, TODAY)


# --- What it counts as -----------------------------------------------------------------------------


def test_a_kompetanseattest_does_not_count_until_it_is_recognised() -> None:
    asked = rule(one(MODULE.id, "module"), kind="no.vitnemal")
    terms = Terms.of(ALL)
    attest = held(offered(PRIVATE, "no.kompetanseattest", id=MODULE.id), "attest", TODAY)
    assert [one.why for one in answer(asked, attest, terms=terms).uncounted] == ["NOT_RECOGNISED"]
    counts_as = recognised_by(held(MODULE, "assessed", TODAY), FAGSKOLE)
    assert (counts_as.reference, counts_as.points, counts_as.by_recognition) == ("assessed", Decimal(10), True)
    assert answer(asked, counts_as, terms=terms).outcome is Outcome.COMPLETE
    revoked = recognised_by(held(MODULE, "assessed", TODAY, standing=HeldStanding.REVOKED), FAGSKOLE)
    assert answer(asked, revoked, terms=terms).outcome is Outcome.INCOMPLETE


@pytest.mark.parametrize(
    ("changes", "counts"), [({}, True), ({"purpose": ADMISSION}, False), ({"outcomes": [0]}, False)]
)
def test_admission_and_parts_count_for_nothing_whole(changes: dict[str, Any], counts: bool) -> None:
    assert counts_whole(act(MODULE, **changes)) is counts


def test_a_credential_whose_assessment_says_so_counts_as_recognised() -> None:
    assert not held(DK_MODULE, "x", TODAY).by_recognition
    assert held(outcome(UCL, "dk.module"), "x", TODAY).by_recognition


# --- In the credential -----------------------------------------------------------------------------


def test_the_credential_says_it_and_nobody_can_disclose_another() -> None:
    said = act(MODULE, outcomes=[0], rule="no.fagskole.recognition")
    credential = sample_credential(recognition=said)
    claims = sd_jwt_vc.to_claims(credential)
    assert claims["recognition"] == {
        "purpose": "exemption",
        "methods": ["portfolio", "interview"],
        "evidence": [PORTFOLIO],
        "assessor": "Board of studies, health",
        "achievement": {"id": MODULE.id, "version": 1},
        "outcomes": [0],
        "rule": "no.fagskole.recognition",
    }
    shown = {name: claim.value if isinstance(claim, Disclosable) else claim for name, claim in claims.items()}
    assert sd_jwt_vc.from_claims(shown).recognition == said
    assert "recognition" not in sd_jwt_vc.to_claims(sample_credential())
    for name, value in (("purpose", "fun"), ("outcomes", ["0"]), ("outcomes", [-1]), ("rule", "")):
        with pytest.raises(InvalidArgument):
            sd_jwt_vc.from_claims(shown | {"recognition": claims["recognition"] | {name: value}})


@pytest.mark.parametrize(("purpose", "asked_as"), [(EXEMPTION, MODULE.id), (ADMISSION, "")])
def test_the_portal_shows_what_it_was_for_and_asks_for_what_it_counts_as(purpose: Any, asked_as: str) -> None:
    said = act(MODULE, purpose=purpose, rule="no.fagskole.recognition")
    (shown,) = show([kept(sample_credential(recognition=said))], ["nb"], TODAY)
    assert shown.recognised_for == ("exemption" if purpose == EXEMPTION else "admission")
    (asked,) = question([shown]).credentials
    check_rules(asked)
    assert asked.recognised_as.achievement.id == asked_as
    assert asked.HasField("recognised_as") is bool(asked_as)
