"""Where a leaf comes from, sealed for the issuer itself and sent along with the leaf's event.

The log knows an artefact by its digest alone, and so does everybody who reads the topic. But when the issuer's database
is restored to an earlier instant, the topic is all that still knows of what was issued since: then this says which
credential it was, whose request, and which place in which status list is taken.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from services.issuer.crypto import DataKey, IndexKey
from services.issuer.store import Credential

_PURPOSE: Final = "leaf-origin"
_TABLE: Final = "leaf"
_COLUMN: Final = "origin"


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """What a leaf was made for. Nothing of the learner, who may be erased."""

    credential: UUID
    provider: str
    request_id: UUID
    status_list: str
    status_index: int
    issued_at: datetime
    #: ``vitne.credential.v1.Format`` of an artefact in a further format; 0: of the credential's own.
    format: int = 0


class Origins:
    """Seals and opens origins.

    Args:
        index: the key that is derived from; another one opens nothing.
    """

    def __init__(self, index: IndexKey) -> None:
        self._key = DataKey(index.digest(_PURPOSE, b""))

    def seal(self, digest: bytes, row: Credential, format_: int = 0) -> bytes:
        """The origin of the leaf of ``digest`` (32 bytes), for nobody else to read."""
        origin = Origin(row.id, row.provider, row.request_id, row.status_list, row.status_index, row.issued_at, format_)
        return self._key.seal(msgspec.msgpack.encode(origin), _TABLE, _place(digest), _COLUMN)

    def open(self, digest: bytes, sealed: bytes) -> Origin:
        """The inverse of :meth:`seal`.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return msgspec.msgpack.decode(self._key.open(sealed, _TABLE, _place(digest), _COLUMN), type=Origin)


def _place(digest: bytes) -> UUID:
    return UUID(bytes=digest[:16])
