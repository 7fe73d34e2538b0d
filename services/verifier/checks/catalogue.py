"""Does the credential say of the achievement what the provider published?"""

from __future__ import annotations

from services.verifier.checks.names import CATALOGUE, FAILED, PASSED, Check, skipped
from services.verifier.knowledge import Knowledge
from vitne.credentials.model import Credential


def check_catalogue(credential: Credential, knowledge: Knowledge) -> Check:
    """Compare with the published version. A trust list has no catalogue: then the issuer's signature has to do."""
    stated = credential.achievement
    if not knowledge.catalogue:
        return skipped(CATALOGUE, "the registry's trust list holds no catalogue: the signature vouches for it")
    evidence = f"achievement {stated.id} version {stated.version}"
    published = knowledge.projection.achievement(stated.id, stated.version)
    if published is None:
        return Check(CATALOGUE, FAILED, "no such achievement was published", evidence)
    # Where and when it is on offer is in the catalogue only.
    published.ClearField("catalogue")
    if published != stated:
        return Check(CATALOGUE, FAILED, "the credential says something else than the published achievement", evidence)
    return Check(CATALOGUE, PASSED, "the credential says what the provider published", evidence)
