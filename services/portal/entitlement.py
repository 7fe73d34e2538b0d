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
    """What the issuer is approved as.

    Args:
        rule: id of the national rule that allowed the issuance.
        texts: the reader's.

    Returns:
        One sentence; empty where this release does not know the rule.
    """
    asked = _ASKED.get(rule, [])
    named = " / ".join(texts["accreditations"][kind] for kind in asked)
    return texts["entitled"].format(accreditation=named) if named else ""
