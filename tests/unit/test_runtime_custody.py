from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vitne.credentials.jose import ED25519, ES256, parse_public_jwk
from vitne.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unavailable
from vitne.runtime.custody import FileKeyCustody, KeyCustody


@pytest.fixture
def custody(tmp_path: Path) -> KeyCustody:
    return FileKeyCustody(tmp_path / "state")


@pytest.mark.parametrize("algorithm", [ES256, ED25519])
def test_a_key_survives_the_process(tmp_path: Path, algorithm: str) -> None:
    made = FileKeyCustody(tmp_path).create("provider.0184:30859480", algorithm)
    again = FileKeyCustody(tmp_path)
    for signer in (again.signer(made.key_id), again.ensure("provider.0184:30859480", algorithm)):
        assert signer.key_id == made.key_id
        assert signer.algorithm == algorithm
        assert parse_public_jwk(made.public_jwk).verify(b"data", signer.sign(b"data"))


def test_files_are_the_owners_alone_and_nothing_is_left_over(tmp_path: Path) -> None:
    custody = FileKeyCustody(tmp_path / "state")
    key_id = custody.create("a", ES256).key_id
    files = {path.relative_to(tmp_path / "state"): path for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert set(files) == {Path("keys") / f"{key_id}.pem", Path("labels") / "a"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    assert stat.S_IMODE((tmp_path / "state" / "keys").stat().st_mode) == 0o700


def test_a_label_names_one_key(custody: KeyCustody) -> None:
    first = custody.create("a", ES256)
    assert custody.ensure("a", ES256).key_id == first.key_id
    assert custody.ensure("b", ES256).key_id != first.key_id
    with pytest.raises(AlreadyExists, match="KEY_LABEL_TAKEN"):
        custody.create("a", ES256)
    with pytest.raises(InvalidArgument, match="ALGORITHM_REFUSED"):
        custody.ensure("a", ED25519)


def test_many_who_ensure_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = threads.map(lambda _: FileKeyCustody(tmp_path).ensure("status-list", ES256).key_id, range(24))
    assert len(set(made)) == 1


@pytest.mark.parametrize("label", ["", "../escape", "a/b", ".hidden", "x" * 129, "æ"])
def test_labels_cannot_leave_the_folder(custody: KeyCustody, label: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_KEY_LABEL"):
        custody.ensure(label, ES256)


@pytest.mark.parametrize("algorithm", ["none", "RS256", "ES384", ""])
def test_other_algorithms_are_refused(custody: KeyCustody, algorithm: str) -> None:
    with pytest.raises(InvalidArgument, match="ALGORITHM_REFUSED"):
        custody.create("a", algorithm)


@pytest.mark.parametrize("key_id", ["", "A" * 43, "../../etc/passwd", "../labels/a"])
def test_an_unknown_key_is_not_found(custody: KeyCustody, key_id: str) -> None:
    custody.create("a", ES256)
    with pytest.raises(NotFound, match="KEY_UNKNOWN"):
        custody.signer(key_id)


def test_a_damaged_or_swapped_file_is_data_loss(tmp_path: Path) -> None:
    custody = FileKeyCustody(tmp_path)
    one, two = custody.create("a", ES256).key_id, custody.create("b", ES256).key_id
    keys = tmp_path / "keys"
    (keys / f"{one}.pem").write_bytes((keys / f"{two}.pem").read_bytes())
    (keys / f"{two}.pem").write_text("not a key")
    for key_id in (one, two):
        with pytest.raises(DataLoss, match="KEY_UNREADABLE"):
            FileKeyCustody(tmp_path).signer(key_id)


def test_a_folder_that_is_none_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match="CUSTODY_UNAVAILABLE"):
        FileKeyCustody(tmp_path / "file").create("a", ES256)
