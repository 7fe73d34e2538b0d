"""Scopes of accreditations, held against the national rules before anything is granted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from vitne.errors import InvalidArgument
from vitne.frameworks import AccreditationKind, Bound, Framework, Reason, Rule
from vitne_api.registry.v1 import facts_pb2

#: ISCED-F 2013: broad, narrow and detailed fields have two, three and four digits.
_ISCED_F: Final = re.compile(r"\d{2,4}\Z", re.ASCII)


def check_scope(framework: Framework, kind: AccreditationKind, provider_kind: str, scope: facts_pb2.Scope) -> None:
    """Refuse a scope that no rule could ever make use of, whatever the rules' standing.

    Raises:
        InvalidArgument: naming field, rule and remedy: ``UNKNOWN_TERM``, ``UNKNOWN_LEVEL``, ``TERM_REPEATED``,
            ``KIND_NOT_ALLOWED``, ``LEVEL_NOT_ALLOWED``, ``UNIT_NOT_ALLOWED``, ``CREDITS_REQUIRED``,
            ``SIZE_BELOW_MINIMUM``, ``SIZE_ABOVE_MAXIMUM``, ``SIZES_CONTRADICT``, ``SIZE_WITHOUT_UNIT``,
            ``BAD_FIELD_CODE``, ``BOUND_REQUIRED``.
    """
    _once(scope.credential_kinds, "scope.credential_kinds")
    _once(scope.fields, "scope.fields")
    _once(scope.educations, "scope.educations")
    _once((f"{level.framework} {level.level}" for level in scope.levels), "scope.levels")
    if scope.credit_unit:
        framework.known(framework.units, scope.credit_unit, "credit unit", field="scope.credit_unit")
    rules: list[Rule] = []
    for number, credential in enumerate(scope.credential_kinds):
        field = f"scope.credential_kinds[{number}]"
        framework.known(framework.credential_kinds, credential, "kind of credential", field=field)
        found = framework.rules_for(kind.id, provider_kind, credential)
        if not found:
            raise InvalidArgument(
                Reason.KIND_NOT_ALLOWED,
                f"no rule lets {provider_kind} issue {credential} under {kind.id}",
                field=field,
                rule=f"rules of {framework.country}, version {framework.version}",
                remedy="leave it out, or grant another kind of accreditation",
            )
        _check_unit(found, scope.credit_unit)
        rules += found
    _check_levels(framework, rules, scope)
    _check_sizes(rules, scope)
    for number, code in enumerate(scope.fields):
        check_field_code(code, field=f"scope.fields[{number}]")
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


def _check_unit(rules: Iterable[Rule], unit: str) -> None:
    for rule in (refusing := list(rules)):
        if unit in rule.units:
            return
    rule = refusing[0]
    reason = Reason.UNIT_NOT_ALLOWED if unit else Reason.CREDITS_REQUIRED
    allowed = ", ".join(sorted(filter(None, rule.units))) or "no credits"
    raise InvalidArgument(
        reason,
        f"{unit or 'without credits'} is not what the rule allows: {allowed}",
        field="scope.credit_unit",
        rule=rule.id,
        remedy=rule.remedy(reason) or f"use {allowed}",
    )


def _check_levels(framework: Framework, rules: Iterable[Rule], scope: facts_pb2.Scope) -> None:
    candidates = list(rules)
    for number, level in enumerate(scope.levels):
        field = f"scope.levels[{number}]"
        stated = framework.known_level(level.framework, level.level, field=field)
        if not any(stated in rule.levels for rule in candidates):
            raise InvalidArgument(
                Reason.LEVEL_NOT_ALLOWED,
                f"no rule for these credentials allows level {level.level} of {level.framework}",
                field=field,
                rule=candidates[0].id,
                remedy=candidates[0].remedy(Reason.LEVEL_NOT_ALLOWED) or "leave the level out",
            )
    for rule in candidates:
        if not scope.levels and not rule.unplaced:
            raise InvalidArgument(
                Reason.LEVEL_REQUIRED,
                "the rule asks for a level, and the scope has none",
                field="scope.levels",
                rule=rule.id,
                remedy="name the levels that are covered",
            )


def _check_sizes(rules: Iterable[Rule], scope: facts_pb2.Scope) -> None:
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
    for rule in rules:
        if most is not None and rule.min_points is not None and most < rule.min_points:
            raise InvalidArgument(
                Reason.SIZE_BELOW_MINIMUM,
                f"nothing of at most {most} is large enough for the rule's {rule.min_points}",
                field="scope.max_points",
                rule=rule.id,
                remedy=rule.remedy(Reason.SIZE_BELOW_MINIMUM) or "raise the largest size",
            )
        if least is not None and rule.max_points is not None and least > rule.max_points:
            raise InvalidArgument(
                Reason.SIZE_ABOVE_MAXIMUM,
                f"nothing of at least {least} is small enough for the rule's {rule.max_points}",
                field="scope.min_points",
                rule=rule.id,
                remedy=rule.remedy(Reason.SIZE_ABOVE_MAXIMUM) or "lower the smallest size",
            )
