"""What a copy of a list says of itself: which list it is, in which form, and of when.

Its signature is not looked at: whoever can write into the storage can put a list there that was signed once. What is
found out is whether the file is one of the ledger's, and its date.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from services.ledger.lists import PublishedList
from vitne.credentials import bitstring_status_list, status_list, status_list_cwt
from vitne.credentials.jose import ES256, parse_jws, strict_json
from vitne.credentials.list_forms import ListForm
from vitne.credentials.status_list import MAX_TOKEN_LENGTH
from vitne.errors import DataLoss, InvalidArgument

#: Of each form that is a JWT: its type, which claim says what it is, and which says of when.
_JWTS: Final = {
    ListForm.JWT: (status_list.JWT_TYPE, "sub", "iat"),
    ListForm.REVOCATION: (bitstring_status_list.JWT_TYPE, "id", "validFrom"),
    ListForm.SUSPENSION: (bitstring_status_list.JWT_TYPE, "id", "validFrom"),
}


def copied_at(entry: PublishedList, form: ListForm, path: str, body: bytes) -> datetime:
    """The date of a copy of a list, whole seconds.

    Args:
        entry: the list that the file is to be of.
        form: the form that it is to have.
        path: of the file.
        body: its bytes.

    Raises:
        DataLoss: ``COPY_UNREADABLE``: it is something else.
    """
    try:
        uri, instant = status_list_cwt.stated(body) if form is ListForm.CWT else _stated(form, body)
    except (InvalidArgument, ValueError, OverflowError, OSError) as error:  # the last two: of a date far away
        raise _unreadable(path, "it is no status list in this form") from error
    if uri != form.names(entry.url):
        raise _unreadable(path, "it is another list")
    return instant


def _stated(form: ListForm, body: bytes) -> tuple[str, datetime]:
    kind, name, date = _JWTS[form]
    jws = parse_jws(body.decode("ascii"), algorithms=(ES256,), types=(kind,), max_length=MAX_TOKEN_LENGTH)
    claims = strict_json(jws.payload)
    match claims.get(name) if isinstance(claims, dict) else None, claims:
        case str() as uri, {"iat": int() as seconds} if date == "iat":
            return uri, datetime.fromtimestamp(seconds, UTC)
        case str() as uri, {"validFrom": str() as text} if date == "validFrom":
            instant = datetime.fromisoformat(text)
            return uri, instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    raise ValueError(name)


def _unreadable(path: str, why: str) -> DataLoss:
    return DataLoss(
        "COPY_UNREADABLE",
        f"what is in the storage in place of a list's copy is left as it is: {why}",
        field=path,
        rule="nothing but the ledger writes into the storage that it copies to (VITNE_STORAGE)",
        remedy="find out who wrote the file, and take it away: the ledger then writes the list there",
    )


def later_copy(path: str, there: datetime, entry: PublishedList) -> DataLoss:
    """The storage has a list of later than the ledger has ever signed."""
    return DataLoss(
        "LIST_ROLLED_BACK",
        f"the storage has the list as of {there:%Y-%m-%dT%H:%M:%SZ}, and no version of then is known here; the "
        f"newest is of {entry.published:%Y-%m-%dT%H:%M:%SZ}",
        field=path,
        rule="no list is replaced by an earlier one",
        remedy="the database was restored to an earlier instant (docs/operating/restore.md), or another ledger writes "
        "here: give each a storage of its own",
    )
