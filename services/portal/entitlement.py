"""Why an issuer could issue a credential: which accreditation its rule asks for, in the reader's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.portal.texts import RULES

#: Kinds of accreditation that each rule asks for one of, in the order of the national rules.
_ASKED: Final = {
    rule.id: [kind for kind in framework.accreditation_kinds if kind in rule.accreditations]
    for framework in RULES
    for rule in framework.rules
}


def entitlement(rule: str, texts: Mapping[str, Any]) -> str:
    """What a rule asks of an issuer; that this one had it is the verifier's to say.

    Args:
        rule: id of the national rule that allowed the issuance.
        texts: the reader's.

    Returns:
        One sentence; empty where this release does not know the rule.
    """
    asked = _ASKED.get(rule, [])
    if not asked:
        return ""
    *others, last = (texts["accreditations"][kind] for kind in asked)
    named = f"{', '.join(others)}{texts['accreditation_or']}{last}" if others else last
    return str(texts["entitled"].format(accreditation=named))
