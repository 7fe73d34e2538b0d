"""What wallets and foreign verifiers ask about an SD-JWT VC: its type's metadata, and its issuer's keys."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response

from services.registry.recorder import Recorder
from vitne.credentials import type_metadata
from vitne.errors import NotFound
from vitne.identifiers import OrganisationId
from vitne_api.registry.v1 import facts_pb2

#: Anyone may read this from a browser.
_OPEN: Final = {"Access-Control-Allow-Origin": "*"}
#: What is served by its digest never changes.
_FOR_EVER: Final = _OPEN | {"Cache-Control": "public, max-age=31536000, immutable"}
_BRIEF: Final = _OPEN | {"Cache-Control": "max-age=60"}
_TYPE_PATH: Final = urlsplit(type_metadata.VCT).path


def document_name(integrity: str) -> str:
    """The last part of the address of a version of the metadata, by its ``vct#integrity``."""
    return integrity.removeprefix("sha256-").translate(str.maketrans("+/", "-_", "="))


def wallet_routes(recorder: Recorder) -> APIRouter:
    """The routes; no issuer is shown before the facts are read."""
    routes = APIRouter()
    versions = {document_name(each): document for each, document in type_metadata.VERSIONS.items()}

    @routes.get(_TYPE_PATH, response_class=Response)
    async def get_type_metadata() -> Response:
        """What the type of credentials means (SD-JWT VC Type Metadata): as credentials of today pin it."""
        return Response(type_metadata.DOCUMENT, media_type="application/json", headers=_BRIEF)

    @routes.get(f"{_TYPE_PATH}/{{name}}", response_class=Response)
    async def get_type_metadata_version(name: Annotated[str, Path(max_length=43)]) -> Response:
        """The same as it was published at some time, by its SHA-256 (base64url): for ever the same bytes."""
        document = versions.get(name)
        if document is None:
            raise NotFound(
                "TYPE_METADATA_UNKNOWN",
                "no such document was ever published",
                field="name",
                rule="the SHA-256 of a document, base64url",
                remedy="take the digest from a credential's vct#integrity, and write + as - and / as _, without =",
            )
        return Response(document, media_type="application/json", headers=_FOR_EVER)

    @routes.get("/.well-known/jwt-vc-issuer/issuers/{name}")
    async def get_issuer_metadata(name: Annotated[str, Path(max_length=40)]) -> Response:
        """An issuer and its public keys (SD-JWT VC, "JWT VC Issuer Metadata")."""
        recorder.as_of()
        organisation = str(OrganisationId.parse(name, field="name"))
        provider = recorder.projection.provider(organisation)
        if provider is None:
            raise NotFound(
                "PROVIDER_UNKNOWN",
                f"no provider {organisation} is in the registry",
                field="name",
                rule="the path of an issuer's URI, behind /.well-known/jwt-vc-issuer",
                remedy="take the issuer from a credential's iss",
            )
        keys = recorder.projection.keys_of(organisation, facts_pb2.KEY_USE_CREDENTIAL)
        jwks = {"keys": [_jwk(key) for key in keys if not key.HasField("compromised_from")]}
        return JSONResponse({"issuer": provider.issuer_uri, "jwks": jwks}, headers=_BRIEF)

    return routes


def _jwk(key: facts_pb2.Key) -> dict[str, Any]:
    """Keys that were retired are shown, too: what they signed before still counts."""
    members: dict[str, Any] = json.loads(key.public_jwk)
    return members | {"kid": key.id, "use": "sig"}
