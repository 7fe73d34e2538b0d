"""``stack.evaluate``: what a learner's credentials add up to, in process; every qualification asks for some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from bench.load import repeated
from bench.results import Finding
from bench.session import Case, Session
from vitne.accreditation.facts import FOREVER
from vitne.canonical import digest_text
from vitne.frameworks import Frameworks, Standing
from vitne.stacking import Held, Rule, Stacking, Terms, canonical_form
from vitne.stacking.rule import Conditions, Node, One, Points, Range, Some

_SECONDS: Final = 5.0
_CREDENTIALS: Final = 200
_QUALIFICATIONS: Final = 1_000
#: Achievements that qualifications ask for; the learner holds half of them.
_ACHIEVEMENTS: Final = 400
_PROVIDERS: Final = ("0192:971035854", "0192:874789542", "0192:313000001")
_AT: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
#: The same in every run, so that runs compare.
_SEED: Final = 24


def _one(achievement: str) -> One:
    return One(achievement, Range(achievement, 1, None))


def _every(key: str, parts: Sequence[Node], conditions: Conditions | None = None) -> Some:
    return Some(key, len(parts), tuple(parts), conditions or Conditions())


def _whole_set(names: Sequence[str]) -> Node:
    """All 24 of Skellefteå Kraft."""
    return _every("set", [_one(name) for name in names[:24]])


def _credits(names: Sequence[str]) -> Node:
    """Klimaregnskaber: credits of a pool, at a level."""
    ranges = tuple(Range(name, 1, None) for name in names[:12])
    floor = Conditions(min_level=("eqf", "5"), max_age_months=120)
    return Points("credits", "ects", Decimal(30), ranges, Decimal(10), floor)


def _mandatory_and_electives(names: Sequence[str]) -> Node:
    """Eldrehelse: three mandatory modules, and three of six."""
    electives = Some("electives", 3, tuple(_one(name) for name in names[3:9]))
    return _every("education", [*(_one(name) for name in names[:3]), electives])


def _overlapping(names: Sequence[str]) -> Node:
    """Two groups that compete for what is in both, little of it by recognition, from one provider."""
    left = Some("left", 3, tuple(One(f"l.{name}", Range(name, 1, None)) for name in names[:8]))
    right = Some("right", 3, tuple(One(f"r.{name}", Range(name, 1, None)) for name in names[4:12]))
    return _every("both", [left, right], Conditions(max_recognised=2, same_provider=True))


_FORMS: Final[tuple[Callable[[Sequence[str]], Node], ...]] = (
    _whole_set,
    _credits,
    _mandatory_and_electives,
    _overlapping,
)


def _rule(number: int, root: Node) -> Rule:
    return Rule(
        id=f"q{number:04}",
        version=1,
        provider=_PROVIDERS[0],
        awards=(f"whole{number}", 1),
        kind="no.vitnemal",
        root=root,
        order=(),
        valid_from=-FOREVER,
        valid_until=FOREVER,
        digest=digest_text(canonical_form(root)),
    )


def _held(number: int, random: Random) -> Held:
    return Held(
        reference=str(number),
        achievement=f"a{number:03}",
        version=1,
        provider=random.choice(_PROVIDERS),
        kind="no.micro_credential",
        awarded_on=date(2020, 1, 1) + timedelta(days=random.randrange(2_000)),
        unit="ects",
        points=Decimal(random.choice(("2.5", "5", "7.5", "10"))),
        level=("no.nkr", random.choice(("5.2", "6.1", "6.2"))),
        by_recognition=random.random() < 0.2,
    )


async def evaluate(session: Session) -> None:
    """All qualifications are answered for: complete, or what is missing, and why what is not counted is not."""
    random = Random(_SEED)
    numbers = range(_ACHIEVEMENTS)
    holds = random.sample(numbers, _CREDENTIALS)
    held = [_held(number, random) for number in holds]
    count = session.amount(_QUALIFICATIONS)
    rules = []
    for number in range(count):
        # One that is there comes first, so that every qualification is answered for.
        first = random.choice(holds)
        names = [f"a{one:03}" for one in (first, *(one for one in random.sample(numbers, 24) if one != first))]
        rules.append(_rule(number, _FORMS[number % len(_FORMS)](names)))
    stacking = Stacking(rules, Terms.of(Frameworks.load(tuple(Standing))))

    def operation(_number: int) -> None:
        if len(stacking.evaluate(held, _AT).answers) != count:
            raise AssertionError("every qualification asks for something that is there")

    measured = repeated(operation, session.seconds(_SECONDS))
    session.record(Finding("stack.evaluate", 1000 / measured.rate, measured.latencies))


CASES: Final = (Case(("stack.evaluate",), evaluate),)
