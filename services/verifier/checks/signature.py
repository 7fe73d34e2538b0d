"""Did that key sign these bytes?"""

from __future__ import annotations

from services.verifier.checks.names import FAILED, PASSED, SIGNATURE, Check, told
from vitne.credentials.jose import PublicKey
from vitne.credentials.sd_jwt import open_key_binding
from vitne.credentials.sd_jwt_vc import Presentation
from vitne.errors import VitneError


def check_signature(presentation: Presentation, key: PublicKey) -> Check:
    """Verify the issuer-signed JWT; disclosures were held against its digests when it was read.

    A key binding is checked as far as it can be here: that the credential's holder made it, for these disclosures.
    Whether it was made for us, only who asked for it can tell.
    """
    read = presentation.sd_jwt
    evidence = f"{read.jws.header.algorithm}, key {key.key_id}"
    if not read.jws.verified_by(key):
        detail = "the signature does not hold: it was changed, or signed by somebody else"
        return Check(SIGNATURE, FAILED, detail, evidence)
    detail = "the signature holds: nothing was changed since issuance"
    if read.key_binding:
        try:
            open_key_binding(read)
        except VitneError as error:
            return Check(SIGNATURE, FAILED, told(error), evidence)
        detail += "; its holder made this presentation"
    return Check(SIGNATURE, PASSED, detail, evidence)
