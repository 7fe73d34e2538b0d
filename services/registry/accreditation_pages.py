"""Accreditations as credentials, and organisations' DID documents, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response

from services.registry.accreditation_credentials import AccreditationCredentials
from services.registry.recorder import Recorder
from vitne.accreditation.credential import TYPE
from vitne.accreditation.dids import FOLDER, did_document, organisation_of_path
from vitne.errors import NotFound
from vitne_api.registry.v1 import facts_pb2

#: Anyone may read this from a browser. A revision's credential is renewed only when its key was compromised.
_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=60"}
#: The keys of an organisation's that sign what others check.
_USES: Final = tuple(use for use in facts_pb2.KeyUse.values() if use != facts_pb2.KEY_USE_UNSPECIFIED)
_Id = Annotated[str, Path(max_length=36)]


def accreditation_routes(
    recorder: Recorder, credentials: AccreditationCredentials, registry_uri: str, now: Callable[[], datetime]
) -> APIRouter:
    """The routes; nothing is shown before the facts are read."""
    routes = APIRouter()

    @routes.get("/v1/accreditations/{accreditation_id}", response_class=Response)
    async def get_newest_accreditation(accreditation_id: _Id) -> Response:
        """The newest revision of an accreditation, as a credential that its authority signed (vc+jwt)."""
        recorder.as_of()
        return _credential(await credentials.find(accreditation_id))

    @routes.get("/v1/accreditations/{accreditation_id}/revisions/{revision}", response_class=Response)
    async def get_accreditation(
        accreditation_id: _Id, revision: Annotated[int, Path(ge=1, le=(1 << 31) - 1)]
    ) -> Response:
        """A revision of an accreditation, as a credential that its authority signed (vc+jwt)."""
        recorder.as_of()
        return _credential(await credentials.find(accreditation_id, revision))

    @routes.get(f"/{FOLDER}/{{name}}/did.json")
    async def get_did_document(name: Annotated[str, Path(max_length=40)]) -> Response:
        """An organisation's DID document (did:web)."""
        recorder.as_of()
        projection, organisation = recorder.projection, organisation_of_path(name, field="name")
        keys = [key for use in _USES for key in projection.keys_of(organisation, use)]
        if not keys and projection.provider(organisation) is None and projection.authority(organisation) is None:
            raise NotFound(
                "ORGANISATION_UNKNOWN",
                f"the registry knows nothing of {organisation}",
                field="name",
                rule="authorities, providers and the operator have DIDs here",
                remedy="take the DID from a credential, or from the list of issuers",
            )
        document: dict[str, Any] = did_document(registry_uri, organisation, keys, now())
        return JSONResponse(document, media_type="application/did+json", headers=_HEADERS)

    return routes


def _credential(compact: str) -> Response:
    return Response(compact, media_type=f"application/{TYPE}", headers=_HEADERS)
