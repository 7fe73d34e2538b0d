"""TLS over loopback with real certificates: who is let in, and certificates that are replaced under running calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography import x509

from tests.unit.runtime_probe import SCOPE, SERVICE, Part, Servicer, add_probe, call
from vitne.clock import ManualClock, SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.errors import FailedPrecondition
from vitne.identifiers import OrganisationId
from vitne.metrics import REGISTRY
from vitne.runtime import application as application_module
from vitne.runtime.application import Application
from vitne.runtime.channel import RotatingChannel, open_channel
from vitne.runtime.identity import Caller
from vitne.runtime.settings import CommonSettings
from vitne.runtime.status import error_from_rpc
from vitne.runtime.tls import TlsFiles, TlsWatch, client_context

ISSUER = "spiffe://vitne.example/issuer"
PORTAL = "spiffe://vitne.example/portal"


class Verifier:
    """At the boundary: tokens are the scopes they carry."""

    async def verify(self, token: str) -> Caller:
        return Caller(OrganisationId.parse("0192:971035854"), frozenset(token.split()), "client", None)


class Token:
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


class World:
    """An authority, a server's files and a client's, where an operator would put them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = CertificateAuthority(folder / "authority", SystemClock())
        self.trusted = folder / "trusted.pem"
        self.trust(self.authority)
        self.server = TlsFiles(folder / "server.crt", folder / "server.key", self.trusted)
        self.client = TlsFiles(folder / "client.crt", folder / "client.key", self.trusted)
        self.replace_server()
        self.replace_client()

    def trust(self, *authorities: CertificateAuthority) -> None:
        write(self.trusted, b"".join(one.certificate_path.read_bytes() for one in authorities))

    def replace_server(self, authority: CertificateAuthority | None = None) -> None:
        place(self.server, (authority or self.authority).issue("server", server=True))

    def replace_client(self, authority: CertificateAuthority | None = None, uri: str = ISSUER) -> None:
        place(self.client, (authority or self.authority).issue("client", uris=[uri]))

    def another_authority(self) -> CertificateAuthority:
        return CertificateAuthority(self.folder / f"authority-{os.urandom(4).hex()}", SystemClock())

    def expired(self) -> CertificateAuthority:
        """The same authority, a year ago."""
        return CertificateAuthority(self.authority.folder, ManualClock(datetime.now(UTC) - timedelta(days=365)))

    def settings(self, **values: Any) -> CommonSettings:
        tls = {
            "grpc_certificate_file": self.server.certificate,
            "grpc_key_file": self.server.key,
            "grpc_client_authority_file": self.server.authority,
        }
        return CommonSettings(environment="development", shutdown_grace_seconds=2.0, **(tls | values))


def write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def place(files: TlsFiles, issued: Path) -> None:
    """Certificate and key as two files, each replaced whole, one after the other."""
    assert files.certificate is not None
    assert files.key is not None
    certificate, marker, key = issued.read_bytes().partition(b"-----BEGIN PRIVATE KEY-----")
    write(files.certificate, certificate)
    write(files.key, marker + key)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@contextlib.asynccontextmanager
async def serving(settings: CommonSettings, **behaviours: Callable[..., Any]) -> AsyncIterator[Application]:
    application = Application("probe", settings, SystemClock(), verifier=Verifier())
    application.add_servicer(add_probe, Servicer(**behaviours), SERVICE, checks_own_streams=["Up", "Both"])
    task = asyncio.create_task(application.run())
    async with asyncio.timeout(10):
        await application.started.wait()
    try:
        yield application
    finally:
        application.stop()
        await task


@contextlib.asynccontextmanager
async def channel_to(application: Application, tls: TlsFiles | None, token: str = "") -> AsyncIterator[Any]:
    # Without retries of any call, which might hide that one was lost.
    channel = open_channel(application.grpc_address, Token(token) if token else None, tls=tls, services=())
    try:
        yield channel
    finally:
        await channel.close()


async def echo(request: Any, _context: Any) -> Any:
    return request


async def refusal(application: Application, tls: TlsFiles | None) -> str:
    async with channel_to(application, tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Open")(Part(), timeout=5)
    return caught.value.code().name


# --- who is let in ---------------------------------------------------------------------------------


async def test_both_ends_show_certificates_and_calls_go_through(world: World) -> None:
    async with serving(world.settings(), Open=echo) as application, channel_to(application, world.client) as channel:
        assert await call(channel, "Open")(Part(name="a")) == Part(name="a")


async def test_certificate_and_key_may_share_a_file(world: World) -> None:
    both = world.authority.issue("both", server=True)
    settings = world.settings(grpc_certificate_file=both, grpc_key_file=both)
    async with (
        serving(settings, Open=echo) as application,
        channel_to(application, TlsFiles(both, both, world.trusted)) as channel,
    ):
        assert await call(channel, "Open")(Part(name="a")) == Part(name="a")


async def test_clients_that_the_authority_does_not_vouch_for_are_refused(world: World) -> None:
    reached = []

    async def note(request: Any, _context: Any) -> Any:
        reached.append(request)
        return request

    async with serving(world.settings(), Open=note) as application:
        assert await refusal(application, TlsFiles(authority=world.trusted)) == "UNAVAILABLE"  # no certificate
        assert await refusal(application, None) == "UNAVAILABLE"  # no TLS
        for authority in (world.another_authority(), world.expired()):
            world.replace_client(authority)
            assert await refusal(application, world.client) == "UNAVAILABLE"
        assert not reached
        world.replace_client()
        async with channel_to(application, world.client) as channel:
            await call(channel, "Open")(Part())
        assert reached


async def test_servers_that_the_authority_does_not_vouch_for_are_refused(world: World) -> None:
    sound = world.client
    async with serving(world.settings(), Open=echo) as application:
        for authority in (world.another_authority(), world.expired()):
            world.replace_server(authority)
            assert await refusal(application, sound) == "UNAVAILABLE"
        place(world.server, world.authority.issue("server", server=False))  # neither the host's name nor the use
        assert await refusal(application, sound) == "UNAVAILABLE"
        world.replace_server()
        async with channel_to(application, sound) as channel:
            await call(channel, "Open")(Part())


async def test_without_a_client_authority_nothing_is_asked_of_clients(world: World) -> None:
    settings = world.settings(grpc_client_authority_file=None)
    async with (
        serving(settings, Open=echo) as application,
        channel_to(application, TlsFiles(authority=world.trusted)) as channel,
    ):
        assert await call(channel, "Open")(Part(name="a")) == Part(name="a")


async def test_a_scope_is_kept_to_peers_beside_the_token(world: World) -> None:
    settings = world.settings(grpc_allowed_peers={SCOPE: [ISSUER, "registry.vitne.example"]})

    async def stream(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield request

    async def reason(token: str, method: str = "Scoped") -> str:
        async with channel_to(application, world.client, token) as channel:
            try:
                answer = call(channel, method)(Part())
                await (answer if method != "Down" else answer.read())
            except grpc.aio.AioRpcError as error:
                return error_from_rpc(error).reason
        return "served"

    async with serving(settings, Scoped=echo, Open=echo, Down=stream) as application:
        assert await reason(SCOPE) == "served"
        assert await reason(SCOPE, "Down") == "served"
        assert await reason("vitne:probe.other") == "SCOPE_MISSING"
        for other in (PORTAL, f"{ISSUER}/more", "spiffe://vitne.example"):
            world.replace_client(uri=other)
            assert await reason(SCOPE) == "PEER_NOT_ALLOWED"
            assert await reason(SCOPE, "Down") == "PEER_NOT_ALLOWED"
            assert await reason(SCOPE, "Open") == "served"  # what is public is so for every peer
        # A common name is no name.
        place(world.client, world.authority.issue("registry.vitne.example"))
        assert await reason(SCOPE) == "PEER_NOT_ALLOWED"


# --- rotation --------------------------------------------------------------------------------------


async def test_replacing_certificates_and_authorities_under_load_loses_no_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Connections are made anew again and again, so that each new certificate is really used.
    monkeypatch.setattr(application_module, "MAX_CONNECTION_AGE_MS", 150)
    peers: set[bytes] = set()
    ended = asyncio.Event()
    calls = 0

    async def note(request: Any, context: Any) -> Any:
        peers.update(context.auth_context()["x509_pem_cert"])
        await asyncio.sleep(0.01)
        return request

    async def tick(request: Any, _context: Any) -> AsyncIterator[Any]:
        while not ended.is_set():
            yield request
            await asyncio.sleep(0.02)

    async with (
        serving(world.settings(), Open=note, Down=tick) as application,
        channel_to(application, world.client, SCOPE) as channel,
    ):
        stub = call(channel, "Open")  # as a service keeps its stubs: for ever

        async def load() -> None:
            nonlocal calls
            while not ended.is_set():
                assert await stub(Part(name="a"), timeout=10) == Part(name="a")
                calls += 1

        async def listen() -> int:
            return len([part async for part in call(channel, "Down")(Part(name="b"))])

        workers = [asyncio.create_task(load()) for _ in range(8)]
        listener = asyncio.create_task(listen())
        replaced = 0
        for _ in range(3):
            for replace in (world.replace_server, world.replace_client):
                replace()
                replaced += 1
                await asyncio.sleep(0.15)
        # An authority is replaced in three steps: trust both, use the new one, trust it alone.
        new = world.another_authority()
        world.trust(world.authority, new)
        await asyncio.sleep(0.15)
        world.replace_server(new)
        world.replace_client(new)
        await asyncio.sleep(0.15)
        world.trust(new)
        await asyncio.sleep(0.4)
        ended.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*workers)
            assert await listener > 20
        # The old authority opens nothing any more, in neither direction.
        assert await refusal(application, old_client(world)) == "UNAVAILABLE"
        assert await call(channel, "Open")(Part(name="c")) == Part(name="c")
    assert calls > 100
    assert len(peers) == 5  # the first, three that replaced it, and the new authority's


def old_client(world: World) -> TlsFiles:
    issued = world.authority.issue("old", uris=[ISSUER])
    return TlsFiles(issued, issued, world.trusted)


async def test_a_peer_that_nobody_vouches_for_any_more_is_shut_out_with_its_next_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application_module, "MAX_CONNECTION_AGE_MS", 300)
    clients = world.folder / "clients.pem"
    write(clients, world.authority.certificate_path.read_bytes())
    async with (
        serving(world.settings(grpc_client_authority_file=clients), Open=echo) as application,
        channel_to(application, world.client) as channel,
    ):
        await call(channel, "Open")(Part())
        write(clients, world.another_authority().certificate_path.read_bytes())
        await call(channel, "Open")(Part())  # over the connection that was let in
        await asyncio.sleep(0.6)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Open")(Part(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_call_that_runs_keeps_its_connection_and_the_old_channel_ends_with_it(world: World) -> None:
    release = asyncio.Event()

    async def wait(request: Any, context: Any) -> Any:
        begun.set()
        await release.wait()
        (name,) = context.auth_context()["peer_uri"]
        return Part(name=name.decode()[-5:])

    begun = asyncio.Event()
    async with serving(world.settings(), Open=wait) as application, channel_to(application, world.client) as channel:
        assert isinstance(channel, RotatingChannel)
        first = asyncio.ensure_future(call(channel, "Open")(Part()))
        await begun.wait()
        old = channel.newest().channel
        world.replace_client(uri="spiffe://vitne.example/other")
        second = asyncio.ensure_future(call(channel, "Open")(Part()))
        await asyncio.sleep(0.1)
        assert old.get_state() is grpc.ChannelConnectivity.READY
        release.set()
        assert [(await answer).name for answer in (first, second)] == ["ssuer", "other"]
        await asyncio.sleep(0.1)
        assert old.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_cancelled_and_refused_calls_do_not_hold_an_old_channel(world: World) -> None:
    async def refuse(_request: Any, _context: Any) -> Any:
        raise FailedPrecondition("REVOKED", "no")

    async def forever(request: Any, _context: Any) -> AsyncIterator[Any]:
        while True:
            yield request
            await asyncio.sleep(0.01)

    async with (
        serving(world.settings(), Open=refuse, Down=forever) as application,
        channel_to(application, world.client, SCOPE) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await call(channel, "Open")(Part())
        stream = call(channel, "Down")(Part())
        await stream.read()
        early = call(channel, "Down")(Part())
        early.cancel()  # before the interceptors have even begun it
        old = channel.newest().channel
        world.replace_client()
        assert channel.newest().channel is not old
        stream.cancel()
        await asyncio.sleep(0.2)
        assert old.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_a_pair_that_is_half_replaced_changes_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(world.settings(), Open=echo) as application:
        before = world.server.certificate.read_bytes() if world.server.certificate else b""
        issued = world.authority.issue("server", server=True).read_bytes()
        certificate, marker, key = issued.partition(b"-----BEGIN PRIVATE KEY-----")
        assert world.server.certificate is not None
        assert world.server.key is not None
        for half in (certificate, b"no certificate", b""):
            write(world.server.certificate, half)
            assert await shown(application.grpc_address, world) == before
        assert "can't be used" in caplog.text
        world.server.certificate.unlink()
        assert await shown(application.grpc_address, world) == before
        write(world.server.certificate, certificate)
        write(world.server.key, marker + key)
        assert await shown(application.grpc_address, world) == certificate


async def shown(address: str, world: World) -> bytes:
    """The certificate that a server shows to a new connection (PEM), checked."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=world.trusted)
    context.load_cert_chain(str(world.client.certificate), str(world.client.key))
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der).encode()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda world: world.server.key.unlink(), "TLS_FILE_UNREADABLE"),
        (lambda world: world.server.key.write_bytes(b"no key"), "TLS_FILE_MALFORMED"),
        (lambda world: world.trusted.write_bytes(b""), "TLS_FILE_MALFORMED"),
        (lambda world: shutil.copyfile(world.client.key, world.server.key), "TLS_KEY_MISMATCH"),
    ],
)
def test_files_that_can_not_be_used_end_the_start(world: World, spoil: Callable[[World], None], reason: str) -> None:
    spoil(world)
    with pytest.raises(FailedPrecondition) as caught:
        Application("probe", world.settings(), SystemClock(), verifier=Verifier())
    assert caught.value.reason == reason
    assert "PRIVATE KEY" not in str(caught.value)


def test_material_does_not_show_its_key(world: World) -> None:
    assert "PRIVATE KEY" not in repr(TlsWatch(world.server).current())


async def test_readiness_tells_of_a_certificate_that_has_expired(world: World) -> None:
    async with serving(world.settings()) as application:
        assert await application.readiness() == {}
        world.replace_server(world.expired())
        missing = await application.readiness()
        assert "server.crt expired at " in missing["certificates"]
        world.replace_server()
        assert await application.readiness() == {}


def test_clients_certificates_and_authorities_are_watched_too(world: World) -> None:
    now = datetime.now(UTC)
    place(world.client, world.expired().issue("client", uris=[ISSUER]))
    told = TlsWatch(world.client).expired(now)
    assert told is not None
    assert "client.crt expired at " in told
    authority = TlsWatch(TlsFiles(authority=world.trusted))
    (end,) = (at for _path, at in authority.ends().values())
    assert authority.expired(end) is None
    assert "expired at" in (authority.expired(end + timedelta(seconds=1)) or "")
    # While one is replaced by another, the later one counts.
    young = CertificateAuthority(world.folder / "young", ManualClock(now + timedelta(days=30)))
    world.trust(world.authority, young)
    assert authority.expired(end + timedelta(seconds=1)) is None


async def test_readiness_and_metrics_tell_of_what_is_used_as_a_client(world: World) -> None:
    world.replace_client(world.expired())
    settings = world.settings(
        kafka_certificate_file=world.client.certificate,
        kafka_key_file=world.client.key,
        kafka_authority_file=world.client.authority,
    )
    async with serving(settings) as application:
        missing = await application.readiness()
        assert missing["certificates"].startswith("kafka: ")
        assert "client.crt expired at " in missing["certificates"]
        remaining = {
            tuple(sample.labels.values()): sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if sample.name == "vitne_tls_remaining_seconds"
        }
        assert remaining["kafka", "certificate"] < 0 < remaining["kafka", "authority"]


# --- HTTP, and clients that are not gRPC's ----------------------------------------------------------


async def test_pages_are_served_over_https_with_the_newest_certificate(world: World) -> None:
    settings = world.settings(http_certificate_file=world.server.certificate, http_key_file=world.server.key)
    context = client_context(TlsFiles(authority=world.trusted))
    assert context is not None
    async with serving(settings) as application:
        url = f"https://{application.http_address}/livez"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            async with session.get(url) as response:
                assert (response.status, await response.text()) == (200, "ok\n")
            world.replace_server()
            async with session.get(url) as response:  # over the connection that is there
                assert response.status == 200
            assert await shown(application.http_address, world) == certificate_of(world.server)
            with pytest.raises(aiohttp.ClientError):
                await session.get(url.replace("https:", "http:"))
        foreign = client_context(TlsFiles(authority=world.another_authority().certificate_path))
        assert foreign is not None
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=foreign)) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(url)


def certificate_of(files: TlsFiles) -> bytes:
    assert files.certificate is not None
    return files.certificate.read_bytes()


async def test_metrics_are_served_over_https_where_pages_are(world: World) -> None:
    certificate = {"http_certificate_file": world.server.certificate, "http_key_file": world.server.key}
    context = client_context(TlsFiles(authority=world.trusted))
    assert context is not None
    async with (
        serving(world.settings(metrics_listen="127.0.0.1:0", **certificate)) as application,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
    ):
        async with session.get(f"https://{application.metrics_address}/metrics") as response:
            assert "process_cpu_seconds_total" in await response.text()
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://{application.metrics_address}/metrics")


async def test_other_clients_show_the_newest_certificate_too(world: World) -> None:
    """What the Kafka client is given."""
    seen: list[int] = []

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        der = writer.get_extra_info("ssl_object").getpeercert(True)
        seen.append(x509.load_der_x509_certificate(der).serial_number)
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=world.trusted)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_cert_chain(str(world.server.certificate), str(world.server.key))
    context = client_context(world.client)
    assert client_context(None) is None
    expected = []
    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=asking) as server:
        for _ in range(3):
            world.replace_client()
            expected.append(x509.load_pem_x509_certificate(certificate_of(world.client)).serial_number)
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            assert await reader.read() == b"hello"
            writer.close()
    assert seen == expected
