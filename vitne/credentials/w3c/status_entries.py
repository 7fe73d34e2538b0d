"""``credentialStatus``: where a credential's place stands in the lists of each purpose (Bitstring Status List v1.0)."""

from __future__ import annotations

from typing import Any, Final

from vitne.credentials.bitstring_status_list import PURPOSES, list_url
from vitne.credentials.model import StatusReference
from vitne.errors import InvalidArgument

_ENTRY: Final = "BitstringStatusListEntry"


def entries(status: StatusReference) -> list[dict[str, Any]]:
    """``credentialStatus``: an entry for each purpose (section 2.1)."""
    return [
        {
            "id": f"{list_url(status.list, purpose)}#{status.index}",
            "type": _ENTRY,
            "statusPurpose": purpose,
            "statusListIndex": str(status.index),
            "statusListCredential": list_url(status.list, purpose),
        }
        for purpose in PURPOSES
    ]


def read_entries(stated: Any) -> StatusReference:
    """The inverse of :func:`entries`.

    Raises:
        InvalidArgument: ``STATUS_ENTRY_MALFORMED`` for anything that :func:`entries` does not give.
    """
    first = stated[0] if isinstance(stated, list) and stated and isinstance(stated[0], dict) else {}
    url, index = first.get("statusListCredential"), first.get("statusListIndex")
    ending = list_url("", PURPOSES[0])
    if isinstance(url, str) and url.endswith(ending) and isinstance(index, str) and index.isdecimal():
        status = StatusReference(list=url.removesuffix(ending), index=int(index[:20]))
        if entries(status) == stated:
            return status
    raise InvalidArgument(
        "STATUS_ENTRY_MALFORMED",
        "not an entry for revocation and one for suspension, of one place",
        field="credentialStatus",
        rule="Bitstring Status List 1.0, section 2.1",
        remedy="ask the issuer for the credential as it was issued",
    )
