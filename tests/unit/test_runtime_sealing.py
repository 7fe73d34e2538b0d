"""What was sealed by an earlier release opens: the bytes on disk never change."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.issuer.crypto import DataKey
from services.issuer.webhooks.endpoints import Seals
from services.portal.sealing import DataKey as PortalDataKey
from services.portal.sealing import PortalKeys
from vitne.errors import DataLoss
from vitne.runtime.sealing import Envelope, new_key

KEY = bytes(range(32))
ROW = UUID("01939b6e-0000-7000-8000-000000000001")
#: Recorded while each service had an envelope of its own.
OF_THE_ISSUER = (
    "014dcc0369e8473244ff0c8a6bda2a6da9ee94e6cb93540b5e3d582bb4bee4512b451ce393bbc77ab364",
    "35b64be33a077f1c19490cadd8c31576ed06c413b6275f8dff10b7c0ef6bb1e4",
)
OF_WEBHOOKS = (
    "01e9ecf167128b5e0140d39b591bcb8d13ffe0b330d73eac4f1be82bcd26c4f377909365724a2fd479fa2f8b870bcd81dda336107e6ccbeb",
    "01f0bfa6dd1cd828bda80cfb2ed946d4e1bc9a15fdd139854198e86563e136ce433d028a7e815f105b549766f04f4cc28a66dd88e0",
)
OF_THE_PORTAL = "01bfee98a9e2749fa51a47fb7327ffaa8e080dd9780750b589f2a67033c42f42bcf300371109c181d9b8"
#: A learner's data key, wrapped for her row.
WRAPPED = (
    "016f0dbaa6de4ddbcaa9839811c864112fff07740dd1e19f1567040929b4bf14"
    "e05a510a69bb66f17d45234db1d6baad1a8997192b5cd37150112febcc"
)


def test_the_issuers_rows_open() -> None:
    sealed, digest = map(bytes.fromhex, OF_THE_ISSUER)
    assert DataKey(KEY).open(sealed, "credential", ROW, "artefact") == b"Kari Nordmann"
    assert DataKey(KEY).digest("probe", b"data") == digest


def test_the_webhooks_rows_open() -> None:
    url, secret = map(bytes.fromhex, OF_WEBHOOKS)
    assert Seals(KEY).url(url, ROW) == "https://hooks.example/vitne"
    assert Seals(KEY).secret(secret, ROW) == b"s" * 24


def test_the_portals_rows_open() -> None:
    place = ("held", "01939b6e-0000-7000-8000-000000000001", "summary")
    assert PortalDataKey(KEY).open(bytes.fromhex(OF_THE_PORTAL), *place) == b"Kari Nordmann"
    unwrapped = PortalKeys(KEY, bytes(32)).data_key(bytes.fromhex(WRAPPED), "pseudonym-1")
    sealed = unwrapped.seal(b"x", "a", "b", "c")
    opener = PortalDataKey(bytes.fromhex("0a34287c63fc9d3a935b5ee3f48493123ade102634e28fb4694cad5a95323f84"))
    assert opener.open(sealed, "a", "b", "c") == b"x"


@pytest.mark.parametrize("cut", range(29))
def test_what_is_too_short_to_be_sealed_does_not_open(cut: int) -> None:
    envelope = Envelope(KEY)
    assert len(envelope.seal(b"", b"place")) == 29
    with pytest.raises(DataLoss, match="a place does not open"):
        envelope.open(envelope.seal(b"", b"place")[:cut], b"place", told="a place")


def test_another_version_does_not_open() -> None:
    envelope = Envelope(KEY)
    with pytest.raises(DataLoss):
        envelope.open(b"\x02" + envelope.seal(b"said", b"place")[1:], b"place", told="a place")


def test_keys_have_one_length_and_never_show() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Envelope(bytes(16))
    assert KEY.hex() not in repr(Envelope(KEY))
    assert len(new_key()) == 32
    assert new_key() != new_key()
