"""A published list in the forms that others read: the same statuses, version and times, signed when first asked for.

What is published is the Status List Token (JWT), whose digest is in the log. The others are made from
that very token, so no two forms of a version can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

import msgspec

from services.ledger.lists import PublishedList
from services.ledger.vector import BITS
from vitne.canonical import b64url, from_b64url, sha256
from vitne.credentials import bitstring_status_list, status_list, status_list_cwt
from vitne.credentials.bitstring_status_list import Purpose, list_url
from vitne.credentials.jose import Signer


class Form(Enum):
    """A form, with what its address ends in beyond the list's own."""

    JWT = ""
    CWT = ".cwt"
    REVOCATION = list_url("", "revocation")
    SUSPENSION = list_url("", "suspension")

    @property
    def media_type(self) -> str:
        """As it is served."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES: Final = {
    Form.JWT: status_list.MEDIA_TYPE,
    Form.CWT: status_list_cwt.MEDIA_TYPE,
    Form.REVOCATION: bitstring_status_list.MEDIA_TYPE,
    Form.SUSPENSION: bitstring_status_list.MEDIA_TYPE,
}
_PURPOSES: Final[dict[Form, Purpose]] = {Form.REVOCATION: "revocation", Form.SUSPENSION: "suspension"}


@dataclass(frozen=True, slots=True)
class Projected:
    """A list in one form."""

    version: int
    body: bytes = field(repr=False)
    #: Strong entity tag (RFC 9110, section 8.8.3).
    etag: str


class Projections:
    """Makes and keeps the forms of the newest version of each list.

    Args:
        signer: the key for status lists.
        issuer: who issues the lists' credentials, a URL.
    """

    def __init__(self, signer: Signer, issuer: str) -> None:
        self._signer = signer
        self._issuer = issuer
        self._made: dict[tuple[str, Form], Projected] = {}

    def of(self, entry: PublishedList, form: Form) -> Projected:
        """A list in a form."""
        made = self._made.get((entry.url, form))
        if made is None or made.version != entry.version:
            body = entry.token if form is Form.JWT else self._make(entry, form)
            made = self._made[entry.url, form] = Projected(entry.version, body, f'"{b64url(sha256(body))}"')
        return made

    def _make(self, entry: PublishedList, form: Form) -> bytes:
        _, payload, _ = entry.token.split(b".")
        claims = msgspec.json.decode(from_b64url(payload.decode("ascii")))
        common: dict[str, Any] = {
            "packed": status_list.decode(claims["status_list"]["lst"]),
            "issued_at": datetime.fromtimestamp(claims["iat"], UTC),
            "expires_at": datetime.fromtimestamp(claims["exp"], UTC),
            "ttl": timedelta(seconds=claims["ttl"]),
            "signer": self._signer,
        }
        if form is Form.CWT:
            return status_list_cwt.sign_cwt(uri=entry.url, bits=BITS, **common)
        uri = entry.url + form.value
        signed = bitstring_status_list.sign_credential(uri=uri, issuer=self._issuer, purpose=_PURPOSES[form], **common)
        return signed.encode("ascii")
