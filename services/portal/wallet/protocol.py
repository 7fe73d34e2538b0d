"""OpenID4VCI 1.0 as documents: metadata of issuer and authorization server, the offer, and what wallets send. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from services.portal.texts import LANGUAGES, TEXTS
from services.portal.wallet.codes import TX_CODE_LENGTH
from vitne.credentials import type_metadata
from vitne.credentials.jose import strict_json
from vitne.errors import InvalidArgument

#: Grant type of section 6.1.
PRE_AUTHORIZED: Final = "urn:ietf:params:oauth:grant-type:pre-authorized_code"
#: The one credential configuration, and its scope: Vitne's micro-credentials as SD-JWT VC.
CONFIGURATION: Final = "vitne.micro_credential.v1"
#: Format identifier of appendix A.3.1.
FORMAT: Final = "dc+sd-jwt"
#: What SD-JWT VCs are signed with here.
ALGORITHMS: Final = ("ES256",)
#: Scheme at which wallets are asked to take an offer (section 4.1).
OFFER_SCHEME: Final = "openid-credential-offer://"

#: Addresses below the portal's own, which is the Credential Issuer Identifier: it has no path, so well-known names are
#: inserted before nothing (section 12.2.2; RFC 8414, section 3).
ISSUER_METADATA_PATH: Final = "/.well-known/openid-credential-issuer"
SERVER_METADATA_PATH: Final = "/.well-known/oauth-authorization-server"
OFFER_PATH: Final = "/wallet/offers"
TOKEN_PATH: Final = "/wallet/token"  # noqa: S105 - an address
CREDENTIAL_PATH: Final = "/wallet/credential"

_TYPE: Final[Mapping[str, Any]] = json.loads(type_metadata.DOCUMENT)


def issuer_metadata(url: str) -> dict[str, Any]:
    """Credential Issuer Metadata (section 12.2.4). No binding, no proofs: what is handed over is what was issued.

    Args:
        url: the portal's address, without a slash at the end.
    """
    return {
        "credential_issuer": url,
        "credential_endpoint": f"{url}{CREDENTIAL_PATH}",
        "display": [{"name": TEXTS[language]["site"], "locale": language} for language in LANGUAGES],
        "credential_configurations_supported": {
            CONFIGURATION: {
                "format": FORMAT,
                "vct": type_metadata.VCT,
                "scope": CONFIGURATION,
                "credential_signing_alg_values_supported": list(ALGORITHMS),
                "credential_metadata": {
                    "display": [{"name": display["name"], "locale": display["locale"]} for display in _TYPE["display"]],
                    "claims": [_claim(claim) for claim in _TYPE["claims"]],
                },
            }
        },
    }


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    (name,) = claim["path"]
    described: dict[str, Any] = {"path": [name]}
    if name in type_metadata.DISCLOSABLE:
        described["display"] = [{"name": TEXTS[language]["claims"][name], "locale": language} for language in LANGUAGES]
    return described


def server_metadata(url: str) -> dict[str, Any]:
    """Authorization Server Metadata (RFC 8414; section 12.3). No authorization endpoint, so no response type."""
    return {
        "issuer": url,
        "token_endpoint": f"{url}{TOKEN_PATH}",
        "grant_types_supported": [PRE_AUTHORIZED],
        "scopes_supported": [CONFIGURATION],
        "token_endpoint_auth_methods_supported": ["none"],
        "pre-authorized_grant_anonymous_access_supported": True,
    }


def offer(url: str, code: str, described: str) -> dict[str, Any]:
    """A Credential Offer (section 4.1.1).

    Args:
        url: the portal's address.
        code: the pre-authorized code.
        described: where the learner finds the transaction code, in words; at most 300 characters.
    """
    tx_code = {"input_mode": "numeric", "length": TX_CODE_LENGTH, "description": described}
    return {
        "credential_issuer": url,
        "credential_configuration_ids": [CONFIGURATION],
        "grants": {PRE_AUTHORIZED: {"pre-authorized_code": code, "tx_code": tx_code}},
    }


def offer_link(url: str, reference: str) -> str:
    """What a wallet is opened with: an offer by reference (section 4.1.3)."""
    return f"{OFFER_SCHEME}?{urlencode({'credential_offer_uri': f'{url}{OFFER_PATH}/{reference}'})}"


def read_token_request(fields: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Pre-authorized code and transaction code of a token request (section 6.1); what is not known is ignored.

    Raises:
        InvalidArgument: ``WALLET_REQUEST_BAD``; ``WALLET_GRANT_TYPE``.
    """
    grant = _one(fields, "grant_type")
    if grant != PRE_AUTHORIZED:
        raise InvalidArgument(
            "WALLET_GRANT_TYPE", "only pre-authorized codes are taken", field="grant_type", rule=PRE_AUTHORIZED
        )
    return _one(fields, "pre-authorized_code"), _one(fields, "tx_code")


def _one(fields: Mapping[str, Sequence[str]], name: str) -> str:
    values = [value for value in fields.get(name, ()) if value]
    if len(values) != 1:
        raise InvalidArgument(
            "WALLET_REQUEST_BAD",
            f"the parameter {name} is not there once",
            field=name,
            rule="OpenID4VCI 1.0, section 6.1; RFC 6749, section 3.2",
            remedy="send it once, as application/x-www-form-urlencoded",
        )
    return values[0]


def check_credential_request(body: bytes) -> None:
    """Whether a credential request asks for what there is (section 8.2). Proofs are asked for by nobody, and not read.

    Raises:
        InvalidArgument: ``WALLET_CREDENTIAL_REQUEST_BAD``; ``WALLET_CONFIGURATION_UNKNOWN``;
            ``WALLET_IDENTIFIER_UNKNOWN``; ``WALLET_ENCRYPTION``.
    """
    try:
        asked = strict_json(body)
    except InvalidArgument:
        asked = None
    if not isinstance(asked, dict):
        raise _bad_credential_request("the body is no JSON object")
    configuration, identifier = asked.get("credential_configuration_id"), asked.get("credential_identifier")
    if (configuration is None) == (identifier is None):
        raise _bad_credential_request("it names a credential configuration, and nothing beside that")
    if not isinstance(identifier if configuration is None else configuration, str):
        raise _bad_credential_request("what it names is a string")
    if identifier is not None:
        raise InvalidArgument(
            "WALLET_IDENTIFIER_UNKNOWN",
            "no credential identifiers were told, so none is known",
            field="credential_identifier",
            remedy="send credential_configuration_id",
        )
    if configuration != CONFIGURATION:
        raise InvalidArgument(
            "WALLET_CONFIGURATION_UNKNOWN",
            "there is no such credential configuration",
            field="credential_configuration_id",
            rule=CONFIGURATION,
            remedy="take it from the offer",
        )
    if "credential_response_encryption" in asked:
        # An answer in clear is not what was asked for, so none is given.
        raise InvalidArgument(
            "WALLET_ENCRYPTION",
            "answers are not encrypted beyond TLS",
            field="credential_response_encryption",
            remedy="leave it out",
        )


def _bad_credential_request(message: str) -> InvalidArgument:
    return InvalidArgument(
        "WALLET_CREDENTIAL_REQUEST_BAD",
        message,
        field="credential_configuration_id",
        rule="OpenID4VCI 1.0, section 8.2",
        remedy="send application/json with credential_configuration_id",
    )
