"""The credential that an address of hers names."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request

from services.portal.store import Kept, Store
from vitne.errors import NotFound

#: A handle is 32 bytes in base64url (RECORDS: Pseudonyms and handles).
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")


async def own_credential(request: Request, store: Store, lookup: bytes) -> Kept:
    """What is kept of the learner's credential whose handle stands in the address.

    Raises:
        NotFound: ``NO_SUCH_CREDENTIAL``: there is none, or it is another learner's.
    """
    handle = request.path_params["handle"]
    kept = await store.credential(lookup, handle) if _HANDLE.match(handle) else None
    if kept is None:
        raise NotFound("NO_SUCH_CREDENTIAL", "the learner has no such credential", field="handle")
    return kept
