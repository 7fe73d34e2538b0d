"""The forms in which one list of statuses is published: where each is, and as what it is served."""

from __future__ import annotations

from enum import Enum
from typing import Final

from vitne.credentials import bitstring_status_list, status_list, status_list_cwt
from vitne.credentials.bitstring_status_list import Purpose, list_url


class ListForm(Enum):
    """A form, with what its address ends in beyond the list's own."""

    JWT = ""
    CWT = ".cwt"
    REVOCATION = list_url("", "revocation")
    SUSPENSION = list_url("", "suspension")

    @property
    def media_type(self) -> str:
        """As it is served."""
        return _MEDIA_TYPES[self]

    @property
    def purpose(self) -> Purpose | None:
        """Which statuses it tells; None: all, being a Token Status List."""
        return _PURPOSES.get(self)

    def names(self, list_uri: str) -> str:
        """What a list in this form calls itself: both tokens the list's own URI, the lists of a purpose theirs."""
        return list_uri if self.purpose is None else list_url(list_uri, self.purpose)


_MEDIA_TYPES: Final = {
    ListForm.JWT: status_list.MEDIA_TYPE,
    ListForm.CWT: status_list_cwt.MEDIA_TYPE,
    ListForm.REVOCATION: bitstring_status_list.MEDIA_TYPE,
    ListForm.SUSPENSION: bitstring_status_list.MEDIA_TYPE,
}
_PURPOSES: Final[dict[ListForm, Purpose]] = {ListForm.REVOCATION: "revocation", ListForm.SUSPENSION: "suspension"}
