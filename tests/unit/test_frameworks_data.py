"""The data files as they are shipped, and how strictly they are read."""

from __future__ import annotations

from decimal import Decimal
from importlib.resources import files

import pytest

from vitne.errors import InvalidArgument
from vitne.frameworks import Frameworks, Offer, Reason, Rule, Standing
from vitne.frameworks.engine import parse

SHIPPED = {
    path.name: path.read_text("utf-8")
    for path in files("vitne.frameworks").joinpath("data").iterdir()
    if path.name.endswith(".toml")
}
ALL = Frameworks.load(Standing)


def rule(country: str, rule_id: str) -> Rule:
    framework = ALL.country(country)
    assert framework is not None
    return next(rule for rule in framework.rules if rule.id == rule_id)


def test_a_country_is_a_file() -> None:
    assert {framework.country for framework in ALL} == {name.removesuffix(".toml").upper() for name in SHIPPED}
    assert ALL.country("FI") is None
    with pytest.raises(InvalidArgument) as caught:
        ALL.require("FI", field="provider.country")
    assert (caught.value.reason, caught.value.field) == ("UNKNOWN_COUNTRY", "provider.country")


def test_the_levels_of_norway_and_denmark_and_what_they_are_in_eqf() -> None:
    norway, denmark = ALL.require("NO", field=""), ALL.require("DK", field="")
    assert {level: eqf for (_, level), eqf in norway.levels.items()} == {
        "2": "2", "3": "3", "4A": "4", "4B": "4", "5.1": "5", "5.2": "5", "6.1": "6", "6.2": "6", "7": "7", "8": "8",
    }  # fmt: skip
    assert {level: eqf for (_, level), eqf in denmark.levels.items()} == {str(n): str(n) for n in range(1, 9)}
    assert set(norway.outcome_categories) == {"knowledge", "skills", "general_competence"}
    assert set(denmark.outcome_categories) == {"knowledge", "skills", "competence"}


def test_the_points_of_fagskoler_convert_to_nothing() -> None:
    norway = ALL.require("NO", field="")
    assert set(norway.units) == {"ects", "no.fagskolepoeng"}
    assert all(unit.converts_to == {} for framework in ALL for unit in framework.units.values())


def test_every_rule_says_what_it_rests_on() -> None:
    for framework in ALL:
        for one in framework.rules:
            assert one.basis.title
            assert len(one.basis.passage) > 20
            assert one.says.endswith(".")
            assert one.standing in Standing


@pytest.mark.parametrize(
    ("rule_id", "standing"),
    [
        ("no.university.micro_credential", "in_force"),
        ("no.fagskole.programme.module", "in_force"),
        ("no.private_provider.kompetanseattest", "proposed"),
        ("dk.business_academy.micro_credential", "pilot"),
    ],
)
def test_what_is_not_law_is_not_called_law(rule_id: str, standing: str) -> None:
    assert rule(rule_id[:2].upper(), rule_id).standing == standing


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


@pytest.mark.parametrize(
    ("file", "before", "after", "key"),
    [
        ("no.toml", "credentials = [", "credental = [", "rule[0].credentials"),
        ("no.toml", 'says = "A self', 'colour = "red"\nsays = "A self', "rule[0].colour"),
        ("no.toml", 'accreditation = "no.self_accrediting"', 'accreditation = "no.selfmade"', "rule[0].accreditation"),
        ("no.toml", 'providers = ["no.university"]', 'providers = ["no.fagskole"]', "rule[0].providers"),
        ("no.toml", 'providers = ["no.university"]', 'providers = ["no.circus"]', "rule[0].providers"),
        ("no.toml", 'credentials = ["no.micro_credential"]', "credentials = []", "rule[0].credentials"),
        ("no.toml", 'levels = ["none", "no.nkr"]', 'levels = ["none", "no.nkr 9"]', "rule[0].levels"),
        ("no.toml", 'levels = ["none", "no.nkr"]', "levels = []", "rule[0].levels"),
        ("no.toml", 'units = ["ects"]', 'units = ["credits"]', "rule[0].units"),
        ("no.toml", 'units = ["ects"]', "units = []", "rule[0].units"),
        ("no.toml", 'units = ["ects"]', 'units = ["ects", "ects"]', "rule[0].units"),
        ("no.toml", "UNIT_NOT_ALLOWED =", "UNIT_NOT_NICE =", "rule[0].remedy.UNIT_NOT_NICE"),
        ("no.toml", 'id = "no.university.micro', 'id = "dk.university.micro', "rule[0].id"),
        ("no.toml", "valid_from = 2025-01-01", 'valid_from = "2025-01-01"', "rule[4].valid_from"),
        (
            "no.toml",
            "valid_from = 2025-01-01",
            "valid_from = 2025-01-01\nvalid_until = 2024-01-01",
            "rule[4].valid_until",
        ),
        ("no.toml", 'level = "4B", eqf = "4"', 'level = "4B", eqf = "9"', "level_framework[0].levels[3].eqf"),
        ("no.toml", 'level = "4B", eqf = "4"', 'level = "4A", eqf = "4"', "level_framework[0].levels[3].level"),
        ("no.toml", 'id = "no.vitnemal"', 'id = "no.micro_credential"', "credential_kind[2].id"),
        ("no.toml", 'id = "no.vitnemal"', 'id = "vitnemal"', "credential_kind[2].id"),
        (
            "no.toml",
            'name = { nb = "Vitnemål", en = "Diploma" }',
            'name = { nb = "Vitnemål" }',
            "credential_kind[2].name",
        ),
        ("no.toml", 'id = "ects"', 'id = "ecst"', "unit[0].id"),
        ("no.toml", 'bounded_by = ["fields"]', 'bounded_by = ["moods"]', "accreditation_kind[1].bounded_by"),
        ("no.toml", 'version = "2026-11-01"', 'version = "last week"', "version"),
        ("no.toml", 'country = "NO"', 'country = "DK"', "country"),
        ("dk.toml", 'min_points = "0.5"', "min_points = 0.5", "rule[0].min_points"),
        ("dk.toml", 'min_points = "0.5"', 'min_points = "a half"', "rule[0].min_points"),
        ("dk.toml", 'min_points = "0.5"', 'min_points = "5"\nmax_points = "1"', "rule[0].max_points"),
        ("dk.toml", 'standing = "pilot"', 'standing = "hoped"', "rule[0].standing"),
        ("dk.toml", 'source = "fafo-2025"', 'source = "hearsay"', "rule[0].basis.source"),
        (
            "dk.toml",
            '[accreditation_required]\nid = "dk.acc',
            '[accreditation_required]\nid = "no.acc',
            "accreditation_required.id",
        ),
        ("dk.toml", "converts_to = []", 'converts_to = [{ unit = "gold", factor = "2" }]', "unit.converts_to"),
        (
            "dk.toml",
            "converts_to = []",
            'converts_to = [{ unit = "ects", factor = "0" }]',
            "unit[0].converts_to[0].factor",
        ),
        ("eu.toml", 'country = "EU"', 'country = "XX"', "country"),
    ],
)
def test_a_file_is_read_strictly_and_a_fault_is_named(file: str, before: str, after: str, key: str) -> None:
    assert before in SHIPPED[file]
    with pytest.raises(InvalidArgument) as caught:
        parse({**SHIPPED, file: SHIPPED[file].replace(before, after, 1)})
    assert caught.value.reason == "BAD_FRAMEWORK"
    assert caught.value.field == f"{file}: {key}"


def test_what_is_no_toml_and_what_is_missing() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse({**SHIPPED, "no.toml": "country = "})
    assert caught.value.field == "no.toml"
    with pytest.raises(InvalidArgument) as caught:
        parse({name: text for name, text in SHIPPED.items() if name != "eu.toml"})
    assert caught.value.field == "eu.toml"


def test_a_new_country_is_a_file_and_no_code() -> None:
    finland = SHIPPED["dk.toml"].replace("dk.", "fi.").replace('"DK"', '"FI"').replace(" da =", " fi =")
    countries = {framework.country: framework for framework in parse({**SHIPPED, "fi.toml": finland})}
    assert countries["FI"].rules_for("fi.institution", "fi.business_academy", "fi.micro_credential")
