"""A credential as a file: in each format that the issuer makes, fetched by its handle when a learner asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import grpc

from services.portal.sharing.badge import badge_image
from vitne.credentials.w3c import baking_png
from vitne.errors import FailedPrecondition, NotFound, Unavailable
from vitne.runtime.status import error_from_rpc, error_from_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2


class Format(StrEnum):
    """What a learner can download; the value is in the address."""

    SD_JWT = "sd-jwt"
    EDC = "edc"
    BADGE = "badge"
    ELMO = "elmo"


@dataclass(frozen=True, slots=True)
class _Kind:
    number: credential_pb2.Format.ValueType
    media_type: str
    extension: str


KINDS: Final[Mapping[Format, _Kind]] = {
    Format.SD_JWT: _Kind(credential_pb2.FORMAT_SD_JWT_VC, "application/dc+sd-jwt", "sd-jwt"),
    Format.EDC: _Kind(credential_pb2.FORMAT_EDC, "application/jose+json", "jsonld"),
    Format.BADGE: _Kind(credential_pb2.FORMAT_OPEN_BADGE, "image/png", "png"),
    Format.ELMO: _Kind(credential_pb2.FORMAT_ELMO, "application/xml", "xml"),
}
#: Reasons for which a format is not made now, and may be later.
_FOR_NOW: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"})


@dataclass(frozen=True, slots=True)
class Download:
    """A file.

    Attributes:
        name: as it is saved; says nothing of whose it is.
        media_type: of ``content``.
        content: the credential.
    """

    name: str
    media_type: str
    content: bytes = field(repr=False)


async def download(issuer: Any, handle: str, format_: Format) -> Download:
    """Fetch a credential in a format.

    Args:
        issuer: stub of the issuer's service.
        handle: the credential's name for this hub; the learner's own.
        format_: that she wants.

    Raises:
        NotFound: ``CREDENTIAL_UNKNOWN``: the issuer does not have it for this hub (any more).
        FailedPrecondition: ``FORMAT_NOT_MADE``: the credential can't be made in this format.
        Unavailable: the issuer does not answer, or can't make it now: ``FORMAT_NOT_MADE_NOW``.
    """
    kind = KINDS[format_]
    try:
        answer = await issuer.FetchCredentials(
            issuer_pb2.FetchCredentialsRequest(handles=[handle], formats=[kind.number])
        )
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
    (found,) = answer.credentials
    if found.unavailable_reason:
        raise _not_now(found.unavailable_reason)
    if not found.HasField("credential"):
        raise NotFound("CREDENTIAL_UNKNOWN", "the issuer does not have this credential here any more")
    return Download(f"credential.{kind.extension}", kind.media_type, _content(found.credential, format_))


def _content(credential: issuer_pb2.IssuedCredential, format_: Format) -> bytes:
    if format_ is Format.SD_JWT:
        return credential.artefact.encode()
    for refused in credential.refused_formats:
        error = error_from_status(refused.error)
        if error.code in _FOR_NOW:
            raise _not_now(error.reason)
        raise FailedPrecondition(
            "FORMAT_NOT_MADE",
            "the credential can't be made in this format",
            field="format",
            remedy="choose another format",
            metadata={"cause": error.reason},
        )
    (artefact,) = credential.artefacts
    text = artefact.artefact
    return baking_png.bake(badge_image(), text) if format_ is Format.BADGE else text.encode()


def _not_now(cause: str) -> Unavailable:
    return Unavailable(
        "FORMAT_NOT_MADE_NOW",
        "the issuer can't make this file now",
        remedy="try again later",
        metadata={"cause": cause},
    )
