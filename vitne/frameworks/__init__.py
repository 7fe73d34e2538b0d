"""National rules as data: who may issue what, readable by a lawyer, applied by one pure engine.

``data/`` has one file a country and one for what is common in Europe;
:class:`~vitne.frameworks.engine.Frameworks` reads them. A new country is a new file.
"""

from vitne.frameworks.engine import Frameworks
from vitne.frameworks.model import (
    AccreditationKind,
    Basis,
    CredentialKind,
    Framework,
    Level,
    LevelFramework,
    Named,
    Offer,
    Principle,
    Prohibition,
    RecognitionRule,
    Rule,
    Unit,
)
from vitne.frameworks.terms import LAW, Aspect, Bound, Duty, Finding, Purpose, Reason, Standing

__all__ = [
    "LAW",
    "AccreditationKind",
    "Aspect",
    "Basis",
    "Bound",
    "CredentialKind",
    "Duty",
    "Finding",
    "Framework",
    "Frameworks",
    "Level",
    "LevelFramework",
    "Named",
    "Offer",
    "Principle",
    "Prohibition",
    "Purpose",
    "Reason",
    "RecognitionRule",
    "Rule",
    "Standing",
    "Unit",
]
