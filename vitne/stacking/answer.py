"""How far credentials carry a qualification, and why no further."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from vitne.stacking.rule import Rule


class Outcome(StrEnum):
    """Whether it adds up."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    #: The bound on work was reached before it was known.
    UNDETERMINED = "undetermined"


class Why(StrEnum):
    """Why a credential was not counted. Stable: clients branch on it."""

    REVOKED = "REVOKED"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    NOT_YET_AWARDED = "NOT_YET_AWARDED"
    #: Outside the formal system, and no institution has recognised it.
    NOT_RECOGNISED = "NOT_RECOGNISED"
    OTHER_VERSION = "OTHER_VERSION"
    LEVEL_NOT_STATED = "LEVEL_NOT_STATED"
    LEVEL_TOO_LOW = "LEVEL_TOO_LOW"
    TOO_OLD = "TOO_OLD"
    PROVIDER_NOT_NAMED = "PROVIDER_NOT_NAMED"
    UNIT_DOES_NOT_CONVERT = "UNIT_DOES_NOT_CONVERT"
    #: Another credential for the same achievement, or this one elsewhere, was counted.
    COUNTED_ONCE = "COUNTED_ONCE"
    OTHER_PROVIDER = "OTHER_PROVIDER"
    TOO_MUCH_RECOGNISED = "TOO_MUCH_RECOGNISED"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    #: What it would be counted for is there without it.
    NOT_NEEDED = "NOT_NEEDED"


class Counted(NamedTuple):
    """A credential that was counted, and for which requirement."""

    reference: str
    requirement: str
    by_recognition: bool
    #: Credits that it added, in the requirement's unit; None where credits are not counted.
    points: Decimal | None


class Uncounted(NamedTuple):
    """A credential that was not counted."""

    reference: str
    why: Why
    #: The requirement that it came nearest to; empty where the reason is the credential's own.
    requirement: str


class Missing(NamedTuple):
    """What is missing: so much of so much is there."""

    requirement: str
    have: Decimal
    need: Decimal
    #: Unit of credits; empty where requirements or credentials are counted.
    unit: str
    #: Keys of requirements that would help.
    any_of: tuple[str, ...]


class Answer(NamedTuple):
    """How far credentials carry one qualification."""

    rule: Rule
    outcome: Outcome
    #: Whole percent; 100 only when complete.
    percent: int
    counted: tuple[Counted, ...]
    uncounted: tuple[Uncounted, ...]
    #: Empty when complete.
    missing: tuple[Missing, ...]
