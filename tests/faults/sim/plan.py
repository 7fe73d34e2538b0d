"""Scenarios: what is asked of the services, and what goes wrong meanwhile; all from one seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.faults.sim.scheduler import Fault

#: Virtual milliseconds in which operations begin and timed faults happen.
WINDOW_MS: Final = 15_000
LEARNERS: Final = 4
#: Each so-manieth scenario has partitions that move again and again.
RESTLESS: Final = 4
#: Each so-manieth has messages that can't be handled.
POISONED: Final = 3
CONSUMERS: Final = ("issuer", "ledger.leaves", "portal")

#: What may go wrong at each point, and about how often a scenario passes there.
POINTS: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "issuer.commit": (60, ("crash_before", "crash_after", "lost_before", "lost_after", "stall")),
    "issuer.statement": (900, ("crash_before", "lost_before", "stall")),
    "issuer.mark": (20, ("crash_before", "crash_after", "lost_before", "lost_after", "stall")),
    "issuer.offset": (16, ("crash_before", "crash_after", "lost_before", "stall")),
    "issuer.send": (
        60,
        ("error", "error_after", "late", "twice", "slow", "late_answer", "crash_before", "crash_after", "stall"),
    ),
    "issuer.fetch": (16, ("error", "slow", "again", "moves", "crash_before")),
    "issuer.follow": (20, ("error", "slow", "again")),
    "issuer.rpc": (14, ("lost_before", "lost_after", "twice", "slow", "crash_before")),
    "ledger.commit": (70, ("crash_before", "crash_after", "lost_before", "lost_after", "stall")),
    "ledger.statement": (900, ("crash_before", "lost_before", "stall")),
    "ledger.mark": (16, ("crash_before", "crash_after", "lost_before", "lost_after", "stall")),
    "ledger.offset": (16, ("crash_before", "crash_after", "lost_before", "stall")),
    "ledger.send": (
        24,
        ("error", "error_after", "late", "twice", "slow", "late_answer", "crash_before", "crash_after", "stall"),
    ),
    "ledger.fetch": (20, ("error", "slow", "again", "moves", "crash_before")),
    "portal.commit": (50, ("crash_before", "crash_after", "lost_before", "lost_after", "stall")),
    "portal.statement": (400, ("crash_before", "lost_before", "stall")),
    "portal.offset": (14, ("crash_before", "crash_after", "lost_before", "stall")),
    "portal.fetch": (14, ("error", "slow", "again", "moves", "crash_before")),
    "portal.rpc": (16, ("lost_before", "lost_after", "twice", "slow", "crash_before")),
    "client.rpc": (30, ("lost_before", "lost_after", "twice", "slow")),
}
#: What happens at an instant, and to whom.
TIMED: Final[dict[str, tuple[str, ...]]] = {
    "kill": ("issuer-1", "issuer-2", "ledger-1", "ledger-2", "portal-1", "portal-2"),
    "clock": ("issuer-1", "issuer-2", "ledger-1", "ledger-2", "portal-1"),
    "database away": ("issuer", "issuer-keys", "ledger", "portal"),
    "sessions end": ("issuer", "ledger", "portal"),
    "locks lost": ("issuer", "ledger", "portal"),
    "broker away": ("kafka",),
    "rebalance": ("issuer", "ledger.leaves", "portal"),
    "registry silent": ("registry",),
}
_CHANGES: Final = (
    "suspend",
    "suspend",
    "suspend reinstate",
    "suspend reinstate suspend",
    "suspend reinstate revoke",
    "reinstate",
    "revoke",
)
#: Longest of what takes time, in seconds.
_LONGEST: Final = {"stall": 8.0, "slow": 4.0, "late": 6.0, "late_answer": 4.0}


@dataclass(frozen=True, slots=True, order=True)
class Operation:
    """Something that an institution or a learner asks for.

    Attributes:
        at: milliseconds from the start.
        number: which; others refer to it.
        what: ``issue``, ``batch``, ``change``, ``register``, ``withdraw``.
        learners: for whom.
        provider: 0 a Danish one, 1 a Norwegian one.
        of: the operation whose credential is changed.
        change: ``suspend``, ``reinstate``, ``revoke``, or several one after another, with spaces between.
        copies: how many send the same request at once.
    """

    at: int
    number: int
    what: str
    learners: tuple[int, ...] = ()
    provider: int = 0
    of: int = -1
    change: str = ""
    copies: int = 1

    def __str__(self) -> str:
        about = f"of {self.of} {self.change}" if self.what == "change" else f"learners {list(self.learners)}"
        return f"{self.at / 1000:.3f} s #{self.number} {self.what} {about} provider {self.provider} x{self.copies}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A seed for the order of things, operations, and faults."""

    seed: int
    operations: Sequence[Operation]
    faults: Sequence[Fault]

    def without_faults(self, gone: Sequence[Fault]) -> Scenario:
        return replace(self, faults=[fault for fault in self.faults if fault not in gone])

    def without_operations(self, gone: Sequence[Operation]) -> Scenario:
        """Also without what refers to them."""
        lost = {operation.number for operation in gone}
        kept = [each for each in self.operations if each.number not in lost and each.of not in lost]
        return replace(self, operations=kept)


def make_scenario(seed: int, *, faults: int | None = None) -> Scenario:
    """The scenario of a seed; ``faults`` sets how many are planned."""
    source = random.Random(f"scenario {seed}")
    count = source.randint(6, 28) if faults is None else faults
    planned = {_fault(source) for _ in range(count)}
    if faults is None and seed % RESTLESS == 0:
        planned |= _unrest(source)
    operations = _operations(source)
    if faults is None and seed % POISONED == 0:
        planned |= _poison(source)
    return Scenario(seed, operations, sorted(planned))


def _poison(source: random.Random) -> set[Fault]:
    """Messages that a consumer can't handle while there are faults."""
    return {
        Fault("time", source.randrange(200, WINDOW_MS), "poison", source.choice(CONSUMERS))
        for _ in range(source.randint(1, 3))
    }


def _unrest(source: random.Random) -> set[Fault]:
    """Partitions that move again and again while their records are in somebody's hands."""
    return {
        Fault(f"{role}.fetch", source.randrange(1, 30), "moves")
        for role in ("issuer", "ledger", "portal")
        for _ in range(5)
    } | {
        Fault(f"{role}.statement", source.randrange(1, 1200), "stall", value=round(source.uniform(0.5, 4.0), 3))
        for role in ("issuer", "ledger", "portal")
        for _ in range(2)
    }


def _operations(source: random.Random) -> list[Operation]:
    made: list[Operation] = []
    issuing: list[int] = []
    for number in range(source.randint(6, 14)):
        at = source.randrange(WINDOW_MS)
        what = source.choices(("issue", "batch", "change", "register", "withdraw"), (6, 2, 5, 3, 1))[0]
        if what == "change" and not issuing:
            what = "issue"
        learners = tuple(source.randrange(LEARNERS) for _ in range(source.randint(2, 6) if what == "batch" else 1))
        made.append(
            Operation(
                at=at,
                number=number,
                what=what,
                learners=() if what == "change" else learners,
                provider=source.randrange(2),
                of=source.choice(issuing) if what == "change" else -1,
                change=source.choice(_CHANGES) if what == "change" else "",
                copies=2 if source.random() < 0.2 and what in ("issue", "batch", "change") else 1,
            )
        )
        if what in ("issue", "batch"):
            issuing.append(number)
    return made


def _fault(source: random.Random) -> Fault:
    if source.random() < 0.25:
        kind = source.choice(list(TIMED))
        seconds = source.uniform(0.05, 6.0)
        if kind == "clock":
            seconds = source.choice((-1, 1)) * source.choice((0.001, 0.5, 30.0, 400.0, 4000.0))
        elif kind == "registry silent":
            seconds = 900.0
        return Fault("time", source.randrange(200, WINDOW_MS + 3000), kind, source.choice(TIMED[kind]), seconds)
    point = source.choice(list(POINTS))
    often, kinds = POINTS[point]
    kind = source.choice(kinds)
    seconds = source.uniform(0.001, _LONGEST[kind]) if kind in _LONGEST else 0.0
    return Fault(point, 1 + int(often * source.random() ** 1.5), kind, value=round(seconds, 3))
