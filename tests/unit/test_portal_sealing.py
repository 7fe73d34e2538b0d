"""What the portal holds of learners opens only where it was sealed, with the right key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.portal.sealing import INDEX_KEY_FILE, DataKey, PortalKeys
from services.portal.settings import PortalSettings
from vitne.errors import DataLoss, FailedPrecondition
from vitne.identifiers import LearnerId

KEY = DataKey(bytes(32))


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_and_differs_each_time(plain: bytes) -> None:
    first, second = (KEY.seal(plain, "credential", "h1", "content") for _ in range(2))
    assert first != second
    assert KEY.open(first, "credential", "h1", "content") == plain


@given(st.integers(0, 40), st.integers(1, 255))
def test_a_changed_value_does_not_open(position: int, change: int) -> None:
    sealed = bytearray(KEY.seal(b"secret words", "credential", "h1", "content"))
    sealed[position] ^= change
    with pytest.raises(DataLoss, match="SEAL_BROKEN"):
        KEY.open(bytes(sealed), "credential", "h1", "content")


@pytest.mark.parametrize(
    "place", [("credential", "h2", "content"), ("other", "h1", "content"), ("credential", "h1", "x")]
)
def test_a_moved_value_does_not_open(place: tuple[str, ...]) -> None:
    sealed = KEY.seal(b"secret", "credential", "h1", "content")
    with pytest.raises(DataLoss, match="SEAL_BROKEN"):
        KEY.open(sealed, *place)
    with pytest.raises(DataLoss, match="SEAL_BROKEN"):
        DataKey(b"\x01" * 32).open(sealed, "credential", "h1", "content")
    with pytest.raises(DataLoss, match="SEAL_BROKEN"):
        KEY.open(b"", "credential", "h1", "content")


def test_keys_are_made_once_and_demanded_in_production(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="SECRET_MISSING"):
        PortalKeys.load(tmp_path, create=False)
    first = PortalKeys.load(tmp_path / "state", create=True)
    again = PortalKeys.load(tmp_path / "state", create=False)
    learner = LearnerId("no.national_id", "01825500042")
    assert first.lookup(learner) == again.lookup(learner)
    wrapped = first.new_data_key("p")
    sealed = first.data_key(wrapped, "p").seal(b"x", "a", "b", "c")
    assert again.data_key(wrapped, "p").open(sealed, "a", "b", "c") == b"x"
    with pytest.raises(DataLoss, match="SEAL_BROKEN"):
        again.data_key(wrapped, "another learner")
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "state").iterdir()] == [0, 0]
    (tmp_path / "state" / INDEX_KEY_FILE).write_bytes(b"short")
    with pytest.raises(FailedPrecondition, match="SECRET_MALFORMED"):
        PortalKeys.load(tmp_path / "state", create=True)


def test_learners_can_t_be_found_without_the_index_key() -> None:
    learner = LearnerId("no.national_id", "01825500042")
    assert PortalKeys(bytes(32), bytes(32)).lookup(learner) != PortalKeys(bytes(32), b"\x01" * 32).lookup(learner)
    other = LearnerId("no.national_id2", "1825500042")
    assert PortalKeys(bytes(32), bytes(32)).lookup(learner) != PortalKeys(bytes(32), bytes(32)).lookup(other)


SETTINGS = {
    "issuer_address": "127.0.0.1:1",
    "public_url": "https://portal.example",
    "database_dsn": "postgresql://x",
    "kafka_bootstrap_servers": "127.0.0.1:2",
    "identity_issuer": "https://issuer.example",
    "audience": "https://vitne.example",
    "client_id": "portal",
    "client_key_file": Path("key"),
}


def test_settings_fall_back_to_what_is_common() -> None:
    settings = PortalSettings(**SETTINGS)  # type: ignore[arg-type]  # pydantic reads them
    assert (settings.openid_issuer, settings.openid_client_id) == ("https://issuer.example", "portal")
    assert str(settings.hub_id) == "0192:919477822"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("public_url", "https://portal.example/"),
        ("public_url", "http://portal.example"),  # production is the default
        ("public_url", "portal.example"),
        ("hub", "0192:919477823"),
        ("database_dsn", ""),
        ("client_key_file", None),
        ("issuer_address", "issuer"),
    ],
)
def test_wrong_settings_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        PortalSettings(**{**SETTINGS, name: value})  # type: ignore[arg-type]
