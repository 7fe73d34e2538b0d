"""Entries of W3C credentials name a place in lists that the ledger publishes, which show the status vector."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from vitne.credentials.bitstring_status_list import MIN_ENTRIES, PURPOSES, decode, is_set, project, sign_credential
from vitne.credentials.jose import LocalSigner, parse_jws, strict_json
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.model import StatusReference
from vitne.credentials.status_list import INVALID, SUSPENDED, VALID, pack
from vitne.credentials.w3c import vcdm
from vitne.credentials.w3c.status_entries import entries, read_entries
from vitne.errors import InvalidArgument

SIGNER = LocalSigner(ec.derive_private_key(31, ec.SECP256R1()))
LIST = "https://status.vitne.example/2026/dk-7"


def test_the_first_place_is_the_most_significant_bit() -> None:
    assert project(pack([INVALID, VALID, SUSPENDED], 2), "revocation")[0] == 0b1000_0000
    assert project(pack([INVALID, VALID, SUSPENDED], 2), "suspension")[0] == 0b1010_0000


def test_lists_of_different_age_never_make_a_revoked_credential_valid() -> None:
    """Each may be kept for its ``ttl``, so one may be from before and the other from after."""
    history = [pack([status], 2) for status in (SUSPENDED, INVALID)]
    for revocation, suspension in product(history, history):
        bits = project(revocation, "revocation"), project(suspension, "suspension")
        assert any(each[0] & 0b1000_0000 for each in bits)


def test_an_entry_names_a_list_that_is_a_credential() -> None:
    now = datetime(2026, 11, 21, 10, tzinfo=UTC)
    status = StatusReference(LIST, 1)
    for purpose, entry in zip(PURPOSES, entries(status), strict=True):
        token = sign_credential(
            uri=entry["statusListCredential"],
            issuer="https://vitne.example",
            packed=pack([VALID, INVALID], 2),
            purpose=purpose,
            issued_at=now,
            expires_at=now + timedelta(minutes=15),
            ttl=timedelta(seconds=10),
            signer=SIGNER,
        )
        jws = parse_jws(token, algorithms=("ES256",), types=("vc+jwt",), max_length=100_000, field="list")
        document = strict_json(jws.payload)
        vcdm.require_credential(document)
        assert to_rdf(document)
        subject = document["credentialSubject"]
        assert (document["id"], subject["statusPurpose"]) == (entry["statusListCredential"], entry["statusPurpose"])
        assert subject["ttl"] == 10_000
        assert is_set(decode(subject["encodedList"]), int(entry["statusListIndex"]))  # What is revoked is in both.


@pytest.mark.parametrize("index", [-1, MIN_ENTRIES])
def test_places_beyond_the_list_say_nothing(index: int) -> None:
    with pytest.raises(InvalidArgument, match="STATUS_INDEX_OUT_OF_RANGE"):
        is_set(bytes(MIN_ENTRIES // 8), index)


def test_entries_are_read_back_as_they_are_written() -> None:
    status = StatusReference(LIST, 70_931)
    assert read_entries(entries(status)) == status
    broken: list[Any] = [None, [], {}, [1], entries(status)[:1], entries(status)[::-1]]
    broken.append([entries(status)[0] | {"statusListIndex": "070931"}, entries(status)[1]])
    for stated in broken:
        with pytest.raises(InvalidArgument, match="STATUS_ENTRY_MALFORMED"):
            read_entries(stated)
