"""Does the credential cite the accreditation that the registry shows, by its digest?"""

from __future__ import annotations

import hmac

from services.verifier.checks.names import ACCREDITATION_CITED, FAILED, PASSED, Check, skipped
from services.verifier.knowledge import Knowledge
from vitne.accreditation.facts import fact_digest_text
from vitne.credentials.model import Credential


def check_citation(credential: Credential, knowledge: Knowledge) -> Check:
    """Compare the digest that the provider signed with that of the registry's fact."""
    reference = credential.decision
    named = f"accreditation {reference.accreditation_id} revision {reference.accreditation_revision}"
    if not credential.accreditation_digest:
        return skipped(ACCREDITATION_CITED, "the credential names its accreditation without a digest")
    fact = knowledge.projection.accreditation_fact(str(reference.accreditation_id), reference.accreditation_revision)
    if fact is None:
        return Check(ACCREDITATION_CITED, FAILED, f"the registry shows no {named}", named)
    digest = fact_digest_text(fact)
    if not hmac.compare_digest(digest, credential.accreditation_digest):
        detail = f"the registry shows another {named} than the one that was issued on"
        return Check(ACCREDITATION_CITED, FAILED, detail, f"{digest}, cited {credential.accreditation_digest}")
    return Check(ACCREDITATION_CITED, PASSED, "it was issued on the accreditation that the registry shows", digest)
