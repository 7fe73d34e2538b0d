"""How smaller units add up to larger ones: a rule language, its checks, and the engine that answers for it.

Everything here is a pure function of rules, credentials without their holders, and instants; see docs/stacking.md.
"""

from vitne.stacking.answer import Answer, Counted, Missing, Outcome, Uncounted, Why
from vitne.stacking.evaluate import Evaluation, Stacking
from vitne.stacking.held import Held, Standing, held
from vitne.stacking.recognition import (
    by_recognition,
    check_recognition,
    counts_whole,
    purpose_of,
    recognised_by,
    responsible,
)
from vitne.stacking.rule import Rule, canonical_form, read
from vitne.stacking.terms import Terms
from vitne.stacking.validation import Catalogue, check, named

__all__ = [
    "Answer",
    "Catalogue",
    "Counted",
    "Evaluation",
    "Held",
    "Missing",
    "Outcome",
    "Rule",
    "Stacking",
    "Standing",
    "Terms",
    "Uncounted",
    "Why",
    "by_recognition",
    "canonical_form",
    "check",
    "check_recognition",
    "counts_whole",
    "held",
    "named",
    "purpose_of",
    "read",
    "recognised_by",
    "responsible",
]
