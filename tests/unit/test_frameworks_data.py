"""The data files as they are shipped, and how strictly they are read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files

import pytest

from tests.unit.accreditation_samples import Chronicle, achievement, scope
from vitne.accreditation import decide
from vitne.errors import InvalidArgument
from vitne.frameworks import LAW, Framework, Frameworks, Offer, Prohibition, Purpose, Reason, Rule, Standing
from vitne.frameworks.loader import parse
from vitne.identifiers import OrganisationId
from vitne.stacking import Terms, responsible
from vitne_api.registry.v1 import facts_pb2

SHIPPED = {
    path.name: path.read_text("utf-8")
    for path in files("vitne.frameworks").joinpath("data").iterdir()
    if path.name.endswith(".toml")
}
ALL = Frameworks.load(Standing)


def rule(country: str, rule_id: str) -> Rule:
    return next(rule for rule in ALL.require(country, field="").rules if rule.id == rule_id)


def test_a_country_is_a_file() -> None:
    assert {framework.country for framework in ALL} == {name.removesuffix(".toml").upper() for name in SHIPPED}
    assert ALL.country("FI") is None
    with pytest.raises(InvalidArgument) as caught:
        ALL.require("FI", field="provider.country")
    assert (caught.value.reason, caught.value.field) == ("UNKNOWN_COUNTRY", "provider.country")
    assert caught.value.remedy == "use one of DK, IS, NO, SE"


@pytest.mark.parametrize(
    ("country", "eqf"),
    [
        ("NO", {"2": "2", "3": "3", "4A": "4", "4B": "4", "5.1": "5", "5.2": "5", "6.1": "6", "6.2": "6", "7": "7",
                "8": "8"}),
        ("SE", {str(number): str(number) for number in range(1, 9)}),
        ("DK", {str(number): str(number) for number in range(1, 9)}),
        # Seven levels, one below EQF's.
        ("IS", {"1": "2", "2": "3", "3": "4", "4": "5", "5.1": "6", "5.2": "6", "6.1": "7", "6.2": "7", "7": "8"}),
        ("EU", {str(number): str(number) for number in range(1, 9)}),
    ],
)  # fmt: skip
def test_levels_and_what_they_are_in_eqf(country: str, eqf: dict[str, str]) -> None:
    framework = ALL.require(country, field="")
    assert {level: found for (_, level), found in framework.levels.items()} == eqf
    assert all(scheme.basis.passage for scheme in framework.level_frameworks.values())


def test_the_sub_levels_of_level_5_are_named_as_sources_name_them() -> None:
    (nkr,) = ALL.require("NO", field="").level_frameworks.values()
    assert {level.level: level.also for level in nkr.levels if level.eqf == "5"} == {"5.1": "5a", "5.2": "5b"}


@pytest.mark.parametrize(
    ("country", "third"),
    [("NO", {"general_competence"}), ("DK", {"competence"}), ("IS", {"competence"}),
     ("SE", {"competence", "responsibility_and_autonomy"})],
)  # fmt: skip
def test_categories_of_outcomes(country: str, third: set[str]) -> None:
    assert set(ALL.require(country, field="").outcome_categories) == {"knowledge", "skills", *third}


@pytest.mark.parametrize(
    ("country", "kinds"),
    [
        ("NO", "vitnemal karakterutskrift kompetansebevis kompetanseattest fagbrev minikvalifikasjon"),
        ("SE", "utbildningsbevis examen kvalifikationsbevis mikromerit"),
        ("DK", "eksamensbevis amu_bevis micro_credential"),
        ("IS", "fagbref profskirteini"),
    ],
)
def test_kinds_of_credential_in_the_countrys_own_words_and_in_english(country: str, kinds: str) -> None:
    known = ALL.require(country, field="").credential_kinds
    for kind in kinds.split():
        assert len(known[f"{country.lower()}.{kind}"].name) >= 2


# --- Units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("country", "unit", "target"),
    [
        ("NO", "no.fagskolepoeng", "ects"),
        ("NO", "ects", "no.fagskolepoeng"),
        ("NO", "no.kompetansepoeng", "ects"),
        ("SE", "se.yh_point", "ects"),
        ("DK", "dk.amu_day", "ects"),
        ("DK", "dk.amu_hour", "dk.amu_day"),
        ("IS", "is.fein", "ects"),
        ("NO", "ects", "se.yh_point"),
    ],
)
def test_units_that_do_not_convert_say_why(country: str, unit: str, target: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ALL.require(country, field="").convert(Decimal(5), unit, target, field="parts[0]")
    assert (caught.value.reason, caught.value.field) == ("UNITS_DO_NOT_CONVERT", "parts[0]")
    assert len(caught.value.rule) > 20
    assert target in caught.value.remedy


def test_units_that_convert_do_so_exactly() -> None:
    denmark = ALL.require("DK", field="")
    assert denmark.convert(Decimal(4), "dk.amu_day", "dk.amu_hour", field="") == Decimal("29.6")
    assert denmark.convert(Decimal("0.5"), "ects", "ects", field="") == Decimal("0.5")
    with pytest.raises(InvalidArgument) as caught:
        denmark.convert(Decimal(1), "no.fagskolepoeng", "no.fagskolepoeng", field="x")
    assert caught.value.reason == "UNKNOWN_TERM"


def test_kompetansepoeng_are_proposed_and_no_rule_uses_them() -> None:
    norway = ALL.require("NO", field="")
    assert norway.units["no.kompetansepoeng"].standing == Standing.PROPOSED
    assert not any("no.kompetansepoeng" in one.units for one in norway.rules)


# --- Rules -----------------------------------------------------------------------------------------


def test_every_rule_says_what_it_rests_on() -> None:
    for framework in ALL:
        stated: list[Rule | Prohibition] = [*framework.rules, *framework.prohibitions]
        for one in stated:
            assert one.basis.title
            assert len(one.basis.passage) > 20
            assert one.says.endswith(".")
            assert one.standing in Standing


@pytest.mark.parametrize(
    ("rule_id", "standing"),
    [
        ("no.university.micro_credential", "in_force"),
        ("no.fagskole.programme.module", "in_force"),
        ("no.fagskole.vitnemal_of_any_size", "interpretation"),
        ("no.private_provider.kompetanseattest", "proposed"),
        ("dk.business_academy.micro_credential", "pilot"),
        ("se.employer.mikromerit", "pilot"),
        ("se.yh.course", "in_force"),
    ],
)
def test_what_is_not_law_is_not_called_law(rule_id: str, standing: str) -> None:
    assert rule(rule_id[:2].upper(), rule_id).standing == standing


def test_law_is_what_is_in_force_and_readings_of_it() -> None:
    assert set(LAW) == {"in_force", "interpretation"}


@pytest.mark.parametrize(
    ("rule_id", "first"),
    [
        ("no.fagskole.vitnemal_of_any_size", date(2021, 7, 1)),
        ("no.fagskole.institution.module", date(2025, 1, 1)),
        ("no.fagskole.institution.vitnemal", date(2025, 1, 1)),
        ("no.fagskole.vitnemal", None),
        ("is.university.ornam", date(2024, 4, 10)),
    ],
)
def test_rules_change_with_time(rule_id: str, first: date | None) -> None:
    assert rule(rule_id[:2].upper(), rule_id).valid_from == first


def test_a_rule_looks_at_level_unit_and_size() -> None:
    pilot = rule("DK", "dk.business_academy.micro_credential")
    offer = Offer("dk.micro_credential", ("dk.nqf", "6"), "ects", Decimal("0.25"), "", "")
    assert [finding.reason for finding in pilot.examine(offer)] == [
        Reason.LEVEL_NOT_ALLOWED,
        None,
        Reason.SIZE_BELOW_MINIMUM,
    ]
    # Points of a foreign unit are not held against limits that count another unit.
    foreign = Offer("dk.micro_credential", None, "no.fagskolepoeng", Decimal("0.25"), "", "")
    assert [finding.reason for finding in pilot.examine(foreign)] == [None, Reason.UNIT_NOT_ALLOWED]


def test_a_standing_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Frameworks.load({"in_force", "wishful"})
    assert caught.value.reason == "UNKNOWN_STANDING"


# --- How strictly a file is read -------------------------------------------------------------------

#: A country in miniature, with everything that a file can have.
FINLAND = """
country = "FI"
name = { fi = "Suomi", en = "Finland" }
version = "2026-11-22"

[sources.law]
title = "A law of Finland"

[accreditation_required]
id = "fi.accreditation_required"
standing = "in_force"
basis = { source = "law", passage = "Who issues has been accredited." }
remedy = "apply to the ministry"

[[level_framework]]
id = "fi.finqf"
name = { fi = "Viitekehys", en = "Framework" }
basis = { source = "law", passage = "Two levels will do here." }
levels = [{ level = "4", eqf = "4" }, { level = "5", eqf = "5", also = "V", example = "a diploma" }]

[[unit]]
id = "fi.osp"
name = { fi = "osaamispiste", en = "competence points" }
standing = "in_force"
basis = { source = "law", passage = "60 a year." }
converts_to = [{ unit = "ects", factor = "0.5" }]

[[outcome_category]]
id = "knowledge"
name = { fi = "Tiedot", en = "Knowledge" }

[[credential_kind]]
id = "fi.todistus"
name = { fi = "Todistus", en = "Certificate" }
formal = true

[[credential_kind]]
id = "fi.merkki"
name = { fi = "Merkki", en = "Badge" }
formal = false
not_equal_to = ["fi.todistus"]

[[provider_kind]]
id = "fi.oppilaitos"
name = { fi = "Oppilaitos", en = "School" }

[[provider_kind]]
id = "fi.yritys"
name = { fi = "Yritys", en = "Company" }

[[accreditation_kind]]
id = "fi.lupa"
name = { fi = "Lupa", en = "Licence" }
granted_by = "the ministry"
held_by = ["fi.oppilaitos"]
bounded_by = ["educations"]
must_end = true
review_after_years = 5
duties = ["report_changes"]
basis = { source = "law", passage = "A licence is given for five years." }

[[rule]]
id = "fi.oppilaitos.todistus"
says = "A licensed school may issue certificates."
accreditation = "fi.lupa"
providers = ["fi.oppilaitos"]
credentials = ["fi.todistus"]
levels = ["none", "fi.finqf 5"]
units = ["fi.osp"]
min_points = "1"
max_points = "180"
standing = "in_force"
valid_from = 2020-01-01
valid_until = 2030-01-01
basis = { source = "law", passage = "A licensed school gives certificates." }

[rule.remedy]
SIZE_BELOW_MINIMUM = "make it larger"

[[recognition]]
id = "fi.oppilaitos.recognition"
says = "A school recognises prior learning against certificates, for exemption."
bodies = ["fi.oppilaitos"]
against = ["fi.todistus"]
levels = ["fi.finqf 5"]
units = ["fi.osp"]
purposes = ["exemption"]
documented_by = ["fi.todistus"]
standing = "in_force"
valid_from = 2020-01-01
valid_until = 2030-01-01
basis = { source = "law", passage = "A school recognises prior learning." }
remedy = "recognise it for exemption"

[[prohibition]]
id = "fi.merkki.nobody"
says = "A badge is worth nothing."
credentials = ["fi.merkki"]
standing = "in_force"
basis = { source = "law", passage = "Nobody gives badges." }
remedy = "issue a certificate"
"""


def with_finland(text: str = FINLAND) -> list[Framework]:
    return parse({**SHIPPED, "fi.toml": text})


def test_a_new_country_is_a_file_and_no_code() -> None:
    frameworks = Frameworks(with_finland(), LAW)
    school = "0212:01120389"
    assert OrganisationId.parse(school).country == "FI", "the contract takes its organisations as they are"
    chronicle = Chronicle()
    chronicle.provider(school, country="FI", kind="fi.oppilaitos")
    covered = scope("fi.todistus", levels=[("fi.finqf", "5")], credit_unit="fi.osp", educations=["fi.sote"])
    chronicle.accredit(school, "fi.lupa", covered)
    now = datetime(2026, 11, 21, tzinfo=UTC)
    offers = [
        (("5", "fi.osp"), "fi.todistus", None, "fi.oppilaitos.todistus"),
        (("0.5", "fi.osp"), "fi.todistus", "SIZE_BELOW_MINIMUM", "fi.oppilaitos.todistus"),
        (("5", "ects"), "fi.todistus", "UNIT_NOT_ALLOWED", "fi.oppilaitos.todistus"),
        (("5", "fi.osp"), "fi.merkki", "KIND_NOT_ALLOWED", "fi.merkki.nobody"),
    ]
    for version, ((points, unit), kind, reason, ruled_by) in enumerate(offers, start=1):
        offered = achievement(
            school, kind, version=version, workload=(unit, points), level=("fi.finqf", "5"), part_of="fi.sote"
        )
        chronicle.publish(offered)
        outcome = decide(chronicle.projection(), frameworks, school, offered.id, version, at=now)
        assert (outcome.reason, outcome.rule, outcome.country) == (reason, ruled_by, "FI")
    finland = frameworks.require("FI", field="")
    assert finland.convert(Decimal(3), "fi.osp", "ects", field="") == Decimal("1.5")
    body = facts_pb2.Provider(id=school, kind="fi.oppilaitos", country="FI")
    against = achievement(school, "fi.todistus", workload=("fi.osp", "5"), level=("fi.finqf", "5"))
    (recognises,) = responsible(body, against, frameworks, now.date())
    assert (recognises.id, recognises.purposes) == ("fi.oppilaitos.recognition", frozenset({Purpose.EXEMPTION}))
    terms = Terms.of(frameworks)
    assert terms.converted(Decimal(4), "fi.osp", "ects") == Decimal(2)
    assert terms.at_least(("fi.finqf", "5"), ("no.nkr", "4A"))
    assert terms.is_formal("fi.todistus")
    assert terms.is_non_formal("fi.merkki")


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        # Spelling.
        ("credentials = [", "credental = [", "rule[0].credentials"),
        ('says = "A lic', 'colour = "red"\nsays = "A lic', "rule[0].colour"),
        ("SIZE_BELOW_MINIMUM =", "SIZE_TOO_NICE =", "rule[0].remedy.SIZE_TOO_NICE"),
        # Terms that are not defined, or not this country's.
        ('accreditation = "fi.lupa"', 'accreditation = "fi.valta"', "rule[0].accreditation"),
        ('accreditation = "fi.lupa"', 'accreditation = ["fi.lupa", "fi.valta"]', "rule[0].accreditation"),
        ('accreditation = "fi.lupa"', "accreditation = []", "rule[0].accreditation"),
        ('providers = ["fi.oppilaitos"]', 'providers = ["fi.yritys"]', "rule[0].providers"),
        ('providers = ["fi.oppilaitos"]', 'providers = ["fi.sirkus"]', "rule[0].providers"),
        ('credentials = ["fi.todistus"]', "credentials = []", "rule[0].credentials"),
        ('"fi.finqf 5"]', '"fi.finqf 9"]', "rule[0].levels"),
        ('levels = ["none", "fi.finqf 5"]', "levels = []", "rule[0].levels"),
        ('units = ["fi.osp"]', 'units = ["credits"]', "rule[0].units"),
        ('units = ["fi.osp"]', "units = []", "rule[0].units"),
        ('units = ["fi.osp"]', 'units = ["fi.osp", "fi.osp"]', "rule[0].units"),
        ('id = "fi.oppilaitos.tod', 'id = "dk.oppilaitos.tod', "rule[0].id"),
        ('id = "fi.oppilaitos.tod', 'id = "FI oppilaitos', "rule[0].id"),
        ('id = "fi.accreditation', 'id = "no.accreditation', "accreditation_required.id"),
        ('id = "fi.merkki.nobody"', 'id = "fi.oppilaitos.todistus"', "rule"),
        ('id = "fi.merkki"', 'id = "fi.todistus"', "credential_kind[1].id"),
        ('id = "fi.merkki"', 'id = "merkki"', "credential_kind[1].id"),
        ('id = "knowledge"', 'id = "wisdom"', "outcome_category[0].id"),
        ('id = "fi.osp"', 'id = "gold"', "unit[0].id"),
        ('source = "law", passage = "A licensed', 'source = "hearsay", passage = "A licensed', "rule[0].basis.source"),
        ('not_equal_to = ["fi.todistus"]', 'not_equal_to = ["fi.merkki"]', "credential_kind.not_equal_to"),
        ('held_by = ["fi.oppilaitos"]', 'held_by = ["fi.sirkus"]', "accreditation_kind[0].held_by"),
        ('unit = "ects", factor', 'unit = "gold", factor', "unit.converts_to"),
        ('credentials = ["fi.merkki"]', 'credentials = ["fi.todistus"]', "prohibition[0].credentials"),
        # Words of closed vocabularies.
        ('bounded_by = ["educations"]', 'bounded_by = ["moods"]', "accreditation_kind[0].bounded_by"),
        ('duties = ["report_changes"]', 'duties = ["smile"]', "accreditation_kind[0].duties"),
        ('"180"\nstanding = "in_force"', '"180"\nstanding = "hoped"', "rule[0].standing"),
        # Values of the wrong type, and contradictions.
        ("valid_from = 2020-01-01", 'valid_from = "2020-01-01"', "rule[0].valid_from"),
        ("valid_until = 2030-01-01", "valid_until = 2019-01-01", "rule[0].valid_until"),
        ('min_points = "1"', "min_points = 1", "rule[0].min_points"),
        ('min_points = "1"', 'min_points = "-1"', "rule[0].min_points"),
        ('min_points = "1"', 'min_points = "a half"', "rule[0].min_points"),
        ('min_points = "1"', 'min_points = "181"', "rule[0].max_points"),
        ('units = ["fi.osp"]', 'units = ["none", "fi.osp"]', "rule[0].units"),
        ('factor = "0.5"', 'factor = "0"', "unit[0].converts_to[0].factor"),
        ('converts_to = [{ unit = "ects", factor = "0.5" }]', "converts_to = []", "unit[0].no_conversion"),
        ('level = "5", eqf = "5"', 'level = "5", eqf = "9"', "level_framework[0].levels[1].eqf"),
        ('level = "5", eqf = "5"', 'level = "4", eqf = "5"', "level_framework[0].levels[1].level"),
        ('level = "5", eqf = "5"', 'level = "5", eqf = "3"', "level_framework[0].levels[1].eqf"),
        # Recognition.
        ('bodies = ["fi.oppilaitos"]', 'bodies = ["fi.yritys"]', "recognition[0].documented_by"),
        ('documented_by = ["fi.todistus"]', 'documented_by = ["fi.merkki"]', "recognition[0].documented_by"),
        ('purposes = ["exemption"]', 'purposes = ["fun"]', "recognition[0].purposes"),
        ('purposes = ["exemption"]', "purposes = []", "recognition[0].purposes"),
        ('against = ["fi.todistus"]', 'against = ["fi.diplomi"]', "recognition[0].against"),
        ('id = "fi.oppilaitos.recognition"', 'id = "fi.oppilaitos.todistus"', "rule"),
        ("valid_from = 2020-01-01\nvalid_until = 2030-01-01\nbasis = { source = \"law\", passage = \"A school",
         "valid_from = 2030-01-01\nvalid_until = 2030-01-01\nbasis = { source = \"law\", passage = \"A school",
         "recognition[0].valid_until"),
        ('name = { fi = "Merkki", en = "Badge" }', 'name = { fi = "Merkki" }', "credential_kind[1].name"),
        ("formal = true", 'formal = "yes"', "credential_kind[0].formal"),
        ("review_after_years = 5", "review_after_years = 0", "accreditation_kind[0].review_after_years"),
        ('basis = { source = "law", passage = "A licence is given for five years." }', "",
         "accreditation_kind[0].basis"),
        # A rule in force that counts in something which is not.
        ('standing = "in_force"\nbasis = { source = "law", passage = "60',
         'standing = "proposed"\nbasis = { source = "law", passage = "60', "rule[0].standing"),
        ('version = "2026-11-22"', 'version = "last week"', "version"),
        ('country = "FI"', 'country = "SU"', "country"),
        ('country = "FI"', 'country = "NO"', "country"),
        ('[sources.law]\ntitle = "A law of Finland"', "sources = 1", "sources"),
        ("[[prohibition]]", "[prohibition]", "prohibition"),
        ('name = { fi = "Suomi", en = "Finland" }', "", "name"),
    ],
)  # fmt: skip
def test_a_file_is_read_strictly_and_a_fault_is_named(before: str, after: str, place: str) -> None:
    assert before in FINLAND
    with pytest.raises(InvalidArgument) as caught:
        with_finland(FINLAND.replace(before, after, 1))
    error = caught.value
    assert (error.reason, error.field) == ("BAD_FRAMEWORK", f"fi.toml: {place}")
    assert error.rule
    assert error.remedy
    assert error.message.startswith(f"fi.toml: {place}: ")


def test_a_fault_names_the_rule_that_it_is_in() -> None:
    with pytest.raises(InvalidArgument, match=r"rule\[0\]\.levels: fi\.finqf 9 is no level here \(fi\.oppilaitos\.tod"):
        with_finland(FINLAND.replace('"fi.finqf 5"]', '"fi.finqf 9"]'))


def test_what_is_no_toml_and_what_is_missing() -> None:
    with pytest.raises(InvalidArgument, match="line 1") as caught:
        with_finland("country =\n")
    assert caught.value.field == "fi.toml"
    with pytest.raises(InvalidArgument) as caught:
        parse({name: text for name, text in SHIPPED.items() if name != "eu.toml"})
    assert caught.value.field == "eu.toml"
