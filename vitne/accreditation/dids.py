"""Decentralised identifiers of organisations: did:web under the registry's own name (docs/decisions/0019).

``0192:971035854`` at ``https://registry.vitne.example`` is
``did:web:registry.vitne.example:organisations:0192-971035854``, whose document lies at
``https://registry.vitne.example/organisations/0192-971035854/did.json`` (did:web, "Read").
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from vitne.accreditation.facts import instant, key_counts_at
from vitne.canonical import instant_text
from vitne.credentials.jose import strict_json
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne_api.registry.v1 import facts_pb2

#: Where organisations lie under the registry's URI.
FOLDER: Final = "organisations"
#: Contexts of a document with JWKs (Controlled Identifiers v1.0; DID Core).
CONTEXTS: Final = ("https://www.w3.org/ns/did/v1", "https://w3id.org/security/jwk/v1")


def path_name(organisation: str) -> str:
    """An organisation as a segment of a path: a colon would have a meaning in a DID."""
    return organisation.replace(":", "-", 1)


def organisation_of_path(name: str, *, field: str) -> str:
    """The inverse of :func:`path_name`.

    Raises:
        InvalidArgument: as :meth:`~vitne.identifiers.OrganisationId.parse`.
    """
    return str(OrganisationId.parse(name.replace("-", ":", 1), field=field))


def organisation_did(registry_uri: str, organisation: str) -> str:
    """The DID of an organisation of a registry.

    Args:
        registry_uri: ``https://host[:port][/path]``, without a slash at the end.
        organisation: ``scheme:value``.
    """
    parts = urlsplit(registry_uri)
    # A port's colon is percent-encoded, the path's slashes become colons (did:web, "Method-specific identifier").
    place = [quote(parts.netloc, safe="."), *filter(None, parts.path.split("/"))]
    return ":".join(["did", "web", *place, FOLDER, path_name(organisation)])


def organisation_of_did(registry_uri: str, did: str, *, field: str = "did") -> str:
    """The inverse of :func:`organisation_did`.

    Raises:
        InvalidArgument: ``BAD_DID`` for another method, another registry, or no organisation.
    """
    try:
        organisation = organisation_of_path(did.rpartition(":")[2], field=field)
    except InvalidArgument:
        organisation = ""
    if not organisation or did != organisation_did(registry_uri, organisation):
        raise InvalidArgument(
            "BAD_DID",
            "not the DID of an organisation of this registry",
            field=field,
            rule=f"did:web under {registry_uri}/{FOLDER}/, with the organisation as scheme-value",
            remedy=f"write it like {organisation_did(registry_uri, '0192:971035854')}",
        )
    return organisation


def did_document(registry_uri: str, organisation: str, keys: Iterable[facts_pb2.Key], now: datetime) -> dict[str, Any]:
    """An organisation's DID document (DID Core, section 5), with every key that it ever had.

    What was signed in a key's time stays good, so keys are never dropped: ``expires`` and ``revoked`` say until when
    they count (Controlled Identifiers v1.0, section 2.2), and only what counts now is for assertions.

    Args:
        registry_uri: see :func:`organisation_did`.
        organisation: ``scheme:value``.
        keys: the registry's newest revision of each.
        now: the present instant.
    """
    did = organisation_did(registry_uri, organisation)
    methods, counting = [], []
    for key in keys:
        method = {
            "id": f"{did}#{key.id}",
            "type": "JsonWebKey",
            "controller": did,
            "publicKeyJwk": strict_json(key.public_jwk, field="public_jwk") | {"kid": key.id},
        }
        if key.HasField("valid_until"):
            method["expires"] = instant_text(instant(key.valid_until))
        if key.HasField("compromised_from"):
            method["revoked"] = instant_text(instant(key.compromised_from))
        methods.append(method)
        if key_counts_at(key, now):
            counting.append(method["id"])
    return {"@context": list(CONTEXTS), "id": did, "verificationMethod": methods, "assertionMethod": counting}
