"""The ledger's settings, secret and keys: what is refused at the start, and what stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.ledger.__main__ import main
from services.ledger.keys import LedgerKeys
from services.ledger.leases import SECRET_FILE, Orders, load_secret
from services.ledger.settings import LedgerSettings
from vitne.credentials.jose import parse_public_jwk
from vitne.errors import DataLoss, FailedPrecondition
from vitne.merkle.notes import Checkpoint, open_checkpoint, sign_checkpoint
from vitne.runtime.custody import FileKeyCustody

URL = "https://status.vitne.example/2026/no-1"


@pytest.mark.parametrize(
    "values",
    [
        {"list_size": 131_071},
        {"list_size": (1 << 22) + 1},
        {"list_ttl_seconds": 0},
        {"list_ttl_seconds": 600, "list_lifetime_seconds": 900},
        {"publish_interval_seconds": 0},
        {"sequence_interval_seconds": 1.5},
        {"status_base_url": "https://status.vitne.example/"},
        {"status_base_url": "ftp://status.vitne.example"},
        {"status_base_url": "https://user@status.vitne.example"},
        {"status_base_url": "https://status.vitne.example?x"},
        {"log_origin": ""},
        {"log_origin": "https://log.vitne.example"},
        {"log_origin": "log vitne"},
        {"log_origin": "log+vitne"},
    ],
)
def test_settings_that_can_not_work_end_the_start(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LedgerSettings(**values)


def test_the_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with pytest.raises(FailedPrecondition, match="SECRET_MISSING"):
        load_secret(folder, create=False)
    secret = load_secret(folder, create=True)
    assert len(secret) == 32
    assert load_secret(folder, create=True) == load_secret(folder, create=False) == secret
    assert (folder / SECRET_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [SECRET_FILE]
    (folder / SECRET_FILE).write_bytes(b"short")
    with pytest.raises(FailedPrecondition, match="SECRET_MALFORMED"):
        load_secret(folder, create=True)


def test_another_secret_is_noticed_before_an_index_is_given_twice() -> None:
    check = Orders(bytes(32)).check(URL)
    assert Orders(bytes(32)).of(URL, 100, check).position(3) >= 0
    with pytest.raises(DataLoss, match="INDEX_ORDER_LOST"):
        Orders(bytes([1]) * 32).of(URL, 100, check)


def test_keys_are_printed_for_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITNE_STATE_DIR", str(tmp_path))
    printed = []
    for _ in range(2):
        assert main(["keys"]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    algorithms = {entry["use"]: parse_public_jwk(entry["public_jwk"]).algorithm for entry in printed[0]}
    assert algorithms == {"KEY_USE_STATUS_LIST": "ES256", "KEY_USE_CHECKPOINT": "Ed25519"}
    assert all("d" not in entry["public_jwk"] for entry in printed[0])


def test_the_checkpoint_key_signs_notes_of_the_origin(tmp_path: Path) -> None:
    signer = LedgerKeys.ensure(FileKeyCustody(tmp_path)).note_signer("log.vitne.example/2026")
    checkpoint = Checkpoint("log.vitne.example/2026", 0, bytes(32))
    assert open_checkpoint(sign_checkpoint(checkpoint, signer), signer.key) == checkpoint
