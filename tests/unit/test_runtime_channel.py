"""A channel whose certificates are replaced: when it begins anew, and what happens when it can't."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from vitne.clock import SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.runtime.channel import RotatingChannel
from vitne.runtime.tls import TlsFiles, TlsMaterial, TlsWatch, channel_credentials


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path, SystemClock())


def files_of(authority: CertificateAuthority) -> TlsFiles:
    own = authority.issue("client")
    return TlsFiles(own, own, authority.certificate_path)


def connect(material: TlsMaterial) -> Any:
    return grpc.aio.secure_channel("127.0.0.1:1", channel_credentials(material))


async def test_files_that_are_written_anew_with_what_they_held_change_nothing(authority: CertificateAuthority) -> None:
    files = files_of(authority)
    assert files.certificate is not None
    watch = TlsWatch(files)
    before = watch.current()
    content = files.certificate.read_bytes()
    files.certificate.unlink()
    files.certificate.write_bytes(content)
    os.utime(files.certificate, (1, 1))
    assert watch.current() is before
    authority.issue("client")
    assert watch.current() is not before


async def test_what_grpc_can_not_use_leaves_the_channel_as_it_was(
    authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    """A channel that could not be replaced must neither fail the call that noticed it nor be closed as an old one."""
    files, usable, tried = files_of(authority), True, 0

    def connect_if_usable(material: TlsMaterial) -> Any:
        nonlocal tried
        tried += 1
        if not usable:
            raise ValueError("no such curve")
        return connect(material)

    channel = RotatingChannel(TlsWatch(files), connect_if_usable)
    first = channel.newest()
    usable = False
    authority.issue("client")
    for _ in range(3):
        assert channel.newest() is first
    assert tried == 2  # once for each change of the files
    assert "gRPC can't use them" in caplog.text
    call: Any = cast("Any", first.channel.unary_unary("/a/b"))(b"", timeout=0.01)
    channel.begun(first, call)
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    assert first.channel.get_state() is not grpc.ChannelConnectivity.SHUTDOWN
    usable = True
    authority.issue("client")
    assert channel.newest() is not first
    await channel.close()
