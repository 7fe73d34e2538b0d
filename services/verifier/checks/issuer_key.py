"""Is the key the provider's own, for credentials, and did its signatures count at the instant of issuance?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.verifier.checks.names import FAILED, ISSUER_KEY, NOTE, PASSED, Check, told
from services.verifier.knowledge import Knowledge
from services.verifier.presented import Presented
from vitne.accreditation import instant, leaf_of
from vitne.credentials.jose import PublicKey, parse_public_jwk
from vitne.errors import VitneError
from vitne_api.registry.v1 import facts_pb2


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key that counted at issuance."""

    public: PublicKey
    #: From when others may know it: then only what the log proves to be older is believed; None: nobody else does.
    compromised_from: datetime | None
    #: Leaf hash of the fact that first said so: what is in the log before it is older than the news.
    told: bytes | None = None


def check_issuer_key(presentation: Presented, knowledge: Knowledge, now: datetime) -> tuple[Check, IssuerKey | None]:
    """Look the key up by the thumbprint that the header names, as known now: a compromise counts when it is known.

    Certificates that come along have to lead to a trust anchor where there are any, beside the registry's word.
    """
    credential, key_id = presentation.credential, presentation.key_id
    key = knowledge.projection.key(key_id)
    if key is None:
        return _failed("the key that it names is not in the registry", key_id)
    if key.owner != str(credential.awarding_body.id):
        return _failed(f"the key that it names is {key.owner}'s", key_id)
    if key.use != facts_pb2.KEY_USE_CREDENTIAL:
        return _failed("the key that it names is not for credentials", key_id)
    try:
        public = parse_public_jwk(key.public_jwk)
        valid_from = instant(key.valid_from)
        valid_until = instant(key.valid_until) if key.HasField("valid_until") else None
        compromised = instant(key.compromised_from) if key.HasField("compromised_from") else None
    except VitneError as error:
        return _failed(f"the key's entry can't be read: {told(error)}", key_id)
    if public.key_id != key_id:
        return _failed("the key's entry holds another key", key_id)
    issued = credential.issued_at
    if issued < valid_from:
        return _failed(f"the key counts from {valid_from:%Y-%m-%d %H:%M:%S} UTC on, after the issuance", key_id)
    if compromised is not None and issued >= compromised:
        return _failed(f"the key may be known to others since {compromised:%Y-%m-%d %H:%M:%S} UTC", key_id)
    if valid_until is not None and issued >= valid_until:
        return _failed(f"the key no longer counted at issuance: until {valid_until:%Y-%m-%d %H:%M:%S} UTC", key_id)
    led = ""
    if knowledge.anchors is not None:
        try:
            chain = presentation.certificates
            if chain:
                knowledge.anchors.require(
                    chain,
                    at=presentation.signed_at,
                    body=credential.awarding_body.id,
                    issuer_uri=presentation.certified_uri,
                )
                led = "; its certificate leads to a trust anchor"
        except VitneError as error:
            return _failed(told(error), key_id)
    fact = knowledge.projection.compromise_fact(key_id)
    leaf = None if fact is None else leaf_of(fact)
    found = IssuerKey(public, compromised, None if leaf is None else leaf.leaf_hash())
    if compromised is not None:
        detail = f"the key counted at issuance; since {compromised:%Y-%m-%d} others may know it{led}"
        return Check(ISSUER_KEY, NOTE, detail, key_id), found
    if valid_until is not None and now >= valid_until:
        detail = f"the key counted at issuance, and was retired on {valid_until:%Y-%m-%d}{led}"
        return Check(ISSUER_KEY, NOTE, detail, key_id), found
    return Check(ISSUER_KEY, PASSED, f"the key is the provider's own, and counted at issuance{led}", key_id), found


def _failed(detail: str, key_id: str) -> tuple[Check, None]:
    return Check(ISSUER_KEY, FAILED, detail, key_id[:100]), None
