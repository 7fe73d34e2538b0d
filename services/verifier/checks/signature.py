"""Did that key sign these bytes?"""

from __future__ import annotations

from services.verifier.checks.names import FAILED, PASSED, SIGNATURE, Check, told
from services.verifier.presented import Presented
from vitne.credentials.jose import PublicKey
from vitne.errors import VitneError


def check_signature(presentation: Presented, key: PublicKey) -> Check:
    """Verify the issuer's signature, then whose presentation it is; what is disclosed was checked as it was read."""
    evidence = f"{presentation.algorithm}, key {key.key_id}"
    if not presentation.verified_by(key):
        detail = "the signature does not hold: it was changed, or signed by somebody else"
        return Check(SIGNATURE, FAILED, detail, evidence)
    detail = "the signature holds: nothing was changed since issuance"
    try:
        if presentation.bound():
            detail += "; its holder made this presentation"
    except VitneError as error:
        return Check(SIGNATURE, FAILED, told(error), evidence)
    return Check(SIGNATURE, PASSED, detail, evidence)
