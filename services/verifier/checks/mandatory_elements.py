"""Does it have what the EU's Recommendation asks of a micro-credential?"""

from __future__ import annotations

from services.verifier.checks.names import FAILED, MANDATORY_ELEMENTS, PASSED, Check
from vitne.credentials.elements import LEARNER, mandatory_elements
from vitne.credentials.model import Credential

_ANNEX = "Council Recommendation 2022/C 243/02, Annex I"


def check_mandatory_elements(credential: Credential, withheld: int) -> Check:
    """Every element is there; the learner's identification may be among the ``withheld`` claims."""
    elements = mandatory_elements(credential)
    missing = [element for element in elements if not element.present]
    if not missing:
        return Check(MANDATORY_ELEMENTS, PASSED, f"all {len(elements)} elements are there", _ANNEX)
    if [element.name for element in missing] == [LEARNER] and withheld:
        detail = f"{len(elements) - 1} of {len(elements)} elements are shown; its holder withholds the {LEARNER}"
        return Check(MANDATORY_ELEMENTS, PASSED, detail, _ANNEX)
    named = ", ".join(f"{element.name} ({element.where})" for element in missing)
    return Check(MANDATORY_ELEMENTS, FAILED, f"it lacks: {named}", _ANNEX)
