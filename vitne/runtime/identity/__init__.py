"""Identity: who calls, how that is verified, and how a service shows who it is.

Institutions, hubs and services come with Maskinporten access tokens; learners with
ID-porten's ID tokens. Both issuers are configuration.
"""

from vitne.runtime.identity.caller import Caller, caller_context, current_caller
from vitne.runtime.identity.issuer import OAUTH_METADATA, OPENID_METADATA, Issuer
from vitne.runtime.identity.source import CLIENT_ASSERTION, JWT_BEARER, ClientKey, TokenSource, fetch_claims, post_form
from vitne.runtime.identity.tokens import (
    HIGH,
    LEVELS_OF_ASSURANCE,
    LOW,
    SUBSTANTIAL,
    IdTokenVerifier,
    LearnerIdentity,
    TokenVerifier,
    authenticated_at,
    read_id_token,
)

__all__ = [
    "CLIENT_ASSERTION",
    "HIGH",
    "JWT_BEARER",
    "LEVELS_OF_ASSURANCE",
    "LOW",
    "OAUTH_METADATA",
    "OPENID_METADATA",
    "SUBSTANTIAL",
    "Caller",
    "ClientKey",
    "IdTokenVerifier",
    "Issuer",
    "LearnerIdentity",
    "TokenSource",
    "TokenVerifier",
    "authenticated_at",
    "caller_context",
    "current_caller",
    "fetch_claims",
    "post_form",
    "read_id_token",
]
