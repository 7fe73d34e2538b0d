"""Static files: what is written whole, and a signature that another implementation makes, too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore import auth, awsrequest, credentials

from vitne.errors import Unavailable
from vitne.runtime.objects import IMMUTABLE, Kind
from vitne.runtime.objects.folder import FolderObjects
from vitne.runtime.objects.signature_v4 import Credentials, signed_headers

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
TILE = Kind("application/octet-stream", IMMUTABLE)


@pytest.mark.parametrize(("method", "body"), [("PUT", b"hashes"), ("GET", b"")])
def test_the_signature_is_that_of_botocore(method: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://storage.example:9000/bucket/prefix/tile/0/x001/234.p/5"
    headers = {"Content-Type": TILE.media_type, "Cache-Control": TILE.cache_control}
    ours = signed_headers(method, url, headers, body, credentials=Credentials("key", "secret", "eu-north-1"), now=NOW)
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
        await FolderObjects(tmp_path).get("static/tile")
