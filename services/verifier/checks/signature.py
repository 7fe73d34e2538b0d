"""Did that key sign these bytes?"""

from __future__ import annotations

from services.verifier.checks.names import FAILED, PASSED, SIGNATURE, Check
from vitne.credentials.jose import PublicKey
from vitne.credentials.sd_jwt_vc import Presentation


def check_signature(presentation: Presentation, key: PublicKey) -> Check:
    """Verify the issuer-signed JWT; disclosures were held against its digests when it was read."""
    algorithm = presentation.sd_jwt.jws.header.algorithm
    evidence = f"{algorithm}, key {key.key_id}"
    if presentation.sd_jwt.jws.verified_by(key):
        return Check(SIGNATURE, PASSED, "the signature holds: nothing was changed since issuance", evidence)
    return Check(SIGNATURE, FAILED, "the signature does not hold: it was changed, or signed by somebody else", evidence)
