"""Scopes of accreditations, held against the national rules before anything is granted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from vitne.errors import InvalidArgument
from vitne.frameworks import AccreditationKind, Bound, Framework, Reason, Rule
from vitne_api.registry.v1 import facts_pb2

#: ISCED-F 2013: broad, narrow and detailed fields have two, three and four digits.
_ISCED_F: Final = re.compile(r"\d{2,4}\Z", re.ASCII)


def check_scope(framework: Framework, kind: AccreditationKind, provider_kind: str, scope: facts_pb2.Scope) -> None:
    """Refuse a scope that no rule could ever make use of, whatever the rules' standing and time.

    Each kind of credential that the scope names must be left with a rule that allows its unit, a level of
    it or none, and a size within it; each level with a kind that may have it.

    Raises:
        InvalidArgument: naming field, rule and remedy: ``UNKNOWN_TERM``, ``UNKNOWN_LEVEL``, ``TERM_REPEATED``,
            ``KIND_NOT_ALLOWED``, ``LEVEL_NOT_ALLOWED``, ``LEVEL_REQUIRED``, ``UNIT_NOT_ALLOWED``,
            ``CREDITS_REQUIRED``, ``SIZE_BELOW_MINIMUM``, ``SIZE_ABOVE_MAXIMUM``, ``SIZES_CONTRADICT``,
            ``SIZE_WITHOUT_UNIT``, ``BAD_FIELD_CODE``, ``FIELDS_OVERLAP``, ``BOUND_REQUIRED``.
    """
    _once(scope.credential_kinds, "scope.credential_kinds")
    _once(scope.fields, "scope.fields")
    _once(scope.educations, "scope.educations")
    _once((f"{level.framework} {level.level}" for level in scope.levels), "scope.levels")
    if scope.credit_unit:
        framework.known(framework.units, scope.credit_unit, "credit unit", field="scope.credit_unit")
    levels = [
        framework.known_level(level.framework, level.level, field=f"scope.levels[{number}]")
        for number, level in enumerate(scope.levels)
    ]
    by_kind = [
        _with_unit(_rules_of(framework, kind, provider_kind, credential, number), scope.credit_unit)
        for number, credential in enumerate(scope.credential_kinds)
    ]
    _check_levels([rule for rules in by_kind for rule in rules], levels)
    least, most = _sizes(scope)
    for rules in by_kind:
        _check_sizes(_with_level(rules, levels), least, most)
    _check_fields(scope.fields)
    for bound, named in ((Bound.EDUCATIONS, scope.educations), (Bound.FIELDS, scope.fields)):
        if bound in kind.bounded_by and not named:
            raise InvalidArgument(
                "BOUND_REQUIRED",
                f"an accreditation of kind {kind.id} names its {bound}",
                field=f"scope.{bound}",
                rule=f"{kind.id} covers only what it names",
                remedy=f"name the {bound} that are covered",
            )


def check_field_code(code: str, *, field: str) -> None:
    """Refuse what is no code of ISCED-F 2013.

    Raises:
        InvalidArgument: ``BAD_FIELD_CODE``.
    """
    if not _ISCED_F.match(code):
        raise InvalidArgument(
            "BAD_FIELD_CODE",
            "not a field of education",
            field=field,
            rule="ISCED-F 2013: two, three or four digits",
            remedy="write it like 0913",
        )


def overlap(one: facts_pb2.Scope, other: facts_pb2.Scope) -> bool:
    """Whether something could be covered by both of two scopes of one kind of accreditation."""
    return (
        not set(one.credential_kinds).isdisjoint(other.credential_kinds)
        and one.credit_unit == other.credit_unit
        and _share(_levels(one), _levels(other))
        and _share(set(one.educations), set(other.educations))
        and (
            not (one.fields and other.fields)
            or any(_nested(field, wider) for field in one.fields for wider in other.fields)
        )
        and _at_most(one.min_points, other.max_points)
        and _at_most(other.min_points, one.max_points)
    )


def _share(one: set[str], other: set[str]) -> bool:
    """Whether two bounds have something in common; an empty one bounds nothing."""
    return not (one and other) or not one.isdisjoint(other)


def _levels(scope: facts_pb2.Scope) -> set[str]:
    return {f"{level.framework} {level.level}" for level in scope.levels}


def _nested(one: str, other: str) -> bool:
    """Whether one ISCED-F code is within the other: 0913 is within 091, which is within 09."""
    return one.startswith(other) or other.startswith(one)


def _at_most(least: str, most: str) -> bool:
    return not _above(Decimal(least) if least else None, Decimal(most) if most else None)


def _once(items: Iterable[str], field: str) -> None:
    seen: set[str] = set()
    for number, item in enumerate(items):
        if item in seen:
            raise InvalidArgument(
                "TERM_REPEATED",
                "something is there twice",
                field=f"{field}[{number}]",
                rule="each once",
                remedy="leave one of them out",
            )
        seen.add(item)


def _rules_of(
    framework: Framework, kind: AccreditationKind, provider_kind: str, credential: str, number: int
) -> Sequence[Rule]:
    field = f"scope.credential_kinds[{number}]"
    framework.known(framework.credential_kinds, credential, "kind of credential", field=field)
    found = framework.rules_for(kind.id, provider_kind, credential)
    if found:
        return found
    prohibition = framework.prohibition_of(credential)
    if prohibition is not None:
        raise InvalidArgument(
            Reason.KIND_NOT_ALLOWED, prohibition.says, field=field, rule=prohibition.id, remedy=prohibition.remedy
        )
    raise InvalidArgument(
        Reason.KIND_NOT_ALLOWED,
        f"no rule lets {provider_kind} issue {credential} under {kind.id}",
        field=field,
        rule=f"rules of {framework.country}, version {framework.version}",
        remedy="leave it out, or grant another kind of accreditation",
    )


def _with_unit(rules: Sequence[Rule], unit: str) -> Sequence[Rule]:
    found = [rule for rule in rules if unit in rule.units]
    if found:
        return found
    rule = rules[0]
    reason = Reason.UNIT_NOT_ALLOWED if unit else Reason.CREDITS_REQUIRED
    allowed = ", ".join(sorted(filter(None, rule.units))) or "no credits"
    raise InvalidArgument(
        reason,
        f"{unit or 'without credits'} is not what the rule allows: {allowed}",
        field="scope.credit_unit",
        rule=rule.id,
        remedy=rule.remedy_for(reason) or f"use {allowed}",
    )


def _check_levels(rules: Sequence[Rule], levels: Sequence[tuple[str, str]]) -> None:
    for number, stated in enumerate(levels):
        if not any(stated in rule.levels for rule in rules):
            raise InvalidArgument(
                Reason.LEVEL_NOT_ALLOWED,
                f"no rule for these credentials allows level {stated[1]} of {stated[0]}",
                field=f"scope.levels[{number}]",
                rule=rules[0].id,
                remedy=rules[0].remedy_for(Reason.LEVEL_NOT_ALLOWED) or "leave the level out",
            )


def _with_level(rules: Sequence[Rule], levels: Sequence[tuple[str, str]]) -> Sequence[Rule]:
    found = [rule for rule in rules if rule.unplaced or not rule.levels.isdisjoint(levels)]
    if found:
        return found
    rule = rules[0]
    raise InvalidArgument(
        Reason.LEVEL_REQUIRED,
        f"the rule asks for a level for {', '.join(sorted(rule.credentials))}, and the scope has none that it allows",
        field="scope.levels",
        rule=rule.id,
        remedy=rule.remedy_for(Reason.LEVEL_REQUIRED) or "name the levels that are covered",
    )


def _sizes(scope: facts_pb2.Scope) -> tuple[Decimal | None, Decimal | None]:
    least = Decimal(scope.min_points) if scope.min_points else None
    most = Decimal(scope.max_points) if scope.max_points else None
    if (least is not None or most is not None) and not scope.credit_unit:
        raise InvalidArgument(
            "SIZE_WITHOUT_UNIT",
            "there is a size, and no unit to measure it in",
            field="scope.min_points" if least is not None else "scope.max_points",
            rule="sizes are numbers of credits",
            remedy="name the credit unit, or leave the sizes out",
        )
    if least is not None and most is not None and least > most:
        raise InvalidArgument(
            "SIZES_CONTRADICT",
            "the smallest size is above the largest",
            field="scope.min_points",
            rule="min_points is at most max_points",
            remedy="correct the sizes",
        )
    return least, most


def _check_sizes(rules: Sequence[Rule], least: Decimal | None, most: Decimal | None) -> None:
    """Refuse sizes of which none is within any of the rules."""
    too_small = [rule for rule in rules if _above(rule.min_points, most)]
    too_large = [rule for rule in rules if _above(least, rule.max_points)]
    if any(rule not in too_small and rule not in too_large for rule in rules):
        return
    if too_small:
        rule = too_small[0]
        raise InvalidArgument(
            Reason.SIZE_BELOW_MINIMUM,
            f"nothing of at most {most} is large enough for the rule's {rule.min_points}",
            field="scope.max_points",
            rule=rule.id,
            remedy=rule.remedy_for(Reason.SIZE_BELOW_MINIMUM) or "raise the largest size",
        )
    rule = too_large[0]
    raise InvalidArgument(
        Reason.SIZE_ABOVE_MAXIMUM,
        f"nothing of at least {least} is small enough for the rule's {rule.max_points}",
        field="scope.min_points",
        rule=rule.id,
        remedy=rule.remedy_for(Reason.SIZE_ABOVE_MAXIMUM) or "lower the smallest size",
    )


def _above(least: Decimal | None, most: Decimal | None) -> bool:
    """Whether a smallest size is above a largest; an open one never is."""
    return least is not None and most is not None and least > most


def _check_fields(fields: Sequence[str]) -> None:
    for number, code in enumerate(fields):
        field = f"scope.fields[{number}]"
        check_field_code(code, field=field)
        other = next((known for known in fields[:number] if _nested(code, known)), None)
        if other is not None:
            raise InvalidArgument(
                "FIELDS_OVERLAP",
                f"{code} and {other} overlap",
                field=field,
                rule="a field covers the narrower ones within it (ISCED-F 2013: 0913 is within 091)",
                remedy=f"leave {max(code, other, key=len)} out, or name only the narrower ones",
            )
