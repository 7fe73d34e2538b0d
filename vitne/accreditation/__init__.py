"""Who may issue what, at what instant, as known when: facts, the projection that folds them, and the decision.

Everything here is a pure function of facts, rules and instants.
"""

from vitne.accreditation.cases import Case, case_of
from vitne.accreditation.decide import DecisionOutcome, decide, judge, offer_of
from vitne.accreditation.decision import DecisionRecord, record_of
from vitne.accreditation.facts import fact_digest, instant, key_counts_at, timestamp
from vitne.accreditation.keys import public_keys
from vitne.accreditation.log_keys import RegisteredLog, registered_log
from vitne.accreditation.logged import leaf_of
from vitne.accreditation.projection import Held, Projection
from vitne.accreditation.trust_list import (
    FactsReference,
    Statement,
    read_facts,
    read_statement,
    render,
    sign_statement,
)

__all__ = [
    "Case",
    "DecisionOutcome",
    "DecisionRecord",
    "FactsReference",
    "Held",
    "Projection",
    "RegisteredLog",
    "Statement",
    "case_of",
    "decide",
    "fact_digest",
    "instant",
    "judge",
    "key_counts_at",
    "leaf_of",
    "offer_of",
    "public_keys",
    "read_facts",
    "read_statement",
    "record_of",
    "registered_log",
    "render",
    "sign_statement",
    "timestamp",
]
