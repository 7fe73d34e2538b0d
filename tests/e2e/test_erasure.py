"""A learner is erased on her own word: what stays is what law keeps, restricted, whatever is replayed or rebuilt."""

from __future__ import annotations

import json
from typing import Any, Final

import asyncpg
import grpc
import pytest

from services.issuer.crypto import INDEX_KEY, IndexKey
from vitne.dev.cases import synthetic_learners
from vitne.dev.demo import Demo, new_id, until
from vitne.dev.stack import DATABASES, LEARNERS, Stack
from vitne.identifiers import LearnerId
from vitne.runtime.secret_files import read_secret
from vitne.runtime.status import error_from_rpc
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, rights_pb2, rights_pb2_grpc

#: A synthetic learner who can log in, and whom no other test looks at.
LEARNER: Final = synthetic_learners(LEARNERS)[LEARNERS - 2]
CASE: Final = "minikvalifikasjon"
#: Tables in which her names at the hub stay, and lead nowhere.
NAMES_STAY: Final = {
    "issuer.aggregate_revision",
    "issuer.outbox",
    "issuer.request",
    "issuer.webhook_event",
    "portal.consumer_seen",
}


async def issue(world: Demo, retention: credential_pb2.RetentionClass.ValueType) -> issuer_pb2.IssuedCredential:
    case = world.cases.achievements[CASE]
    issuance = world.issuance(LEARNER, case)
    issuance.retention = retention
    provider = world.actors.organisation(case.message.provider)
    return (await provider.issue(issuer_pb2.IssueRequest(request_id=new_id(), issuance=issuance))).credential


async def holders(stack: Stack, needles: list[str]) -> set[str]:
    """The tables of all databases that have one of these somewhere, also among bytes."""
    found = set()
    for database in (name for names in DATABASES.values() for name in names):
        connection = await asyncpg.connect(stack.dsn(database))
        try:
            for (table,) in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
                for (row,) in await connection.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" t'):
                    if any(needle in row or needle.encode().hex() in row for needle in needles):
                        found.add(f"{database}.{table}")
        finally:
            await connection.close()
    return found


async def test_what_law_keeps_is_all_that_stays(world: Demo, stack: Stack) -> None:
    erasable = await issue(world, credential_pb2.RETENTION_CLASS_ERASABLE)
    kept = await issue(world, credential_pb2.RETENTION_CLASS_ARCHIVE)
    index = IndexKey(read_secret(stack.folder / "state" / "issuer", INDEX_KEY, create=False))
    lookup = index.learner(LearnerId(LEARNER.scheme, LEARNER.value)).hex()
    async with stack.browser() as browser:
        await browser.log_in(LEARNER.value)
        await browser.register()

        async def shown() -> bool:
            entries = await browser.credentials()
            return {erasable.id, kept.id} <= {one["id"] for one in entries if one["state"] == "fetched"}

        await until(shown, "her credentials in the portal", world.narrator)
        entries = await browser.credentials()
        copy = await browser.export()
        held = [part["credential"] for part in copy["issuer"] if "credential" in part]
        artefacts = {one["credential"]["artefact"]: one.get("archive", False) for one in held}
        assert artefacts[erasable.artefact] is False
        assert artefacts[kept.artefact] is True
        pseudonym = copy["portal"]["gathered"]["pseudonym"]
        names = [pseudonym, *(one["handle"] for one in entries)]
        assert {"issuer.registration", "issuer.hub_credential", "portal.subscriber"} <= await holders(stack, names)
        assert "issuer.learner" in await holders(stack, [lookup])
        await browser.erase()

    async def withdrawn() -> bool:
        notices = [events_pb2.HubCredentialNotice.FromString(one.value) for one in await stack.read_topic(topic)]
        gone = {one.handle for one in notices if one.notice == events_pb2.HUB_NOTICE_WITHDRAWN}
        return set(names[1:]) <= gone

    topic = stack.hub_topic()
    await until(withdrawn, "the hub's topic says that all is withdrawn", world.narrator)
    assert await holders(stack, [lookup]) == set()
    assert await holders(stack, names) <= NAMES_STAY
    # The topic again from its beginning.
    json.loads(await stack.command("portal", "rebuild"))
    assert await holders(stack, names) <= NAMES_STAY
    async with stack.browser() as browser:
        await browser.log_in(LEARNER.value)
        assert not await browser.registered()
        assert await browser.credentials() == []

    provider = world.actors.organisation(world.cases.achievements[CASE].message.provider)
    for credential, reason in ((erasable, "CREDENTIAL_ERASED"), (kept, "CREDENTIAL_RESTRICTED")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await provider.issuer.GetCredential(issuer_pb2.GetCredentialRequest(credential_id=credential.id))
        assert error_from_rpc(caught.value).reason == reason
    channel = stack.open_channel("issuer", provider.tokens)
    try:
        rights: Any = rights_pb2_grpc.RightsServiceStub(channel)
        request = rights_pb2.ReadArchivedRequest(
            request_id=new_id(),
            credential_id=kept.id,
            ground=rights_pb2.ARCHIVE_GROUND_LEARNER,
            reference="2026/1742",
        )
        assert (await rights.ReadArchived(request)).credential.artefact == kept.artefact
    finally:
        await channel.close()
