"""National rules as data: who may issue what, readable by a lawyer, applied by one pure engine.

``data/`` has one file a country and one for what is common in Europe;
:class:`~vitne.frameworks.engine.Frameworks` reads them. A new country is a new file.
"""

from vitne.frameworks.engine import Frameworks
from vitne.frameworks.model import AccreditationKind, Basis, Framework, Named, Offer, Principle, Rule, Unit
from vitne.frameworks.terms import Aspect, Bound, Finding, Reason, Standing

__all__ = [
    "AccreditationKind",
    "Aspect",
    "Basis",
    "Bound",
    "Finding",
    "Framework",
    "Frameworks",
    "Named",
    "Offer",
    "Principle",
    "Reason",
    "Rule",
    "Standing",
    "Unit",
]
