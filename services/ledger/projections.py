"""A published list in the forms that others read: the same statuses, version and times, signed when first asked for.

What is published is the Status List Token (JWT), whose digest is in the log. The others are made from
that very token, so no two forms of a version can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.ledger.lists import PublishedList
from services.ledger.vector import BITS
from vitne.canonical import b64url, from_b64url, sha256
from vitne.credentials import bitstring_status_list, status_list, status_list_cwt
from vitne.credentials.jose import Signer
from vitne.credentials.list_forms import ListForm
from vitne.runtime.representations import gzipped


@dataclass(frozen=True, slots=True)
class Projected:
    """A list in one form, as it is or in gzip."""

    version: int
    body: bytes = field(repr=False)
    #: Strong entity tag (RFC 9110, section 8.8.3).
    etag: str
    gzip: bool = False


class Projections:
    """Makes and keeps the forms of the newest version of each list.

    Args:
        signer: the key for status lists.
        issuer: who issues the lists' credentials, a URL.
    """

    def __init__(self, signer: Signer, issuer: str) -> None:
        self._signer = signer
        self._issuer = issuer
        self._made: dict[tuple[str, ListForm, bool], Projected] = {}

    def of(self, entry: PublishedList, form: ListForm, *, gzip: bool = False) -> Projected:
        """A list in a form.

        Args:
            entry: the list.
            form: what is asked for.
            gzip: whether the reader takes gzip; what is not shorter in it is answered as it is.
        """
        made = self._made.get((entry.url, form, gzip))
        if made is None or made.version != entry.version:
            made = self._made[entry.url, form, gzip] = self._pack(entry, form) if gzip else self._plain(entry, form)
        return made

    def _plain(self, entry: PublishedList, form: ListForm) -> Projected:
        body = entry.token if form is ListForm.JWT else self._make(entry, form)
        return Projected(entry.version, body, f'"{b64url(sha256(body))}"')

    def _pack(self, entry: PublishedList, form: ListForm) -> Projected:
        plain = self.of(entry, form)
        if form is ListForm.CWT:
            return plain  # no Base64 in it, and compressed already
        packed = gzipped(plain.body, repeats=False)
        if len(packed) >= len(plain.body):
            return plain
        return Projected(plain.version, packed, f'{plain.etag[:-1]}-gzip"', gzip=True)

    def _make(self, entry: PublishedList, form: ListForm) -> bytes:
        _, payload, _ = entry.token.split(b".")
        claims = msgspec.json.decode(from_b64url(payload.decode("ascii")))
        common: dict[str, Any] = {
            "packed": status_list.decode(claims["status_list"]["lst"]),
            "issued_at": datetime.fromtimestamp(claims["iat"], UTC),
            "expires_at": datetime.fromtimestamp(claims["exp"], UTC),
            "ttl": timedelta(seconds=claims["ttl"]),
            "signer": self._signer,
        }
        if form.purpose is None:
            return status_list_cwt.sign_cwt(uri=entry.url, bits=BITS, **common)
        uri = form.names(entry.url)
        signed = bitstring_status_list.sign_credential(uri=uri, issuer=self._issuer, purpose=form.purpose, **common)
        return signed.encode("ascii")
