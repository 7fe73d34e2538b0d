"""The arrangements of the Nordic countries, as a catalogue: what is issued, and its nearest neighbour that is not.

Each entry names the case of ``../shared/data/nordic_cases.json`` that it is about; a test
sees to it that none is left out. Providers are made up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.portal.presentation import show
from tests.unit.accreditation_samples import ALL, NOW, Chronicle, achievement, scope
from tests.unit.credential_samples import sample_achievement, sample_credential
from tests.unit.test_portal_presentation import kept
from vitne.accreditation import DecisionOutcome, decide, record_of
from vitne.frameworks import LAW, Duty, Frameworks, Standing
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

FAILED = credential_pb2.Check.OUTCOME_FAILED
#: One made-up organisation a country.
PROVIDER = {"NO": "0192:313000001", "DK": "0184:99000007", "SE": "0007:5599999918", "IS": "0196:7101990009"}
AUTHORITY = "0192:985042667"
BY_LAW = Frameworks.load(LAW)


@dataclass(frozen=True)
class Holder:
    """A provider with an accreditation; without one, nobody has accredited it."""

    provider: str
    accreditation: str = ""
    scope: facts_pb2.Scope | None = None
    #: First instant at which the accreditation no longer holds.
    until: datetime | None = None

    @property
    def country(self) -> str:
        return self.provider[:2].upper()


@dataclass(frozen=True)
class What:
    """What is to be issued. ``size`` is "points unit", ``level`` "framework level"; empty: without."""

    kind: str
    size: str = ""
    level: str = ""
    part_of: str = ""
    field: str = ""
    deliverer: str = ""
    at: datetime = NOW


@dataclass(frozen=True)
class Entry:
    case: str
    title: str
    by: Holder
    issued: What
    rule: str
    standing: str
    #: The nearest neighbour: why it is refused, and the rule that refuses.
    but_not: What
    reason: str
    refused_by: str = ""
    #: Who would have issued the neighbour, if it is somebody else.
    but_not_by: Holder | None = None

    def __str__(self) -> str:
        return f"{self.case}: {self.title}"


def on(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, 12, tzinfo=UTC)


def levels(scheme: str, *names: str) -> list[tuple[str, str]]:
    return [(scheme, name) for name in names]


# --- Who holds what --------------------------------------------------------------------------------

FP, ECTS = "no.fagskolepoeng", "ects"
UNIVERSITY = Holder(
    "no.university",
    "no.self_accrediting",
    scope(
        "no.micro_credential",
        "no.minikvalifikasjon",
        "no.vitnemal",
        "no.karakterutskrift",
        "no.realkompetansevurdering",
        levels=levels("no.nkr", "6.2", "7", "8"),
        credit_unit=ECTS,
    ),
)
COLLEGE_FIELD = Holder(
    "no.university_college",
    "no.university_college.field",
    scope("no.micro_credential", levels=levels("no.nkr", "7"), credit_unit=ECTS, fields=["0413"]),
)
COLLEGE_PROGRAMME = Holder(
    "no.university_college",
    "no.university_college.programme",
    scope("no.micro_credential", levels=levels("no.nkr", "7"), credit_unit=ECTS, educations=["college.nursing"]),
)
OF_FAGSKOLE = ("no.fagskole.module", "no.karakterutskrift", "no.vitnemal", "no.realkompetansevurdering")
NKR5 = levels("no.nkr", "5.1", "5.2")
FAGSKOLE_PROGRAMME = Holder(
    "no.fagskole",
    "no.fagskole.programme",
    scope(*OF_FAGSKOLE, levels=NKR5, credit_unit=FP, educations=["f.eldrehelse"]),
)
FAGSKOLE_FIELD = Holder(
    "no.fagskole", "no.fagskole.field", scope(*OF_FAGSKOLE, levels=NKR5, credit_unit=FP, fields=["0921"])
)
FAGSKOLE_INSTITUTION = Holder(
    "no.fagskole", "no.fagskole.institution", scope(*OF_FAGSKOLE, levels=NKR5, credit_unit=FP)
)
APPROVED = Holder("no.private_provider", "no.non_formal_approval", scope("no.kompetanseattest"))
UNAPPROVED = Holder("no.private_provider")
COUNTY = Holder(
    "no.county",
    "no.county.upper_secondary",
    scope(
        "no.kompetansebevis",
        "no.vitnemal",
        "no.fagbrev",
        "no.realkompetansevurdering",
        levels=levels("no.nkr", "3", "4A", "4B"),
    ),
)
MUNICIPALITY = Holder(
    "no.municipality", "no.municipality.primary", scope("no.realkompetansevurdering", levels=levels("no.nkr", "2"))
)

ACADEMY = Holder(
    "dk.business_academy",
    "dk.institution",
    scope(
        "dk.micro_credential",
        "dk.module",
        "dk.eksamensbevis",
        levels=levels("dk.nqf", "5", "6"),
        credit_unit=ECTS,
    ),
)
DANISH_UNIVERSITY = Holder(
    "dk.university",
    "dk.institution",
    scope("dk.eksamensbevis", levels=levels("dk.nqf", "6", "7"), credit_unit=ECTS),
)
DELIVERER = Holder("dk.private_provider")
AMU = Holder(
    "dk.amu_centre",
    "dk.amu_approval",
    scope("dk.amu_bevis", levels=levels("dk.nqf", "3", "5"), credit_unit="dk.amu_day"),
)
EUD = Holder(
    "dk.vocational_college",
    "dk.eud_approval",
    scope("dk.eud_unit", "dk.uddannelsesbevis", levels=levels("dk.nqf", "4"), educations=["eud.industrioperator"]),
)

EMPLOYER = Holder(
    "se.employer",
    "se.mikromerit_pilot",
    scope("se.mikromerit", "se.kvalifikationsbevis", educations=["kraft.vattenkraft"]),
)
SWEDISH_MUNICIPALITY = Holder(
    "se.municipality", "se.mikromerit_pilot", scope("se.mikromerit", educations=["kommun.yrkessvenska"])
)
INDUSTRY = Holder(
    "se.industry_body", "se.industry_model", scope("se.kvalifikationsbevis", educations=["bransch.ventilation"])
)
PLACED = Holder(
    "se.industry_body",
    "se.seqf_placement",
    scope("se.kvalifikationsbevis", levels=levels("se.seqf", "4"), educations=["bransch.ventilation"]),
)
YH_COURSE = Holder("se.yh_provider", "se.yh_course", scope("se.utbildningsbevis", educations=["yh.solceller"]))
YH_FOR_A_TIME = Holder(YH_COURSE.provider, YH_COURSE.accreditation, YH_COURSE.scope, until=on(2027, 1, 1))
YH_PLACED = Holder(
    "se.yh_provider",
    "se.seqf_placement",
    scope("se.kvalifikationsbevis", levels=levels("se.seqf", "5"), educations=["yh.solceller"]),
)
YH_TWO_YEARS = Holder(
    "se.yh_provider",
    "se.yh_programme",
    scope(
        "se.kvalificerad_yh_examen",
        levels=levels("se.seqf", "6"),
        credit_unit="se.yh_point",
        educations=["yh.elkraft"],
    ),
)
YH_PROGRAMME = Holder(
    "se.yh_provider",
    "se.yh_programme",
    scope("se.yh_examen", levels=levels("se.seqf", "5"), credit_unit="se.yh_point", educations=["yh.elkraft"]),
)
SWEDISH_UNIVERSITY = Holder(
    "se.university",
    "se.degree_powers",
    scope("se.examen", "se.kursbevis", levels=levels("se.seqf", "6", "7"), credit_unit=ECTS),
)

CENTRE = Holder(
    "is.social_partner_centre",
    "is.job_criteria",
    scope("is.fagbref", levels=levels("is.isqf", "2"), educations=["fa.verslunarstorf"]),
)

# --- The catalogue -----------------------------------------------------------------------------------

ATTEST = What("no.kompetanseattest")
KLIMA = What("dk.micro_credential", "0.5 ects", "dk.nqf 5", part_of="ucl.klimaregnskaber")
MERIT = What("se.mikromerit", part_of="kraft.vattenkraft")
SHORT = What("no.vitnemal", f"20 {FP}", "no.nkr 5.1", part_of="f.eldrehelse")
ELDREHELSE = What("no.fagskole.module", f"10 {FP}", part_of="f.eldrehelse")

CATALOGUE = [
    # Norway: universities and university colleges.
    Entry("no-minikvalifikasjon", "a self-accrediting university: any size at any level, in ECTS",
          UNIVERSITY, What("no.micro_credential", "0.1 ects", "no.nkr 7"), "no.university.micro_credential", "in_force",
          What("no.micro_credential", f"5 {FP}", "no.nkr 7"), "UNIT_NOT_ALLOWED", "no.university.micro_credential"),
    Entry("no-minikvalifikasjon", "1 to 5 points is usage, not a limit: 7.5 is a minikvalifikasjon, too",
          UNIVERSITY, What("no.minikvalifikasjon", "7.5 ects"), "no.university.minikvalifikasjon", "interpretation",
          What("no.minikvalifikasjon", f"2.5 {FP}"), "UNIT_NOT_ALLOWED", "no.university.minikvalifikasjon"),
    Entry("no-minikvalifikasjon", "a vitnemål is a degree's, at its level",
          UNIVERSITY, What("no.vitnemal", "180 ects", "no.nkr 6.2"), "no.university.vitnemal", "in_force",
          What("no.vitnemal", "2.5 ects"), "LEVEL_REQUIRED", "no.university.vitnemal"),
    Entry("no-minikvalifikasjon", "a finished course is in a transcript, which no framework places",
          UNIVERSITY, What("no.karakterutskrift", "5 ects"), "no.university.karakterutskrift", "interpretation",
          What("no.karakterutskrift", "5 ects", "no.nkr 7"), "LEVEL_NOT_ALLOWED", "no.university.karakterutskrift"),
    Entry("no-minikvalifikasjon", "a university college inside its own fields, not outside them",
          COLLEGE_FIELD, What("no.micro_credential", "5 ects", "no.nkr 7", field="0413"),
          "no.university_college.micro_credential", "in_force",
          What("no.micro_credential", "5 ects", "no.nkr 7", field="0913"), "FIELD_NOT_COVERED",
          "no.university_college.micro_credential"),
    Entry("no-minikvalifikasjon", "outside its own fields it needs a programme that NOKUT accredited",
          COLLEGE_PROGRAMME, What("no.micro_credential", "5 ects", "no.nkr 7", part_of="college.nursing"),
          "no.university_college.programme.micro_credential", "interpretation",
          What("no.micro_credential", "5 ects", "no.nkr 7", part_of="college.law"), "EDUCATION_NOT_COVERED",
          "no.university_college.programme.micro_credential"),
    # Norway: fagskoler.
    Entry("fvt-eldrehelse", "a module inside an accredited education, not outside it",
          FAGSKOLE_PROGRAMME, ELDREHELSE, "no.fagskole.programme.module", "in_force",
          What("no.fagskole.module", f"10 {FP}", part_of="f.automasjon"), "EDUCATION_NOT_COVERED",
          "no.fagskole.programme.module"),
    Entry("fvt-eldrehelse", "a module gives a transcript of grades, and no level of its own",
          FAGSKOLE_PROGRAMME, What("no.karakterutskrift", f"10 {FP}", part_of="f.eldrehelse"),
          "no.fagskole.programme.module", "in_force",
          What("no.karakterutskrift", f"10 {FP}", "no.nkr 5.1", part_of="f.eldrehelse"), "LEVEL_NOT_ALLOWED",
          "no.fagskole.programme.module"),
    Entry("fvt-eldrehelse", "the points of a fagskole are called studiepoeng, and are not ECTS",
          FAGSKOLE_PROGRAMME, ELDREHELSE, "no.fagskole.programme.module", "in_force",
          What("no.fagskole.module", "10 ects", part_of="f.eldrehelse"), "UNIT_NOT_ALLOWED",
          "no.fagskole.programme.module"),
    Entry("fvt-eldrehelse", "the education of 60 points gives a vitnemål, and that is placed in NKR",
          FAGSKOLE_PROGRAMME, What("no.vitnemal", f"60 {FP}", "no.nkr 5.2", part_of="f.eldrehelse"),
          "no.fagskole.vitnemal", "in_force",
          What("no.vitnemal", f"60 {FP}", part_of="f.eldrehelse"), "LEVEL_REQUIRED", "no.fagskole.vitnemal"),
    Entry("fvt-eldrehelse", "an education under 30 points gives a vitnemål since 2021, not before",
          FAGSKOLE_PROGRAMME, SHORT, "no.fagskole.vitnemal_of_any_size", "interpretation",
          What(SHORT.kind, SHORT.size, SHORT.level, SHORT.part_of, at=on(2020, 12, 31)), "SIZE_BELOW_MINIMUM",
          "no.fagskole.vitnemal"),
    Entry("fvt-eldrehelse", "accreditation for a field: modules set up freely within it, not beside it",
          FAGSKOLE_FIELD, What("no.fagskole.module", f"5 {FP}", field="0921"), "no.fagskole.field.module", "in_force",
          What("no.fagskole.module", f"5 {FP}", field="0714"), "FIELD_NOT_COVERED", "no.fagskole.field.module"),
    Entry("fvt-eldrehelse", "institutional accreditation: any field, from 2025 on",
          FAGSKOLE_INSTITUTION, What("no.fagskole.module", f"5 {FP}", field="0714"), "no.fagskole.institution.module",
          "interpretation",
          What("no.fagskole.module", f"5 {FP}", field="0714", at=on(2024, 12, 31)), "RULE_NOT_IN_FORCE",
          "no.fagskole.institution.module"),
    Entry("fvt-eldrehelse", "institutional accreditation: vitnemål of educations that it sets up, from 2025 on",
          FAGSKOLE_INSTITUTION, What("no.vitnemal", f"60 {FP}", "no.nkr 5.1", field="0714"),
          "no.fagskole.institution.vitnemal", "interpretation",
          What("no.vitnemal", f"60 {FP}", "no.nkr 5.1", field="0714", at=on(2024, 12, 31)), "RULE_NOT_IN_FORCE",
          "no.fagskole.institution.vitnemal"),
    # Norway: outside the education system.
    Entry("no-kompetanseattest", "an approved provider, not an unapproved one",
          APPROVED, ATTEST, "no.private_provider.kompetanseattest", "proposed",
          ATTEST, "NO_ACCREDITATION", "no.accreditation_required", but_not_by=UNAPPROVED),
    Entry("no-kompetanseattest", "a non-formal course without points: no studiepoeng",
          APPROVED, ATTEST, "no.private_provider.kompetanseattest", "proposed",
          What("no.kompetanseattest", "2 ects"), "UNIT_NOT_ALLOWED", "no.private_provider.kompetanseattest"),
    Entry("no-kompetanseattest", "kompetansepoeng are a later step: nothing is issued in them yet",
          APPROVED, ATTEST, "no.private_provider.kompetanseattest", "proposed",
          What("no.kompetanseattest", "2 no.kompetansepoeng"), "UNIT_NOT_ALLOWED",
          "no.private_provider.kompetanseattest"),
    Entry("no-kompetanseattest", "the level that it states is not NKR's",
          APPROVED, ATTEST, "no.private_provider.kompetanseattest", "proposed",
          What("no.kompetanseattest", level="no.nkr 4A"), "LEVEL_NOT_ALLOWED", "no.private_provider.kompetanseattest"),
    # Norway: upper secondary education for adults.
    Entry("no-mvov", "the county issues a kompetansebevis for finished modules, a fagskole does not",
          COUNTY, What("no.kompetansebevis"), "no.county.kompetansebevis", "in_force",
          What("no.kompetansebevis", part_of="f.eldrehelse"), "KIND_NOT_COVERED", "no.accreditation_required",
          but_not_by=FAGSKOLE_PROGRAMME),
    Entry("no-mvov", "level 4A is the whole's, not a module's",
          COUNTY, What("no.fagbrev", level="no.nkr 4A"), "no.county.fagbrev", "in_force",
          What("no.kompetansebevis", level="no.nkr 4A"), "LEVEL_NOT_ALLOWED", "no.county.kompetansebevis"),
    Entry("no-mvov", "general upper secondary education is at 4B, and a trade certificate is not",
          COUNTY, What("no.vitnemal", level="no.nkr 4B"), "no.county.vitnemal", "in_force",
          What("no.fagbrev", level="no.nkr 4B"), "LEVEL_NOT_ALLOWED", "no.county.fagbrev"),
    # Denmark.
    Entry("ucl-klimaregnskaber", "half an ECTS credit is the floor",
          ACADEMY, KLIMA, "dk.business_academy.micro_credential", "pilot",
          What("dk.micro_credential", "0.25 ects", "dk.nqf 5", part_of="ucl.klimaregnskaber"), "SIZE_BELOW_MINIMUM",
          "dk.business_academy.micro_credential"),
    Entry("ucl-klimaregnskaber", "the module of 5 ECTS, but no nano-module",
          ACADEMY, What("dk.module", "5 ects", "dk.nqf 5"), "dk.business_academy.module", "interpretation",
          What("dk.nanomodule", "0.25 ects"), "KIND_NOT_ALLOWED", "dk.nanomodule.earns_nothing"),
    Entry("ucl-esg", "split in the same way, at the module's level and no other",
          ACADEMY, What("dk.micro_credential", "1 ects", "dk.nqf 5", part_of="ucl.esg"),
          "dk.business_academy.micro_credential", "pilot",
          What("dk.micro_credential", "1 ects", "dk.nqf 6", part_of="ucl.esg"), "LEVEL_NOT_ALLOWED",
          "dk.business_academy.micro_credential"),
    Entry("sdu-nanobank", "the university examines and certifies; a nanomodule earns nothing by itself",
          DANISH_UNIVERSITY, What("dk.eksamensbevis", "10 ects", "dk.nqf 7"), "dk.university.eksamensbevis", "in_force",
          What("dk.nanomodule"), "KIND_NOT_ALLOWED", "dk.nanomodule.earns_nothing"),
    Entry("dk-amu", "a course of four days at level 5, none at level 6",
          AMU, What("dk.amu_bevis", "4 dk.amu_day", "dk.nqf 5"), "dk.amu.bevis", "in_force",
          What("dk.amu_bevis", "4 dk.amu_day", "dk.nqf 6"), "LEVEL_NOT_ALLOWED", "dk.amu.bevis"),
    Entry("dk-amu", "measured in days, never in ECTS",
          AMU, What("dk.amu_bevis", "0.5 dk.amu_day"), "dk.amu.bevis", "in_force",
          What("dk.amu_bevis", "2 ects"), "UNIT_NOT_ALLOWED", "dk.amu.bevis"),
    Entry("dk-industrioperator", "a unit of an approved education, not of another",
          EUD, What("dk.eud_unit", part_of="eud.industrioperator"), "dk.eud.unit", "interpretation",
          What("dk.eud_unit", part_of="eud.smed"), "EDUCATION_NOT_COVERED", "dk.eud.unit"),
    Entry("dk-industrioperator", "the level is the whole education's, not a unit's",
          EUD, What("dk.uddannelsesbevis", level="dk.nqf 4", part_of="eud.industrioperator"), "dk.eud.uddannelsesbevis",
          "interpretation",
          What("dk.eud_unit", level="dk.nqf 4", part_of="eud.industrioperator"), "LEVEL_NOT_ALLOWED", "dk.eud.unit"),
    Entry("roles", "a private deliverer within an institution's portfolio: the institution issues",
          ACADEMY, What("dk.module", "5 ects", "dk.nqf 5", deliverer="0184:30773047"), "dk.business_academy.module",
          "interpretation",
          What("dk.module", "5 ects", "dk.nqf 5"), "NO_ACCREDITATION", "dk.accreditation_required",
          but_not_by=DELIVERER),
    # Sweden.
    Entry("skelleftea-kraft-drifttekniker", "a mikromerit is a part of its set; one does not stand alone",
          EMPLOYER, MERIT, "se.employer.mikromerit", "pilot",
          What("se.mikromerit"), "EDUCATION_NOT_COVERED", "se.employer.mikromerit"),
    Entry("skelleftea-kraft-drifttekniker", "the whole is certified by the employer, without a level",
          EMPLOYER, What("se.kvalifikationsbevis", part_of="kraft.vattenkraft"), "se.employer.kvalifikationsbevis",
          "pilot",
          What("se.kvalifikationsbevis", level="se.seqf 5", part_of="kraft.vattenkraft"), "LEVEL_NOT_ALLOWED",
          "se.employer.kvalifikationsbevis"),
    Entry("skelleftea-yrkessvenska", "a mikromerit has no credits",
          SWEDISH_MUNICIPALITY, What("se.mikromerit", part_of="kommun.yrkessvenska"), "se.employer.mikromerit", "pilot",
          What("se.mikromerit", "1 ects", part_of="kommun.yrkessvenska"), "UNIT_NOT_ALLOWED", "se.employer.mikromerit"),
    Entry("se-yh-course", "a course under 100 points gives an utbildningsbevis and no points",
          YH_COURSE, What("se.utbildningsbevis", part_of="yh.solceller"), "se.yh.course", "in_force",
          What("se.utbildningsbevis", "40 se.yh_point", part_of="yh.solceller"), "UNIT_NOT_ALLOWED", "se.yh.course"),
    Entry("se-yh-course", "it is not placed in SeQF by itself",
          YH_COURSE, What("se.utbildningsbevis", part_of="yh.solceller"), "se.yh.course", "in_force",
          What("se.utbildningsbevis", level="se.seqf 5", part_of="yh.solceller"), "LEVEL_NOT_ALLOWED", "se.yh.course"),
    Entry("se-yh-course", "an exam needs 100 points",
          YH_PROGRAMME, What("se.yh_examen", "100 se.yh_point", "se.seqf 5", part_of="yh.elkraft"), "se.yh.examen",
          "in_force",
          What("se.yh_examen", "99 se.yh_point", "se.seqf 5", part_of="yh.elkraft"), "SIZE_BELOW_MINIMUM",
          "se.yh.examen"),
    Entry("se-yh-course", "a two-year programme is 400 points, and 399 are none",
          YH_TWO_YEARS, What("se.kvalificerad_yh_examen", "400 se.yh_point", "se.seqf 6", part_of="yh.elkraft"),
          "se.yh.kvalificerad_examen", "interpretation",
          What("se.kvalificerad_yh_examen", "399 se.yh_point", "se.seqf 6", part_of="yh.elkraft"),
          "SIZE_BELOW_MINIMUM", "se.yh.kvalificerad_examen"),
    Entry("se-yh-course", "MYH approves for a limited period: until its last day, not after",
          YH_FOR_A_TIME, What("se.utbildningsbevis", part_of="yh.solceller", at=on(2026, 12, 31)), "se.yh.course",
          "in_force",
          What("se.utbildningsbevis", part_of="yh.solceller", at=on(2027, 1, 1)), "ACCREDITATION_EXPIRED",
          "se.yh.course"),
    Entry("se-yh-course", "its provider would have to apply: then the qualification is placed, not the course",
          YH_PLACED, What("se.kvalifikationsbevis", level="se.seqf 5", part_of="yh.solceller"),
          "se.seqf.kvalifikationsbevis", "in_force",
          What("se.utbildningsbevis", level="se.seqf 5", part_of="yh.solceller"), "KIND_NOT_COVERED",
          "se.accreditation_required"),
    Entry("se-yh-course", "a non-formal qualification that was placed states that level and no other",
          PLACED, What("se.kvalifikationsbevis", level="se.seqf 4", part_of="bransch.ventilation"),
          "se.seqf.kvalifikationsbevis", "in_force",
          What("se.kvalifikationsbevis", level="se.seqf 5", part_of="bransch.ventilation"), "LEVEL_NOT_COVERED",
          "se.seqf.kvalifikationsbevis"),
    Entry("se-yh-course", "sharing level 4 with upper secondary school makes it no gymnasieexamen",
          PLACED, What("se.kvalifikationsbevis", level="se.seqf 4", part_of="bransch.ventilation"),
          "se.seqf.kvalifikationsbevis", "in_force",
          What("se.gymnasieexamen", level="se.seqf 4", part_of="bransch.ventilation"), "KIND_NOT_COVERED",
          "se.accreditation_required"),
    Entry("se-yh-course", "a degree has a SeQF level, a course of a university has none",
          SWEDISH_UNIVERSITY, What("se.examen", "180 ects", "se.seqf 6"), "se.university.examen", "in_force",
          What("se.kursbevis", "7.5 ects", "se.seqf 6"), "LEVEL_NOT_ALLOWED", "se.university.kursbevis"),
    Entry("se-yh-course", "a course of a university is counted in its own credits, not in days of study",
          SWEDISH_UNIVERSITY, What("se.kursbevis", "7.5 ects"), "se.university.kursbevis", "in_force",
          What("se.kursbevis", "25 se.yh_point"), "UNIT_NOT_ALLOWED", "se.university.kursbevis"),
    # Iceland.
    Entry("etsc-job-competence", "certified against job criteria that are mapped to a level",
          CENTRE, What("is.fagbref", level="is.isqf 2", part_of="fa.verslunarstorf"), "is.social_partner.fagbref",
          "in_force",
          What("is.fagbref", level="is.isqf 2"), "EDUCATION_NOT_COVERED", "is.social_partner.fagbref"),
    Entry("etsc-job-competence", "at the level of the criteria, not above it",
          CENTRE, What("is.fagbref", level="is.isqf 2", part_of="fa.verslunarstorf"), "is.social_partner.fagbref",
          "in_force",
          What("is.fagbref", level="is.isqf 3", part_of="fa.verslunarstorf"), "LEVEL_NOT_COVERED",
          "is.social_partner.fagbref"),
    # Recognition of prior learning: whoever is responsible at the level.
    Entry("recognition-of-prior-learning", "the municipality for primary education, not above it",
          MUNICIPALITY, What("no.realkompetansevurdering", level="no.nkr 2"), "no.municipality.realkompetanse",
          "in_force",
          What("no.realkompetansevurdering", level="no.nkr 4A"), "LEVEL_NOT_ALLOWED",
          "no.municipality.realkompetanse"),
    Entry("recognition-of-prior-learning", "the county for upper secondary education, not for a fagskole's",
          COUNTY, What("no.realkompetansevurdering", level="no.nkr 4B"), "no.county.realkompetanse", "in_force",
          What("no.realkompetansevurdering", level="no.nkr 5.1"), "LEVEL_NOT_ALLOWED", "no.county.realkompetanse"),
    Entry("recognition-of-prior-learning", "a fagskole exempts from parts of its own education only",
          FAGSKOLE_PROGRAMME, What("no.realkompetansevurdering", f"10 {FP}", part_of="f.eldrehelse"),
          "no.fagskole.realkompetanse", "in_force",
          What("no.realkompetansevurdering", f"10 {FP}", part_of="f.automasjon"), "EDUCATION_NOT_COVERED",
          "no.fagskole.realkompetanse"),
    Entry("recognition-of-prior-learning", "a university admits and exempts; an approved provider does not",
          UNIVERSITY, What("no.realkompetansevurdering", "10 ects"), "no.university.realkompetanse", "in_force",
          What("no.realkompetansevurdering"), "KIND_NOT_COVERED", "no.accreditation_required", but_not_by=APPROVED),
    Entry("recognition-of-prior-learning", "an industry against its own model, without a level",
          INDUSTRY, What("se.kvalifikationsbevis", part_of="bransch.ventilation"), "se.industry.kvalifikationsbevis",
          "in_force",
          What("se.kvalifikationsbevis", level="se.seqf 4", part_of="bransch.ventilation"), "LEVEL_NOT_ALLOWED",
          "se.industry.kvalifikationsbevis"),
    Entry("recognition-of-prior-learning", "in Denmark the institution approved for the education, by exam certificate",
          ACADEMY, What("dk.eksamensbevis", "10 ects", "dk.nqf 5"), "dk.professional.eksamensbevis", "in_force",
          What("dk.eksamensbevis", "10 ects", "dk.nqf 5"), "KIND_NOT_COVERED", "dk.accreditation_required",
          but_not_by=AMU),
]  # fmt: skip


def decided(by: Holder, what: What, frameworks: Frameworks = ALL) -> DecisionOutcome:
    """The decision on a provider that has been known, and accredited, since 2010."""
    provider = PROVIDER[by.country]
    began = on(2010, 1, 1)
    chronicle = Chronicle(began)
    chronicle.provider(provider, country=by.country, kind=by.provider)
    if by.scope is not None:
        chronicle.accredit(
            provider, by.accreditation, by.scope, valid_from=began, valid_until=by.until, authority=AUTHORITY
        )
    points, _, unit = what.size.partition(" ")
    framework, _, level = what.level.partition(" ")
    changes: dict[str, Any] = {"part_of": what.part_of, "field": what.field, "deliverer": what.deliverer}
    offered = achievement(
        provider, what.kind, workload=(unit, points), level=(framework, level) if level else None, **changes
    )
    chronicle.publish(offered)
    return decide(chronicle.projection(), frameworks, provider, offered.id, 1, at=what.at)


@pytest.mark.parametrize("entry", CATALOGUE, ids=str)
def test_what_is_issued(entry: Entry) -> None:
    outcome = decided(entry.by, entry.issued)
    assert outcome.allowed, outcome.message
    assert (outcome.rule, outcome.standing) == (entry.rule, entry.standing)
    assert len(outcome.basis) > 40
    assert f'"rule":"{entry.rule}"'.encode() in record_of(outcome).record


@pytest.mark.parametrize("entry", CATALOGUE, ids=str)
def test_its_nearest_neighbour_that_is_not(entry: Entry) -> None:
    outcome = decided(entry.but_not_by or entry.by, entry.but_not)
    assert not outcome.allowed
    assert (outcome.reason, outcome.rule) == (entry.reason, entry.refused_by)
    assert len(outcome.basis) > 40
    assert outcome.remedy
    assert any(check.outcome == FAILED for check in outcome.checks)


@pytest.mark.parametrize("entry", CATALOGUE, ids=str)
def test_by_law_alone_what_is_tried_or_proposed_is_not_issued(entry: Entry) -> None:
    outcome = decided(entry.by, entry.issued, BY_LAW)
    if entry.standing in LAW:
        assert (outcome.allowed, outcome.rule) == (True, entry.rule)
    else:
        assert (outcome.reason, outcome.rule, outcome.standing) == ("STANDING_NOT_APPLIED", entry.rule, entry.standing)


@pytest.mark.parametrize("entry", [entry for entry in CATALOGUE if entry.but_not_by], ids=str)
def test_whoever_is_not_refused_for_what_it_is_issues_something_of_its_own(entry: Entry) -> None:
    """That the neighbour is refused says nothing where its provider could never issue."""
    other = entry.but_not_by
    assert other is not None
    own = [one for one in CATALOGUE if one.by == other]
    assert own or other.scope is None


def test_every_case_of_the_source_documents_is_in_the_catalogue(shared_data: Path) -> None:
    cases = json.loads((shared_data / "nordic_cases.json").read_text("utf-8"))["cases"]
    assert {entry.case for entry in CATALOGUE} == {case["id"] for case in cases}


def test_a_case_that_is_not_law_is_not_called_law(shared_data: Path) -> None:
    """Where the source says that all of a case is tried or proposed, so does at least one of the rules applied."""
    cases = json.loads((shared_data / "nordic_cases.json").read_text("utf-8"))["cases"]
    for case in cases:
        standings = {entry.standing for entry in CATALOGUE if entry.case == case["id"]}
        if case["standing"] in {Standing.PILOT, Standing.PROPOSED} and case["id"] not in EXAMINED_BY_LAW:
            assert case["standing"] in standings, case["id"]


#: What is new there is how one studies, or who is named beside the issuer; who issues, issues by law.
EXAMINED_BY_LAW = {"sdu-nanobank", "roles"}


def test_every_rule_of_a_country_with_cases_is_in_the_catalogue() -> None:
    used = {entry.rule for entry in CATALOGUE}
    for country in ("NO", "DK", "SE"):
        assert {rule.id for rule in ALL.require(country, field="").rules} <= used


def test_an_industry_qualification_is_never_shown_as_what_it_shares_a_level_with() -> None:
    sweden = ALL.require("SE", field="")
    kind = sweden.credential_kinds["se.kvalifikationsbevis"]
    assert not kind.formal
    assert {"se.gymnasieexamen", "se.yh_examen", "se.examen"} <= kind.not_equal_to
    assert all(sweden.credential_kinds[other].formal for other in kind.not_equal_to)
    placed = sample_achievement(
        kind=kind.id, level=credential_pb2.Level(framework="se.seqf", level="4"), workload={"hours": "40"}
    )
    (shown,) = show([kept(sample_credential(achievement=placed), kind=kind.id)], ["en"], NOW.date())
    assert (shown.formal, shown.level) == (False, "4")
    assert "Upper secondary diploma" in shown.unequal_to
    unplaced = sample_achievement(kind=kind.id, level=None, workload={"hours": "40"})
    (shown,) = show([kept(sample_credential(achievement=unplaced), kind=kind.id)], ["en"], NOW.date())
    assert shown.unequal_to == (), "what has no level shares none"


def test_what_is_given_for_a_time_reviewed_or_tied_to_duties_says_so() -> None:
    kinds = ALL.require("SE", field="").accreditation_kinds
    placement = kinds["se.seqf_placement"]
    assert placement.review_after_years == 10
    assert placement.duties == {Duty.REPORT_CHANGES}
    assert [kind.id for kind in kinds.values() if kind.must_end] == ["se.yh_programme", "se.yh_course"]
