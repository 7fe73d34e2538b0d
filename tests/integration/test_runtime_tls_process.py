"""A whole process on its own event loop (uvloop) with TLS: it finishes what it took when told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from tests.unit.runtime_probe import Part, call
from vitne.clock import SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.runtime.channel import open_channel
from vitne.runtime.tls import TlsFiles, client_context

ROOT = Path(__file__).resolve().parents[2]

_PROGRAM = """
import asyncio
from fastapi import FastAPI
from tests.unit.runtime_probe import SERVICE, Servicer, add_probe
from vitne.clock import SystemClock
from vitne.runtime.application import Application
from vitne.runtime.main import cli
from vitne.runtime.settings import CommonSettings

async def slow(request, _context):
    await asyncio.sleep(len(request.name) / 5)
    return request

async def collect(requests, _context):
    return type(await anext(requests))(name=str(1 + len([one async for one in requests])))

async def both(requests, _context):
    async for request in requests:
        yield request

async def serve(settings):
    application = Application("probe", settings, SystemClock())
    servicer = Servicer(Open=slow, Missing=slow, Up=collect, Both=both)
    application.add_servicer(add_probe, servicer, SERVICE, checks_own_streams=["Up", "Both"])
    pages = FastAPI()

    @pages.get("/slow")
    async def page():
        await asyncio.sleep(0.8)
        return "slow"

    application.mount_http(pages)
    async def announce():
        print(application.grpc_address, application.http_address, flush=True)
    application.add_task("announce", announce)
    await application.run()

raise SystemExit(cli("probe", "Probes.", serve=serve, migrations=[], settings=CommonSettings))
"""


class Process:
    """The process, a channel to it, and what its pages are fetched with."""

    def __init__(
        self, process: asyncio.subprocess.Process, grpc: str, http: str, channel: Any, pages: aiohttp.ClientSession
    ) -> None:
        self.process = process
        self.channel = channel
        self.grpc = grpc
        self.http = http
        self.pages = pages

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        _, err = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode is not None, err
        return self.process.returncode


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path, SystemClock())


@contextlib.asynccontextmanager
async def running(authority: CertificateAuthority, grace: float) -> AsyncIterator[Process]:
    server = str(authority.issue("server", server=True))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "VITNE_ENVIRONMENT": "development",
        "VITNE_SHUTDOWN_GRACE_SECONDS": str(grace),
        "VITNE_GRPC_CERTIFICATE_FILE": server,
        "VITNE_GRPC_KEY_FILE": server,
        "VITNE_GRPC_CLIENT_AUTHORITY_FILE": str(authority.certificate_path),
        "VITNE_HTTP_CERTIFICATE_FILE": server,
        "VITNE_HTTP_KEY_FILE": server,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROGRAM,
        "serve",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment,
    )
    assert process.stdout is not None
    grpc_address, http_address = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()
    client = authority.issue("client")
    tls = TlsFiles(client, client, authority.certificate_path)
    context = client_context(tls)
    assert context is not None
    channel = open_channel(grpc_address, None, tls=tls, services=())
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as pages:
            yield Process(process, grpc_address, http_address, channel, pages)
    finally:
        await channel.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_was_taken_is_finished(authority: CertificateAuthority) -> None:
    told_to_end = asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        yield Part(name="a")
        await told_to_end.wait()
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield Part(name="b")

    async with running(authority, grace=10) as process:
        unary = asyncio.ensure_future(call(process.channel, "Open")(Part(name="abcd")))  # 0.8 s
        upward = asyncio.ensure_future(call(process.channel, "Up")(requests()))
        stream = call(process.channel, "Both")(requests())
        page = asyncio.ensure_future(process.pages.get(f"https://{process.http}/slow"))
        assert await stream.read() == Part(name="a")
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        process.terminate()
        told_to_end.set()
        assert await unary == Part(name="abcd")
        assert await upward == Part(name="5")
        assert [part.name async for part in stream] == ["b"] * 4
        async with await page as response:
            assert (response.status, await response.json()) == (200, "slow")
        assert await process.ended() == 0
        assert time.monotonic() - begun < 8  # it waits for what runs, not for the grace to pass


async def test_new_calls_are_turned_away_meanwhile_as_safe_to_try_elsewhere(authority: CertificateAuthority) -> None:
    async with running(authority, grace=10) as process:
        unary = asyncio.ensure_future(call(process.channel, "Open")(Part(name="abcde")))
        await asyncio.sleep(0.3)
        process.terminate()
        await asyncio.sleep(0.3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(process.channel, "Open")(Part(name="a"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await unary == Part(name="abcde")
        assert await process.ended() == 0


async def test_the_grace_ends(authority: CertificateAuthority) -> None:
    async with running(authority, grace=0.5) as process:
        stream = call(process.channel, "Both")(forever())
        await stream.read()
        process.terminate()
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in stream:
                pass
        assert await process.ended() == 0


async def forever() -> AsyncIterator[Any]:
    while True:
        yield Part(name="a")
        await asyncio.sleep(0.05)


async def test_certificates_are_replaced_under_a_process(authority: CertificateAuthority) -> None:
    async with running(authority, grace=1) as process:
        for _ in range(2):
            both = authority.issue("server", server=True)
            for address in (process.grpc, process.http):
                assert both.read_bytes().startswith(await shown(address, authority))
            assert await call(process.channel, "Open")(Part(name="a")) == Part(name="a")


async def shown(address: str, authority: CertificateAuthority) -> bytes:
    """The certificate that a server shows to a new connection (PEM)."""
    host, _, port = address.rpartition(":")
    context = authority.context(authority.path("client"))
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der).encode()
