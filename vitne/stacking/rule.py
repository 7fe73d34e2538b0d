"""The rule of a qualification, read once: an immutable tree, and its canonical form.

Two rules have the same canonical form when they differ only in the order of their
parts, or in groupings that say nothing (all-of within all-of, a number of parts that is
all of them). Its digest is what answers cite.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from vitne.accreditation.facts import FOREVER, stamp_milliseconds
from vitne.canonical import canonical_bytes, digest_text
from vitne.stacking.terms import Level
from vitne_api.registry.v1 import qualification_pb2


@dataclass(frozen=True, slots=True)
class Range:
    """An achievement in some of its versions."""

    achievement: str
    first: int
    #: None: also those to come.
    last: int | None

    def covers(self, version: int) -> bool:
        """Whether a version is one of them."""
        return self.first <= version and (self.last is None or version <= self.last)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What everything counted under a node must satisfy."""

    min_level: Level | None = None
    #: Zero: no bound.
    max_age_months: int = 0
    #: Empty: any.
    providers: frozenset[str] = frozenset()
    same_provider: bool = False
    #: None: any number.
    max_recognised: int | None = None


ANYTHING = Conditions()


@dataclass(frozen=True, slots=True)
class One:
    """One credential for an achievement."""

    key: str
    range: Range
    conditions: Conditions = ANYTHING


@dataclass(frozen=True, slots=True)
class Some:
    """So many of several requirements; all of them where ``count`` is their number."""

    key: str
    count: int
    parts: tuple[Node, ...]
    conditions: Conditions = ANYTHING


@dataclass(frozen=True, slots=True)
class Points:
    """So many credits from several achievements, each counted once."""

    key: str
    unit: str
    points: Decimal
    ranges: tuple[Range, ...]
    #: Credits by recognition count up to it; None: without bound.
    max_recognised_points: Decimal | None = None
    conditions: Conditions = ANYTHING


Node: TypeAlias = One | Some | Points


@dataclass(frozen=True, slots=True)
class Rule:
    """A version of a qualification."""

    id: str
    version: int
    provider: str
    #: The achievement that is awarded, and its version.
    awards: tuple[str, int]
    #: Kind of credential that is awarded, in the national rules.
    kind: str
    root: Node
    #: Pairs of keys: what is counted under the first was awarded no later than what is under the second.
    order: tuple[tuple[str, str], ...]
    #: Milliseconds since 1970; the first instant of no end is ``FOREVER``.
    valid_from: int
    valid_until: int
    digest: str


def read(message: qualification_pb2.Qualification, kind: str) -> Rule:
    """The rule of a qualification that keeps the rules of its contract.

    Args:
        message: the qualification.
        kind: of the achievement that it awards.
    """
    root = _node(message.requirement)
    order = tuple(sorted({(one.before, one.after) for one in message.order}))
    return Rule(
        id=message.id,
        version=message.version,
        provider=message.provider,
        awards=(message.awards.id, message.awards.version),
        kind=kind,
        root=root,
        order=order,
        valid_from=stamp_milliseconds(message.valid_from) if message.HasField("valid_from") else -FOREVER,
        valid_until=stamp_milliseconds(message.valid_until) if message.HasField("valid_until") else FOREVER,
        digest=digest_text(canonical_form(root, order)),
    )


def canonical_form(root: Node, order: tuple[tuple[str, str], ...] = ()) -> bytes:
    """RFC 8785 bytes of what a rule asks for."""
    cited = {key for pair in order for key in pair}
    return canonical_bytes({"order": [list(pair) for pair in sorted(order)], "requirement": _form(root, cited)})


def _node(message: qualification_pb2.Requirement) -> Node:
    conditions = _conditions(message.conditions)
    match message.WhichOneof("rule"):
        case "all_of":
            parts = tuple(_node(part) for part in message.all_of.requirements)
            return Some(message.key, len(parts), parts, conditions)
        case "n_of":
            parts = tuple(_node(part) for part in message.n_of.requirements)
            return Some(message.key, message.n_of.count, parts, conditions)
        case "points_of":
            said = message.points_of
            most = Decimal(said.max_recognised_points) if said.max_recognised_points else None
            ranges = tuple(_range(one) for one in said.achievements)
            return Points(message.key, said.unit, Decimal(said.points), ranges, most, conditions)
        case _:
            return One(message.key, _range(message.achievement), conditions)


def _range(message: qualification_pb2.AchievementRange) -> Range:
    return Range(message.id, max(message.min_version, 1), message.max_version or None)


def _conditions(message: qualification_pb2.Conditions) -> Conditions:
    return Conditions(
        min_level=(message.min_level.framework, message.min_level.level) if message.HasField("min_level") else None,
        max_age_months=message.max_age_months,
        providers=frozenset(message.providers),
        same_provider=message.same_provider,
        max_recognised=message.max_recognised if message.HasField("max_recognised") else None,
    )


def _form(node: Node, cited: set[str]) -> dict[str, Any]:
    """A node as JSON: parts sorted, keys only where the order cites them, groupings that say nothing opened."""
    form: dict[str, Any] = _conditions_form(node.conditions)
    if node.key in cited:
        form["key"] = node.key
    match node:
        case One():
            form["achievement"] = _range_form(node.range)
        case Points():
            form["points"] = _decimal(node.points)
            form["unit"] = node.unit
            form["achievements"] = _sorted(_range_form(one) for one in node.ranges)
            if node.max_recognised_points is not None:
                form["max_recognised_points"] = _decimal(node.max_recognised_points)
        case Some():
            parts = [_form(part, cited) for part in node.parts]
            every = node.count == len(node.parts)
            if every:
                # A part that is nothing but an all-of says the same here.
                parts = [inner for part in parts for inner in (part["of"] if _plain_all(part) else [part])]
            if len(parts) == 1 and every and not form:
                return parts[0]
            form["of"] = _sorted(parts)
            if not every:
                form["count"] = node.count
    return form


def _plain_all(form: dict[str, Any]) -> bool:
    return form.keys() == {"of"}


def _sorted(forms: Any) -> list[dict[str, Any]]:
    return sorted(forms, key=canonical_bytes)


def _range_form(one: Range) -> dict[str, Any]:
    return {"id": one.achievement, "first": one.first, **({} if one.last is None else {"last": one.last})}


def _conditions_form(conditions: Conditions) -> dict[str, Any]:
    form: dict[str, Any] = {}
    if conditions.min_level is not None:
        form["min_level"] = list(conditions.min_level)
    if conditions.max_age_months:
        form["max_age_months"] = conditions.max_age_months
    if conditions.providers:
        form["providers"] = sorted(conditions.providers)
    if conditions.same_provider:
        form["same_provider"] = True
    if conditions.max_recognised is not None:
        form["max_recognised"] = conditions.max_recognised
    return form


def _decimal(number: Decimal) -> str:
    """One text for each number: no trailing zeros, no exponent."""
    return f"{number.normalize():f}"
