"""Key files are made once, and refused where others can read them; mounted Secrets of Kubernetes are taken."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vitne.errors import FailedPrecondition
from vitne.runtime.secret_files import is_exposed, read_secret

NAME = "some.key"
ROOT, OWN, OTHER = 0, 10001, 10002


def refused(folder: Path) -> str:
    with pytest.raises(FailedPrecondition) as caught:
        read_secret(folder, NAME, create=False)
    return caught.value.reason


def test_a_key_file_is_made_once_and_only_where_that_is_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert refused(folder) == "SECRET_MISSING"
    made = read_secret(folder, NAME, create=True)
    assert len(made) == 32
    assert read_secret(folder, NAME, create=True) == read_secret(folder, NAME, create=False) == made
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_file_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / NAME
    path.touch(0o600)
    path.write_bytes(bytes(length))
    assert refused(tmp_path) == "SECRET_MALFORMED"


@pytest.mark.parametrize("mode", [0o640, 0o440, 0o604, 0o444, 0o620])
def test_a_file_of_ones_own_is_for_oneself_alone(tmp_path: Path, mode: int) -> None:
    read_secret(tmp_path, NAME, create=True)
    (tmp_path / NAME).chmod(mode)
    assert refused(tmp_path) == "SECRET_EXPOSED"


@pytest.mark.parametrize(
    ("mode", "owner", "user", "exposed"),
    [
        (0o600, OWN, OWN, False),
        (0o400, OWN, OWN, False),
        (0o400, ROOT, ROOT, False),
        (0o440, ROOT, OWN, False),  # a Secret that Kubernetes mounts, read by fsGroup
        (0o040, ROOT, OWN, False),
        (0o440, ROOT, ROOT, True),  # root needs no group
        (0o440, OWN, OWN, True),
        (0o440, OTHER, OWN, True),  # its owner could change the mode
        (0o640, ROOT, OWN, True),
        (0o460, ROOT, OWN, True),
        (0o450, ROOT, OWN, True),
        (0o444, ROOT, OWN, True),
        (0o441, ROOT, OWN, True),
        (0o602, OWN, OWN, True),
    ],
)
def test_who_may_read_it(mode: int, owner: int, user: int, exposed: bool) -> None:
    assert is_exposed(stat.S_IFREG | mode, owner=owner, user=user) == exposed


def test_a_mounted_secret_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Kubernetes mounts it: a link to a link, the file root's and readable by the pod's group.
    data = tmp_path / "..2026_11_21"
    data.mkdir()
    (data / NAME).write_bytes(bytes(32))
    (data / NAME).chmod(0o440)
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / NAME).symlink_to(f"..data/{NAME}")
    real = os.fstat

    def of_root(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[stat.ST_UID] = ROOT
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_root)
    monkeypatch.setattr(os, "geteuid", lambda: OWN)
    assert read_secret(tmp_path, NAME, create=False) == bytes(32)
    (data / NAME).chmod(0o444)
    assert refused(tmp_path) == "SECRET_EXPOSED"
