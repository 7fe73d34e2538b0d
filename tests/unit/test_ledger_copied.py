"""What a list's copy says of itself, whatever somebody put in its place: a date of this list, or a refusal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.ledger.copied import copied_at
from services.ledger.lists import PublishedList
from vitne.canonical import b64url
from vitne.credentials import bitstring_status_list, status_list
from vitne.credentials.list_forms import ListForm
from vitne.errors import DataLoss

URL = "https://status.vitne.example/2026/no-1"
AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
LIST = PublishedList(URL, 1, b"", b"", AT)
W3C = f"{URL}.revocation"


def token(kind: str, **claims: Any) -> bytes:
    """Signed by nobody, whose signature is not looked at."""
    header = {"alg": "ES256", "typ": kind, "kid": "k"}
    parts = [b64url(json.dumps(each).encode()) for each in (header, claims)]
    return ".".join([*parts, b64url(bytes(64))]).encode()


def read(form: ListForm, body: bytes) -> datetime:
    return copied_at(LIST, form, "2026/no-1", body)


def test_dates_are_read_of_both_kinds() -> None:
    seconds = int(AT.timestamp())
    assert read(ListForm.JWT, token(status_list.JWT_TYPE, sub=URL, iat=seconds)) == AT
    for text in ("2026-11-21T10:00:00Z", "2026-11-21T11:00:00+01:00", "2026-11-21T10:00:00"):
        assert read(ListForm.REVOCATION, token(bitstring_status_list.JWT_TYPE, id=W3C, validFrom=text)) == AT


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (ListForm.JWT, "å".encode()),
        (ListForm.JWT, token(status_list.JWT_TYPE, sub=URL)),
        (ListForm.JWT, token(status_list.JWT_TYPE, sub=URL, iat="1")),
        (ListForm.JWT, token(status_list.JWT_TYPE, iat=1)),
        (ListForm.JWT, token(status_list.JWT_TYPE, sub=URL, iat=10**18)),
        (ListForm.JWT, token(status_list.JWT_TYPE, sub=URL, iat=2**53 - 1)),
        (ListForm.JWT, token(status_list.JWT_TYPE, sub=URL, iat=10**30)),
        (ListForm.JWT, token(bitstring_status_list.JWT_TYPE, sub=URL, iat=1)),
        (ListForm.REVOCATION, token(status_list.JWT_TYPE, id=W3C, validFrom="2026-11-21T10:00:00Z")),
        (ListForm.REVOCATION, token(bitstring_status_list.JWT_TYPE, id=W3C, validFrom="today")),
        (ListForm.REVOCATION, token(bitstring_status_list.JWT_TYPE, id=f"{URL}.suspension", validFrom="2026-11-21")),
        (ListForm.REVOCATION, token(bitstring_status_list.JWT_TYPE, id=URL, validFrom="2026-11-21")),
        (ListForm.CWT, b""),
        (ListForm.CWT, b"\xd2\x84"),
    ],
)
def test_what_is_no_copy_of_the_list_in_this_form_is_refused(form: ListForm, body: bytes) -> None:
    with pytest.raises(DataLoss, match="COPY_UNREADABLE"):
        read(form, body)
