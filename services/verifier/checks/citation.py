"""Does the credential cite the accreditation that the registry shows, by its digest?"""

from __future__ import annotations

import hmac

from services.verifier.checks.names import ACCREDITATION_CITED, FAILED, PASSED, Check, skipped
from services.verifier.knowledge import Knowledge
from vitne.accreditation.logged import logged_accreditation
from vitne.credentials.model import Credential


def check_citation(credential: Credential, knowledge: Knowledge) -> Check:
    """Compare the digest that the provider signed with that of the registry's fact."""
    reference, cited = credential.decision, credential.accreditation_digest
    named = f"accreditation {reference.accreditation_id} revision {reference.accreditation_revision}"
    if not cited:
        return skipped(ACCREDITATION_CITED, "the credential names its accreditation without a digest")
    shown = logged_accreditation(
        knowledge.projection,
        str(credential.awarding_body.id),
        str(reference.accreditation_id),
        reference.accreditation_revision,
    )
    if shown is None:
        return Check(ACCREDITATION_CITED, FAILED, f"the registry shows no {named} of the provider's", named)
    if not hmac.compare_digest(shown.digest, cited):
        detail = f"the registry shows another {named} than the one that was issued on"
        return Check(ACCREDITATION_CITED, FAILED, detail, f"{shown.digest}, cited {cited}")
    return Check(ACCREDITATION_CITED, PASSED, "it was issued on the accreditation that the registry shows", cited)
