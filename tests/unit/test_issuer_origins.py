"""Where a leaf comes from is for the issuer alone, and for the leaf that it was sent with."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.issuer.crypto import IndexKey
from services.issuer.origins import Origins
from services.issuer.store import Credential
from vitne.errors import DataLoss

DIGEST, OTHER = bytes(range(32)), bytes(range(1, 33))
ROW = Credential(
    id=UUID(int=1),
    provider="0184:30859480",
    learner=UUID(int=2),
    achievement=UUID(int=3),
    achievement_version=1,
    kind="dk.micro_credential",
    retention=1,
    issued_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
    request_id=UUID(int=4),
    request_item=b"hash of an item",
    request_digest=b"",
    decision=b"",
    status_list="https://status.example/2026/dk-1",
    status_index=7,
    status=1,
    signing_key="",
    prepared=b"",
)


def test_the_issuer_reads_what_it_sealed() -> None:
    origins = Origins(IndexKey(bytes(32)))
    origin = origins.open(DIGEST, origins.seal(DIGEST, ROW))
    assert (origin.credential, origin.provider, origin.request_id) == (ROW.id, ROW.provider, ROW.request_id)
    assert (origin.status_list, origin.status_index, origin.issued_at) == (ROW.status_list, 7, ROW.issued_at)


def test_nobody_else_does() -> None:
    sealed = Origins(IndexKey(bytes(32))).seal(DIGEST, ROW)
    assert ROW.provider.encode() not in sealed
    with pytest.raises(DataLoss, match="SEAL_BROKEN"):
        Origins(IndexKey(bytes([1]) * 32)).open(DIGEST, sealed)


def test_it_is_of_one_leaf() -> None:
    origins = Origins(IndexKey(bytes(32)))
    with pytest.raises(DataLoss, match="SEAL_BROKEN"):
        origins.open(OTHER, origins.seal(DIGEST, ROW))


def test_nothing_of_the_learner_is_in_it() -> None:
    """She may be erased, and the topic stays."""
    origins = Origins(IndexKey(bytes(32)))
    origin = origins.open(DIGEST, origins.seal(DIGEST, ROW))
    said = [getattr(origin, name) for name in origin.__struct_fields__]
    assert ROW.learner not in said
    assert ROW.request_item not in said
