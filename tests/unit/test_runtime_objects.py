"""Static files: what is written whole, and a signature that another implementation makes, too."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from botocore import auth, awsrequest, credentials

from vitne.errors import Unavailable
from vitne.runtime.objects import IMMUTABLE, Kind
from vitne.runtime.objects import folder as folder_module
from vitne.runtime.objects.folder import LOCK, FolderObjects
from vitne.runtime.objects.signature_v4 import Credentials, signed_headers

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
TILE = Kind("application/octet-stream", IMMUTABLE)


@pytest.mark.parametrize(("method", "body"), [("PUT", b"hashes"), ("GET", b"")])
def test_the_signature_is_that_of_botocore(method: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://storage.example:9000/bucket/prefix/tile/0/x001/234.p/5"
    headers = {"Content-Type": f" {TILE.media_type} ", "Cache-Control": TILE.cache_control}
    key = Credentials("key", "secret", "eu-north-1")
    # Wherever the clock is.
    now = NOW.astimezone(timezone(timedelta(hours=1)))
    ours = signed_headers(method, url, headers, body, credentials=key, now=now)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))
    theirs = awsrequest.AWSRequest(method, url, headers=dict(headers), data=body)
    auth.S3SigV4Auth(credentials.Credentials("key", "secret"), "s3", "eu-north-1").add_auth(theirs)
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours["x-amz-content-sha256"] == theirs.headers["X-Amz-Content-SHA256"]


async def test_a_folder_holds_whole_files(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path / "static")
    assert await objects.get("tile/0/000") is None
    for data in (b"one", b"another"):
        await objects.put("tile/0/000", data, TILE)
        assert await objects.get("tile/0/000") == data
    assert [path.name for path in (tmp_path / "static" / "tile" / "0").iterdir()] == ["000"]


async def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "static").write_text("a file")
    with pytest.raises(Unavailable, match="STORAGE_UNAVAILABLE"):
        await FolderObjects(tmp_path / "static").put("tile/0/000", b"", TILE)
    with pytest.raises(Unavailable, match="STORAGE_UNAVAILABLE"):
        await FolderObjects(tmp_path / "static").replace("list", b"", TILE, over=None)
    with pytest.raises(Unavailable, match="STORAGE_UNAVAILABLE"):
        await FolderObjects(tmp_path).get("static/tile")


async def test_a_file_is_on_the_disk_before_it_is_one_and_its_name_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bytes | None, bool]] = []

    def sync(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((None if place.is_dir() else place.read_bytes(), (tmp_path / "list").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    await FolderObjects(tmp_path).put("list", b"one", TILE)
    assert synced == [(b"one", False), (None, True)]


async def test_a_disk_that_is_full_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FolderObjects(tmp_path)
    await objects.put("list", b"one", TILE)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        await objects.put("list", b"two", TILE)
    assert await objects.get("list") == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["list"]


#: Adds one to a number in a file, so many times, by reading it and writing over what was read.
_COUNT = """
import asyncio, sys
from pathlib import Path
from vitne.runtime.objects import Kind
from vitne.runtime.objects.folder import FolderObjects

async def main(folder, times):
    objects = FolderObjects(Path(folder))
    while times:
        there = await objects.read("number")
        number = int(there.data) if there else 0
        tag = there.tag if there else None
        times -= await objects.replace("number", b"%d" % (number + 1), Kind("", ""), over=tag) is not None

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
#: Holds the folder, and says so.
_HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "ab") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print(flush=True)
    time.sleep(600)
"""


async def test_processes_that_share_a_folder_undo_nothing_of_each_other(tmp_path: Path) -> None:
    counting = [await asyncio.create_subprocess_exec(sys.executable, "-c", _COUNT, tmp_path, "100") for _ in range(3)]
    assert [await process.wait() for process in counting] == [0, 0, 0]
    assert (tmp_path / "number").read_bytes() == b"300"
    assert {path.name for path in tmp_path.iterdir()} == {"number", LOCK}


async def test_a_process_that_holds_the_folder_is_told_and_its_end_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FolderObjects(tmp_path)
    tag = await objects.replace("list", b"one", TILE, over=None)
    holding = await asyncio.create_subprocess_exec(sys.executable, "-c", _HOLD, tmp_path / LOCK, stdout=PIPE)
    try:
        assert holding.stdout is not None
        assert await holding.stdout.readline()
        holding.send_signal(signal.SIGSTOP)
        with monkeypatch.context() as impatient:
            impatient.setattr(folder_module, "PATIENCE_SECONDS", 0.2)
            with pytest.raises(Unavailable, match=r"STORAGE_UNAVAILABLE: another process has held .* remedy: find"):
                await objects.replace("list", b"two", TILE, over=tag)
        assert await objects.get("list") == b"one"
        waiting = asyncio.create_task(objects.replace("list", b"two", TILE, over=tag))
        # However many wait, what only reads has a thread.
        others = [asyncio.create_task(objects.replace(f"{n}", b"", TILE, over=None)) for n in range(40)]
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(objects.get("list"), 5) == b"one"
        assert not waiting.done()
    finally:
        holding.kill()
        await holding.wait()
    assert await waiting is not None
    assert all(await asyncio.gather(*others))
    assert await objects.get("list") == b"two"
