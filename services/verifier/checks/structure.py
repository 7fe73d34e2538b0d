"""Is it a credential that can be read: an SD-JWT VC of our type, whole, with one meaning?"""

from __future__ import annotations

from services.verifier.checks.names import FAILED, PASSED, STRUCTURE, Check, told
from vitne.credentials import sd_jwt_vc
from vitne.credentials.sd_jwt_vc import Presentation
from vitne.errors import VitneError


def check_structure(compact: str) -> tuple[Check, Presentation | None]:
    """Read a presentation; None beside a failed check."""
    try:
        presentation = sd_jwt_vc.parse(compact)
    except VitneError as error:
        return Check(STRUCTURE, FAILED, f"it can't be read: {told(error)}", error.field or error.rule), None
    shown, withheld = len(presentation.sd_jwt.disclosures), presentation.sd_jwt.withheld
    detail = f"an SD-JWT VC with {shown} disclosed and {withheld} withheld claims"
    return Check(STRUCTURE, PASSED, detail, sd_jwt_vc.VCT), presentation


def summary(presentation: Presentation) -> str:
    """What a credential is, in words, without its learner."""
    credential = presentation.credential
    title = next(iter(credential.achievement.title)).text
    name = next(iter(credential.awarding_body.name.values()))
    return f"“{title}”, issued by {name} on {credential.issued_at:%Y-%m-%d}"
