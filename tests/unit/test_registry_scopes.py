"""A scope that the registry takes is one under which each of its kinds can be issued; anything else is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.scopes import check_scope, overlap
from tests.unit.accreditation_samples import ALL, NOW, Chronicle, scope
from tests.unit.test_nordic_cases import CATALOGUE, Holder
from vitne.accreditation import judge
from vitne.errors import InvalidArgument
from vitne.frameworks import Offer
from vitne_api.registry.v1 import facts_pb2

PROVIDER = "0192:313000001"
BEGAN = datetime(2010, 1, 1, tzinfo=UTC)
COUNTRIES = [framework.country for framework in ALL if framework.rules]
SIZES = ["", "0.25", "0.5", "5", "29", "30", "100", "400"]


@dataclass(frozen=True)
class Asked:
    """A scope that is to be granted under a kind of accreditation to a kind of provider."""

    country: str
    held: str
    provider_kind: str
    scope: facts_pb2.Scope


@st.composite
def scopes(draw: st.DrawFn) -> Asked:
    """A scope of a country's words, often near what a rule is about."""
    country = draw(st.sampled_from(COUNTRIES))
    framework = ALL.require(country, field="")
    rule = draw(st.sampled_from(framework.rules))
    held = draw(st.sampled_from(sorted(rule.accreditations)))
    provider_kind = draw(st.sampled_from(sorted(rule.providers)))
    kinds = draw(st.sets(st.sampled_from(sorted(framework.credential_kinds)), max_size=1))
    levels = draw(st.sets(st.sampled_from(sorted(framework.levels)), max_size=2))
    near = draw(st.sampled_from([*sorted(rule.levels), None]))
    covered = scope(
        *sorted(kinds | draw(st.sampled_from([set(), set(rule.credentials)])) or rule.credentials),
        levels=sorted({near} if near and draw(st.booleans()) else levels),
        credit_unit=draw(st.sampled_from([*sorted(rule.units), *sorted(rule.units), "", *sorted(framework.units)])),
        min_points=draw(st.sampled_from(SIZES)),
        max_points=draw(st.sampled_from(SIZES)),
        fields=["0921"],
        educations=["an.education"],
    )
    return Asked(country, held, provider_kind, covered)


def issuable(asked: Asked, kind: str) -> bool:
    """Whether there is anything of a kind that the accreditation lets its holder issue now."""
    covered = asked.scope
    chronicle = Chronicle(BEGAN)
    chronicle.provider(PROVIDER, country=asked.country, kind=asked.provider_kind)
    chronicle.accredit(PROVIDER, asked.held, covered, valid_from=BEGAN)
    projection = chronicle.projection()
    levels: list[Any] = [None, *((level.framework, level.level) for level in covered.levels)]
    points: list[Any] = [Decimal(size) for size in SIZES if size] if covered.credit_unit else [None]
    offers = [
        Offer(kind, level, covered.credit_unit, size, "0921", "an.education") for level in levels for size in points
    ]
    return any(judge(projection, ALL, PROVIDER, offer, NOW).allowed for offer in offers)


HOLDERS = {str(holder): holder for entry in CATALOGUE for holder in (entry.by, entry.but_not_by) if holder}


@pytest.mark.parametrize("holder", [one for one in HOLDERS.values() if one.scope], ids=lambda one: one.accreditation)
def test_what_the_catalogue_of_cases_rests_on_could_be_granted(holder: Holder) -> None:
    assert holder.scope is not None
    kind = ALL.require(holder.country, field="").accreditation_kinds[holder.accreditation]
    assert holder.provider in kind.held_by
    assert refusal(Asked(holder.country, holder.accreditation, holder.provider, holder.scope)) is None


def refusal(asked: Asked) -> InvalidArgument | None:
    framework = ALL.require(asked.country, field="")
    try:
        check_scope(framework, framework.accreditation_kinds[asked.held], asked.provider_kind, asked.scope)
    except InvalidArgument as error:
        return error
    return None


@settings(deadline=None, max_examples=300)
@given(asked=scopes())
def test_each_kind_of_a_scope_can_be_issued_or_the_scope_is_refused(asked: Asked) -> None:
    refused = refusal(asked)
    can = [issuable(asked, kind) for kind in asked.scope.credential_kinds]
    if refused is None:
        assert all(can)
        return
    assert refused.field.startswith("scope.")
    assert refused.rule
    assert refused.remedy
    if all(can):
        # Then it is something beside the kinds that no rule could use.
        assert refused.reason in {"LEVEL_NOT_ALLOWED", "SIZE_WITHOUT_UNIT"}


@given(one=scopes(), other=scopes())
def test_overlapping_is_mutual_and_every_scope_overlaps_itself(one: Asked, other: Asked) -> None:
    assert overlap(one.scope, other.scope) == overlap(other.scope, one.scope)
    least, most = one.scope.min_points, one.scope.max_points
    contradicts = least and most and Decimal(least) > Decimal(most)
    assert overlap(one.scope, one.scope) == (not contradicts)
