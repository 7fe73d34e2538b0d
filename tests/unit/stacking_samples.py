"""Rules and credentials for tests of stacking."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from vitne.accreditation.facts import FOREVER
from vitne.canonical import digest_text
from vitne.stacking import Answer, Held, Rule, Stacking, Terms, canonical_form
from vitne.stacking.rule import Conditions, Node, One, Points, Range, Some

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
TODAY = AT.date()
P, Q = "0192:971035854", "0192:874789542"
#: A made-up country: `x.hour` converts to `ects` and not back; `x.attest` is outside the formal system.
TERMS = Terms(
    conversions={"ects": {}, "x.hour": {"ects": Decimal("0.04")}, "no.fagskolepoeng": {}},
    levels={
        **{("eqf", str(level)): str(level) for level in range(1, 9)},
        ("no.nkr", "4A"): "4",
        ("no.nkr", "4B"): "4",
        ("no.nkr", "5.1"): "5",
        ("no.nkr", "5.2"): "5",
        ("no.nkr", "6.1"): "6",
        ("dk.nqf", "5"): "5",
        ("dk.nqf", "6"): "6",
    },
    formal={"x.module", "x.degree"},
    non_formal={"x.attest", "x.in_company"},
)


def one(achievement: str, key: str = "", first: int = 1, last: int | None = None, **conditions: Any) -> One:
    return One(key or achievement, Range(achievement, first, last), _conditions(conditions))


def some(key: str, count: int, parts: Iterable[Node], **conditions: Any) -> Some:
    return Some(key, count, tuple(parts), _conditions(conditions))


def all_of(key: str, parts: Iterable[Node], **conditions: Any) -> Some:
    listed = tuple(parts)
    return Some(key, len(listed), listed, _conditions(conditions))


def points(
    key: str, need: str, achievements: Iterable[str], *, unit: str = "ects", room: str | None = None, **conditions: Any
) -> Points:
    ranges = tuple(Range(achievement, 1, None) for achievement in achievements)
    return Points(key, unit, Decimal(need), ranges, None if room is None else Decimal(room), _conditions(conditions))


def _conditions(fields: dict[str, Any]) -> Conditions:
    if "providers" in fields:
        fields["providers"] = frozenset(fields["providers"])
    return Conditions(**fields)


def rule(root: Node, *order: tuple[str, str], **changes: Any) -> Rule:
    fields: dict[str, Any] = {
        "id": "q",
        "version": 1,
        "provider": P,
        "awards": ("whole", 1),
        "kind": "x.degree",
        "root": root,
        "order": tuple(sorted(order)),
        "valid_from": -FOREVER,
        "valid_until": FOREVER,
        "digest": digest_text(canonical_form(root, tuple(order))),
    }
    return Rule(**{**fields, **changes})


def has(achievement: str, reference: str = "", **changes: Any) -> Held:
    fields: dict[str, Any] = {
        "reference": reference or achievement,
        "achievement": achievement,
        "version": 1,
        "provider": P,
        "kind": "x.module",
        "awarded_on": date(2026, 6, 1),
        "unit": "ects",
        "points": Decimal(changes.pop("points", "5")),
    }
    return Held(**{**fields, **changes})


def answer(asked: Rule, *held: Held, terms: Terms = TERMS, at: datetime = AT) -> Answer:
    """The one answer for a qualification."""
    (found,) = Stacking([asked], terms).evaluate(held, at, [asked.id]).answers
    return found


def counted(found: Answer) -> dict[str, str]:
    """Requirement by reference."""
    return {one.reference: one.requirement for one in found.counted}


def why(found: Answer) -> dict[str, str]:
    """Reason by reference."""
    return {one.reference: one.why.value for one in found.uncounted}


def lacks(found: Answer) -> dict[str, str]:
    """What is there of what is asked for, by requirement."""
    return {one.requirement: f"{one.have}/{one.need}" for one in found.missing}
