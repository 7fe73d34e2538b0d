"""Is the awarding body the provider that the registry knows, by the same name and address?"""

from __future__ import annotations

from services.verifier.checks.names import FAILED, ISSUER, PASSED, Check, told
from services.verifier.knowledge import Knowledge
from vitne.credentials.model import AwardingBody, Credential
from vitne.errors import VitneError


def check_issuer(credential: Credential, knowledge: Knowledge) -> Check:
    """Compare with the provider's entry as it was known at issuance."""
    body = credential.awarding_body
    entry = knowledge.projection.provider(str(body.id), credential.decision.registry_revision)
    if entry is None:
        return Check(ISSUER, FAILED, f"{body.id} was no provider that the registry knew", body.issuer_uri)
    try:
        known = AwardingBody.of(entry)
    except VitneError as error:
        return Check(ISSUER, FAILED, f"the provider's entry can't be read: {told(error)}", str(body.id))
    if known.issuer_uri != body.issuer_uri:
        return Check(ISSUER, FAILED, f"{body.id} issues as {known.issuer_uri}, not as iss says", str(body.id))
    if known != body:
        return Check(ISSUER, FAILED, "name or country of the awarding body are not the registry's", str(body.id))
    name = body.name.get("en") or next(iter(body.name.values()))
    kind = "an invented provider" if entry.synthetic else "a provider"
    return Check(ISSUER, PASSED, f"{name} is {kind} that the registry knows", str(body.id))
