"""What a qualification must keep before it is published: it can be read, it can be met, it does not stack on itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Final, NamedTuple, Protocol

from vitne.accreditation.facts import FOREVER, instant
from vitne.errors import FailedPrecondition, InvalidArgument
from vitne.stacking.answer import Outcome
from vitne.stacking.evaluate import Stacking
from vitne.stacking.held import Held, held
from vitne.stacking.rule import Node, One, Points, Range, Rule
from vitne.stacking.terms import Terms
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import qualification_pb2

#: Nodes above a leaf, and the leaf.
MAX_DEPTH: Final = 8
#: Places at which achievements are named.
MAX_NAMED: Final = 200
#: Versions of one achievement that are tried for whether a rule can be met, the newest ones.
MAX_VERSIONS: Final = 10

_WHERE: Final = "qualification.requirement"


class Catalogue(Protocol):
    """What is known of achievements."""

    def achievement(self, achievement_id: str, version: int) -> credential_pb2.Achievement | None:
        """A version of an achievement."""
        ...

    def newest_achievement(self, achievement_id: str) -> credential_pb2.Achievement | None:
        """Its newest version."""
        ...


class _Place(NamedTuple):
    """A node, where it stands in the request, and how deep."""

    path: str
    message: qualification_pb2.Requirement
    depth: int

    @property
    def rule(self) -> str:
        """Path of what it asks for."""
        return f"{self.path}.{self.message.WhichOneof('rule')}"


def check(
    message: qualification_pb2.Qualification,
    rule: Rule,
    terms: Terms,
    catalogue: Catalogue,
    awarding: Callable[[str], Iterable[Rule]],
) -> None:
    """Refuse a qualification that could not be understood or met, or that would stack on itself.

    Args:
        message: what is to be published; each field keeps the rules of the contract.
        rule: the same, read.
        terms: the national rules.
        catalogue: the achievements that are published.
        awarding: the published qualifications, in their newest version, that award an achievement.

    Raises:
        InvalidArgument: naming field, rule and remedy: ``DATES_CONTRADICT``, ``RULE_TOO_LARGE``, ``KEY_REPEATED``,
            ``UNKNOWN_ACHIEVEMENT``, ``UNKNOWN_VERSION``, ``VERSIONS_CONTRADICT``, ``ACHIEVEMENT_REPEATED``,
            ``COUNT_UNSATISFIABLE``, ``POINTS_UNSATISFIABLE``, ``UNKNOWN_UNIT``, ``UNITS_DO_NOT_CONVERT``,
            ``UNKNOWN_LEVEL``, ``LEVEL_UNSATISFIABLE``, ``UNKNOWN_KEY``, ``ORDER_CONTRADICTS``,
            ``RULE_UNSATISFIABLE``.
        FailedPrecondition: ``CIRCULAR_STACK``.
    """
    _check_dates(message)
    places = list(_places(message.requirement, _WHERE, 1))
    _check_shape(places)
    for place in places:
        _check_conditions(place, terms)
        match place.message.WhichOneof("rule"):
            case "achievement":
                _check_range(place.message.achievement, f"{place.rule}", catalogue)
            case "n_of":
                _check_count(place)
            case "points_of":
                _check_points(place, terms, catalogue)
    _check_order(message, places)
    _check_circle(rule, awarding)
    _check_meetable(rule, terms, catalogue)


def _places(message: qualification_pb2.Requirement, path: str, depth: int) -> Iterator[_Place]:
    if depth > MAX_DEPTH:
        raise InvalidArgument(
            "RULE_TOO_LARGE",
            f"the rule is more than {MAX_DEPTH} deep",
            field=path,
            rule=f"at most {MAX_DEPTH} requirements within each other",
            remedy="award an achievement for the inner part, and ask for that",
        )
    place = _Place(path, message, depth)
    yield place
    for kind, inner in (("all_of", message.all_of.requirements), ("n_of", message.n_of.requirements)):
        for number, part in enumerate(inner):
            yield from _places(part, f"{path}.{kind}.requirements[{number}]", depth + 1)


def _check_dates(message: qualification_pb2.Qualification) -> None:
    if not (message.HasField("valid_from") and message.HasField("valid_until")):
        return
    if instant(message.valid_from) >= instant(message.valid_until):
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "it ends before it begins",
            field="qualification.valid_until",
            rule="valid_from is before valid_until",
            remedy="correct one of the two, or leave the end out",
        )


def _check_shape(places: list[_Place]) -> None:
    seen: set[str] = set()
    named = 0
    for place in places:
        if place.message.key in seen:
            raise InvalidArgument(
                "KEY_REPEATED",
                f"another requirement is called {place.message.key}",
                field=f"{place.path}.key",
                rule="a key names one requirement of the qualification",
                remedy="choose another key",
            )
        seen.add(place.message.key)
        kind = place.message.WhichOneof("rule")
        named += len(place.message.points_of.achievements) if kind == "points_of" else kind == "achievement"
        if named > MAX_NAMED:
            raise InvalidArgument(
                "RULE_TOO_LARGE",
                f"the rule names achievements at more than {MAX_NAMED} places",
                field=place.path,
                rule=f"at most {MAX_NAMED}",
                remedy="award an achievement for a part, and ask for that",
            )


def _check_conditions(place: _Place, terms: Terms) -> None:
    conditions = place.message.conditions
    if conditions.HasField("min_level"):
        level = (conditions.min_level.framework, conditions.min_level.level)
        if not terms.knows_level(level):
            raise InvalidArgument(
                "UNKNOWN_LEVEL",
                f"{level[0]} has no level {level[1]} in the national rules",
                field=f"{place.path}.conditions.min_level",
                rule="levels of the national rules",
                remedy="use a level that a country's framework has, or one of eqf",
            )


def _check_range(
    message: qualification_pb2.AchievementRange, path: str, catalogue: Catalogue
) -> credential_pb2.Achievement:
    """The newest version within a range."""
    newest = catalogue.newest_achievement(message.id)
    if newest is None:
        raise InvalidArgument(
            "UNKNOWN_ACHIEVEMENT",
            f"no achievement {message.id} was published",
            field=f"{path}.id",
            rule="a rule asks for what is in the catalogue",
            remedy="publish the achievement first, or correct its id",
        )
    if message.max_version and message.max_version < message.min_version:
        raise InvalidArgument(
            "VERSIONS_CONTRADICT",
            "the last version comes before the first",
            field=f"{path}.max_version",
            rule="min_version is at most max_version",
            remedy="correct the versions",
        )
    for name in ("min_version", "max_version"):
        if getattr(message, name) > newest.version:
            raise InvalidArgument(
                "UNKNOWN_VERSION",
                f"the newest version of {message.id} is {newest.version}",
                field=f"{path}.{name}",
                rule="a rule asks for versions that are published",
                remedy="publish the version first, or correct its number",
            )
    last = catalogue.achievement(message.id, message.max_version) if message.max_version else None
    return last or newest


def _check_count(place: _Place) -> None:
    asked, there = place.message.n_of.count, len(place.message.n_of.requirements)
    if asked > there:
        raise InvalidArgument(
            "COUNT_UNSATISFIABLE",
            f"{asked} are asked for, of {there}",
            field=f"{place.rule}.count",
            rule="a count is at most the number of its requirements",
            remedy="lower the count, or add requirements",
        )


def _check_points(place: _Place, terms: Terms, catalogue: Catalogue) -> None:
    said = place.message.points_of
    if not terms.knows_unit(said.unit):
        raise InvalidArgument(
            "UNKNOWN_UNIT",
            f"no country's rules have the unit {said.unit}",
            field=f"{place.rule}.unit",
            rule="credit units of the national rules",
            remedy="use a unit of the country's rules",
        )
    need, there = Decimal(said.points), Decimal(0)
    if not need:
        raise InvalidArgument(
            "POINTS_UNSATISFIABLE",
            "no credits are asked for",
            field=f"{place.rule}.points",
            rule="a number of credits is above zero",
            remedy="state how many, or leave the requirement out",
        )
    seen: set[str] = set()
    for number, one in enumerate(said.achievements):
        path = f"{place.rule}.achievements[{number}]"
        offered = _check_range(one, path, catalogue)
        if one.id in seen:
            raise InvalidArgument(
                "ACHIEVEMENT_REPEATED",
                "the achievement is there twice",
                field=f"{path}.id",
                rule="credits of an achievement count once",
                remedy="name it once, with all versions that count",
            )
        seen.add(one.id)
        workload = offered.workload
        points = terms.converted(Decimal(workload.points or 0), workload.unit, said.unit) if workload.unit else None
        if points is None:
            raise InvalidArgument(
                "UNITS_DO_NOT_CONVERT",
                f"{workload.unit or 'what has no credits'} does not convert to {said.unit}",
                field=f"{path}.id",
                rule="credits count in another unit only as the national rules convert them",
                remedy="leave it out, or ask for the achievement itself instead of its credits",
            )
        there += points
    if there < need:
        raise InvalidArgument(
            "POINTS_UNSATISFIABLE",
            f"the achievements have {there} {said.unit} together; {need} are asked for",
            field=f"{place.rule}.points",
            rule="what is asked for can be reached",
            remedy="lower the number, or add achievements",
        )


def _check_order(message: qualification_pb2.Qualification, places: list[_Place]) -> None:
    paths = {place.message.key: place.path for place in places}
    graph: dict[str, set[str]] = {}
    for number, pair in enumerate(message.order):
        path = f"qualification.order[{number}]"
        for name in ("before", "after"):
            if getattr(pair, name) not in paths:
                raise InvalidArgument(
                    "UNKNOWN_KEY",
                    f"no requirement is called {getattr(pair, name)}",
                    field=f"{path}.{name}",
                    rule="the order cites requirements of the qualification",
                    remedy="use a requirement's key",
                )
        mine, other = f"{paths[pair.before]}.", f"{paths[pair.after]}."
        if mine.startswith(other) or other.startswith(mine):
            raise _out_of_order(path, "a requirement can't come before what it is a part of")
        graph.setdefault(pair.after, set()).add(pair.before)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise _out_of_order("qualification.order", f"it goes round in a circle: {', '.join(error.args[1])}") from error


def _out_of_order(path: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        "ORDER_CONTRADICTS",
        problem,
        field=path,
        rule="what comes before comes before in all that the order says",
        remedy="leave one of the pairs out",
    )


def _check_circle(rule: Rule, awarding: Callable[[str], Iterable[Rule]]) -> None:
    """Refuse a whole that is a part of itself, by way of other wholes or at once."""
    whole = rule.awards[0]
    reached, waiting = set[str](), [*named(rule.root)]
    while waiting:
        part = waiting.pop()
        if part == whole:
            raise FailedPrecondition(
                "CIRCULAR_STACK",
                "what is awarded for the whole would be a part of itself",
                field=_WHERE,
                rule="stacks have a bottom",
                remedy="leave out the part that asks for the whole, here or in the qualification between",
                metadata={"achievement": part},
            )
        if part not in reached:
            reached.add(part)
            for other in awarding(part):
                # Its former versions don't matter: this one goes before them.
                waiting += named(other.root) if other.id != rule.id else ()


def named(node: Node) -> Iterator[str]:
    """Every achievement that a rule asks for, once a place."""
    for one in _ranges(node):
        yield one.achievement


def _ranges(node: Node) -> Iterator[Range]:
    match node:
        case One():
            yield node.range
        case Points():
            yield from node.ranges
        case _:
            for part in node.parts:
                yield from _ranges(part)


def _check_meetable(rule: Rule, terms: Terms, catalogue: Catalogue) -> None:
    """Refuse a rule that nobody could meet: tried on one who holds everything that it names."""
    at = datetime(2000, 1, 1, tzinfo=UTC)
    timeless = replace(rule, valid_from=-FOREVER, valid_until=FOREVER)
    holds = list(_everything(timeless, catalogue, at.date()))
    answers = Stacking([timeless], terms).evaluate(holds, at, [rule.id]).answers
    answer = answers[0]
    if answer.outcome is Outcome.COMPLETE:
        return
    lacking = answer.missing[0] if answer.missing else None
    why = next((one for one in answer.uncounted if lacking is None or one.requirement == lacking.requirement), None)
    problem = "it was not found out whether" if answer.outcome is Outcome.UNDETERMINED else "no credentials there are"
    raise InvalidArgument(
        "RULE_UNSATISFIABLE",
        f"{problem} can meet the requirement {lacking.requirement if lacking else rule.root.key}"
        + (f" ({why.why})" if why else ""),
        field=_WHERE,
        rule="a rule can be met by one who holds everything that it names, each achievement counted once",
        remedy="ask for more different achievements, or loosen the conditions of this requirement",
        metadata={"requirement": lacking.requirement if lacking else rule.root.key},
    )


def _everything(rule: Rule, catalogue: Catalogue, day: date) -> Iterator[Held]:
    """Every achievement that a rule names, in every version that it might count, awarded on one day: any order."""
    versions: dict[tuple[str, int], credential_pb2.Achievement] = {}
    for one in _ranges(rule.root):
        newest = catalogue.newest_achievement(one.achievement)
        covered = (number for number in range(newest.version if newest else 0, 0, -1) if one.covers(number))
        for version in islice(covered, MAX_VERSIONS):
            offered = catalogue.achievement(one.achievement, version)
            if offered is not None:
                versions[one.achievement, version] = offered
    for number, offered in enumerate(versions.values()):
        yield held(offered, str(number), day)
