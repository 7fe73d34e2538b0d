"""Whatever is offered, under whatever accreditation: the engine allows what the files say, and nothing else."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.accreditation_samples import Chronicle, scope
from vitne.accreditation import judge
from vitne.frameworks import LAW, Frameworks, Offer, Standing

FILES: dict[str, dict[str, Any]] = {
    path.name[:2].upper(): tomllib.loads(path.read_text("utf-8"))
    for path in files("vitne.frameworks").joinpath("data").iterdir()
    if path.name.endswith(".toml") and path.name != "eu.toml"
}
PROVIDER = "0192:313000001"
BEGAN = datetime(2010, 1, 1, tzinfo=UTC)


def ids(file: dict[str, Any], key: str) -> list[str]:
    return [entry["id"] for entry in file[key]]


def levels(file: dict[str, Any]) -> list[tuple[str, str]]:
    return [(scheme["id"], item["level"]) for scheme in file["level_framework"] for item in scheme["levels"]]


def naive(file: dict[str, Any], held: str, provider_kind: str, offer: Offer, day: date, applied: set[str]) -> bool:
    """A file, read aloud: no cleverness, no sharing of code."""
    level = " ".join(offer.level) if offer.level else "none"
    for rule in file["rule"]:
        under = rule["accreditation"] if isinstance(rule["accreditation"], list) else [rule["accreditation"]]
        if (
            held in under
            and provider_kind in rule["providers"]
            and offer.kind in rule["credentials"]
            and (level in rule["levels"] or level.split(" ")[0] in rule["levels"])
            and (offer.unit or "none") in rule["units"]
            and (offer.points is None or float(offer.points) >= float(rule.get("min_points", 0)))
            and (offer.points is None or float(offer.points) <= float(rule.get("max_points", 1e9)))
            and rule["standing"] in applied
            and rule.get("valid_from", date.min) <= day < rule.get("valid_until", date.max)
        ):
            return True
    return False


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, str, str, Offer]:
    """A country, a kind of accreditation and of provider, and an offer: what a rule is about, but for two things."""
    country = draw(st.sampled_from(sorted(FILES)))
    file = FILES[country]
    rule = draw(st.sampled_from(file["rule"]))
    under = rule["accreditation"] if isinstance(rule["accreditation"], list) else [rule["accreditation"]]
    other = draw(st.sets(st.sampled_from(["unit", "size", "level", "kind", "held", "provider"]), max_size=2))

    def one(name: str, of_rule: list[Any], every: list[Any]) -> Any:
        return draw(st.sampled_from(every if name in other else of_rule))

    unit = one("unit", [unit.replace("none", "") for unit in rule["units"]], ["", *ids(file, "unit")])
    least = Decimal(rule.get("min_points", "5"))
    points = one("size", [least], [least - Decimal("0.25"), Decimal("0.25"), Decimal(1000)]) if unit else None
    schemes = [text for text in rule["levels"] if text != "none"]
    of_rule = [level for level in levels(file) if level[0] in schemes or " ".join(level) in schemes]
    level = one("level", [*of_rule, *([None] if "none" in rule["levels"] else [])], [None, *levels(file)])
    kind = one("kind", rule["credentials"], ids(file, "credential_kind"))
    held = one("held", under, ids(file, "accreditation_kind"))
    provider_kind = one("provider", rule["providers"], ids(file, "provider_kind"))
    return country, held, provider_kind, Offer(kind, level, unit, points, "0921", "an.education")


@settings(deadline=None, max_examples=400)
@given(
    question=questions(),
    applied=st.sampled_from([set(Standing), set(LAW), {Standing.IN_FORCE}]),
    day=st.sampled_from(
        [date(2020, 12, 31), date(2021, 7, 1), date(2024, 12, 31), date(2025, 1, 1), date(2026, 11, 22)]
    ),
)
def test_what_is_allowed_is_what_a_file_says(
    question: tuple[str, str, str, Offer], applied: set[Standing], day: date
) -> None:
    country, held, provider_kind, offer = question
    file = FILES[country]
    # The accreditation covers everything, so that only the national rules are left to decide.
    covered = scope(
        *ids(file, "credential_kind"),
        levels=levels(file),
        credit_unit=offer.unit,
        fields=["09"],
        educations=["an.education"],
    )
    chronicle = Chronicle(BEGAN)
    chronicle.provider(PROVIDER, country=country, kind=provider_kind)
    chronicle.accredit(PROVIDER, held, covered, valid_from=BEGAN)
    frameworks = Frameworks(ALL, applied)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=12)
    outcome = judge(chronicle.projection(), frameworks, PROVIDER, offer, at)
    assert outcome.allowed == naive(file, held, provider_kind, offer, day, {*applied})
    if outcome.allowed:
        assert outcome.standing in applied
    else:
        assert outcome.reason
        assert outcome.rule
        assert outcome.remedy


ALL = Frameworks.load(Standing)
