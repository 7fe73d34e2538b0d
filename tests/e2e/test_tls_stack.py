"""The whole stack over TLS: the road as it is without, nothing in plain text, and certificates replaced under load."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import asyncpg
import grpc
import pytest

from vitne.clock import SystemClock
from vitne.dev.actors import Actors
from vitne.dev.certificates import CertificateAuthority
from vitne.dev.demo import Demo, new_id
from vitne.dev.narrator import Narrator
from vitne.dev.ports import LOOPBACK
from vitne.dev.stack import APACHE, DATABASES, SERVICES, Stack
from vitne.dev.story import tell
from vitne.errors import PermissionDenied
from vitne.inspection.published_log import witness_marks
from vitne.merkle.policy import Policy
from vitne.runtime.tls import TlsFiles, TlsMaterial, channel_credentials
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
#: Credentials of the batch during which certificates are replaced, and how many times they are.
ITEMS, REPLACED = 300, 3


@pytest.fixture(scope="module")
async def protected(stack_folder: Path, on_apache: bool) -> AsyncIterator[Stack]:
    kafka = APACHE if on_apache else ""
    async with Stack(stack_folder / "protected", kafka=kafka, tls=True, witnesses=1) as running:
        yield running


@pytest.fixture(scope="module")
async def travelled(protected: Stack) -> AsyncIterator[Demo]:
    """A protected stack in which the demonstration's whole job has run."""
    async with Actors(protected) as actors, AsyncExitStack() as exits:
        demo = Demo(protected, actors, Narrator(quiet=True), exits)
        await tell(demo)
        yield demo


async def test_the_whole_road_is_the_same_over_tls(travelled: Demo) -> None:
    assert travelled.narrator.held >= 20


async def test_nothing_answers_in_plain_text(protected: Stack, travelled: Demo) -> None:
    for service in SERVICES:
        async with grpc.aio.insecure_channel(protected.grpc_address(service)) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    for part in (*SERVICES, *protected.witnesses, "identity"):
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(protected.http_url(part).replace("https:", "http:", 1))
    dsn = protected.dsn(DATABASES["ledger"][0])
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncpg.connect(dsn.replace("sslmode=verify-full", "sslmode=disable"))


async def test_a_witness_is_asked_and_answers_over_tls(protected: Stack) -> None:
    assert protected.protection is not None
    (name,) = protected.witnesses
    policy = Policy.parse(protected.log_policy.read_text("utf-8"))
    context = ssl.create_default_context(cafile=protected.protection.authority.certificate_path)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(f"{protected.http_url(name)}/") as answer:
            assert f"witness {policy.witnesses[name].text}\n" in await answer.text()

        async def cosigned() -> bool:
            async with session.get(f"{protected.http_url('ledger')}/checkpoint") as answer:
                note = await answer.text()
            try:
                return set(policy.open(note).cosigned) == {name}
            except PermissionDenied:  # it grew, and the witness has not seen that yet
                return False

        async with asyncio.timeout(120):
            while not await cosigned():
                await asyncio.sleep(0.1)
        # Who fetches by the addresses that the policy names finds the same, and nothing in plain text.
        assert policy.urls[policy.witnesses[name].name].startswith("https://")
        marks, silent = await witness_marks(session, policy)
        assert (len(marks), silent) == (1, {})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{protected.http_url(name)}/")


async def test_who_is_not_of_the_authority_is_neither_let_in_nor_believed(
    protected: Stack, travelled: Demo, tmp_path: Path
) -> None:
    """A client without a certificate, and a server of whose authority the client knows nothing."""
    assert protected.protection is not None
    authority = protected.protection.authority
    nobody = TlsMaterial.read(TlsFiles(authority=authority.certificate_path))
    async with grpc.aio.secure_channel(protected.grpc_address("ledger"), channel_credentials(nobody)) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(protected.portal_url)
    dsn = protected.dsn(DATABASES["ledger"][0])
    other = CertificateAuthority(tmp_path, SystemClock()).certificate_path
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncpg.connect(dsn.replace(str(authority.certificate_path), str(other)))


async def test_certificates_of_issuer_and_ledger_are_replaced_during_a_batch_and_no_call_fails(
    protected: Stack, travelled: Demo
) -> None:
    assert protected.protection is not None
    case = travelled.cases.achievements["minikvalifikasjon"]
    provider = travelled.actors.organisation(case.message.provider)
    ended = asyncio.Event()

    async def issue_and_check() -> int:
        """Single calls beside the batch: each leads through issuer and ledger, over connections new and old."""
        made = 0
        while not ended.is_set():
            await provider.issue(
                issuer_pb2.IssueRequest(
                    request_id=new_id(), issuance=travelled.issuance(travelled.others[ITEMS + made], case)
                )
            )
            await provider.ledger.GetCheckpoint(ledger_pb2.GetCheckpointRequest())
            made += 1
        return made

    beside = asyncio.create_task(issue_and_check())
    issued = 0
    for part in range(REPLACED):
        rows = travelled.others[part * ITEMS // REPLACED : (part + 1) * ITEMS // REPLACED]
        items = [
            issuer_pb2.BatchItem(item_id=f"{part}-{row}", issuance=travelled.issuance(learner, case))
            for row, learner in enumerate(rows)
        ]
        answers = 0
        async for result in provider.issue_batch(new_id(), items):
            if not answers:  # under way: some are answered, the others are not
                for name in ("issuer", "ledger"):
                    protected.protection.renew(name)
            assert result.WhichOneof("outcome") == "credential", result
            answers += 1
        issued += answers
        for name in ("issuer", "ledger"):
            assert await _shown(protected, name) in protected.protection.path(name).read_bytes()
    ended.set()
    assert issued == ITEMS
    assert await beside > 0


async def test_an_institutions_program_is_told_by_its_environment_what_to_trust_and_to_show(
    protected: Stack, travelled: Demo, tmp_path: Path
) -> None:
    """The example in docs/, with the file that ``make up`` prints."""
    environment = protected.write_environment(await protected.registry_key())
    example = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        f"source {environment}; exec {sys.executable} docs/examples/issue.py",
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CREDENTIAL_FILE": str(tmp_path / "credential")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await example.communicate()
    assert example.returncode == 0, output.decode()
    assert "issued" in output.decode()


async def _shown(stack: Stack, service: str) -> bytes:
    """The certificate (PEM) that a service's gRPC shows to who connects now."""
    assert stack.protection is not None
    own = stack.protection.path("organisations")
    host, _, port = stack.grpc_address(service).rpartition(":")
    assert host == LOOPBACK
    context = stack.protection.authority.context(own)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(der).encode()
