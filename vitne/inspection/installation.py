"""What a running installation holds, as :mod:`vitne.audit` compares it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import aiohttp
import asyncpg
from aiokafka.errors import KafkaError

from vitne.audit.agreement import Disagreement, compare
from vitne.audit.snapshots import IssuedAnswer, Messaging, RegistrySnapshot, StatusAnswer, TopicSnapshot, WorldSnapshot
from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.identifiers import OrganisationId
from vitne.inspection.lists import fetch_lists, status_list_keys
from vitne.inspection.snapshots import make_topic, read_issuer, read_ledger, read_messaging, read_portal
from vitne.messaging import topics
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.reading import read_topic
from vitne.outages import DATABASE_OUTAGES
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2

#: It never rests, and nothing is built on its records: it is not compared.
_RESTLESS: Final = topics.REGISTRY_HEARTBEAT
#: What looking meets while a part is out of reach.
OUTAGES: Final = (*DATABASE_OUTAGES, aiohttp.ClientError, KafkaError, VitneError)
#: Seconds between two looks.
LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Installation:
    """Where an installation's parts are; reading them is all that is asked for.

    Attributes:
        issuer: DSN of the issuer's database (never that of learners' keys).
        ledger: of the ledger's.
        registry: of the registry's.
        portals: of portals' databases, by the hub's organisation id.
        kafka: the cluster.
        lists_served_at: where addresses of status lists that begin so are really fetched.
        lists_trust: whom to trust there; None: the system's authorities.
        hubs: hubs whose topics are read, beside those of ``portals``.
    """

    issuer: str = field(repr=False)
    ledger: str = field(repr=False)
    registry: str = field(repr=False)
    portals: Mapping[str, str] = field(repr=False)
    kafka: KafkaSettings
    lists_served_at: Mapping[str, str] = field(default_factory=dict)
    lists_trust: ssl.SSLContext | None = None
    hubs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What a comparison came to.

    Attributes:
        world: what was compared last; None when a part was out of reach.
        disagreements: what does not agree; empty when all is well.
        seconds: how long it was looked.
    """

    world: WorldSnapshot | None
    disagreements: Sequence[Disagreement]
    seconds: float


async def observe(
    installation: Installation,
    issued: Sequence[IssuedAnswer] = (),
    changed: Sequence[StatusAnswer] = (),
    *,
    progress: Callable[[str], None] = lambda _text: None,
) -> WorldSnapshot:
    """Everything that an installation holds, and what its callers were answered.

    The parts are read one after the other, so a comparison means something only once nothing is under way.

    Args:
        installation: where its parts are.
        issued: what callers were answered of issuances.
        changed: what they were answered of changes of status.
        progress: is told of each part that was read.

    Raises:
        Exception: one of :data:`OUTAGES`: a part is out of reach.
    """
    names = [topic.name for topic in topics.fixed_topics() if topic.name != _RESTLESS]
    hubs = sorted({*installation.portals, *installation.hubs})
    names += [topics.hub_topic(OrganisationId.parse(hub)) for hub in hubs]
    names += [topics.dead_topic(name) for name in names]
    facts, _ends = await read_topic(installation.kafka, topics.REGISTRY_FACTS)
    keys = status_list_keys(record.value or b"" for record in facts)
    async with _connected(installation.ledger) as ledger:
        urls = [row["url"] for row in await ledger.fetch("SELECT url FROM status_list")]
        lists = await fetch_lists(urls, keys.get, installation.lists_served_at, installation.lists_trust)
        progress(f"status lists: {len(lists)} of {len(urls)} fetched")
        portals = []
        for hub, dsn in installation.portals.items():
            async with _connected(dsn) as portal:
                portals.append(await read_portal(portal, hub))
                progress(f"portal {hub}: {len(portals[-1].gathered)} credentials")
        async with _connected(installation.issuer) as issuer:
            issuer_snapshot = await read_issuer(issuer)
            progress(f"issuer: {len(issuer_snapshot.credentials)} credentials")
        ledger_snapshot = await read_ledger(ledger, lists.get)
        progress(f"ledger: {len(ledger_snapshot.log.leaves)} leaves")
    async with _connected(installation.registry) as registry:
        async with registry.transaction(readonly=True):
            registry_messaging = await read_messaging(registry, "registry")
        table = await registry.fetch("SELECT body FROM fact WHERE kind IN ('accreditation', 'key')")
        # A heartbeat every two seconds: one that waits says nothing.
        waiting = await registry.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL AND topic <> $1", _RESTLESS
        )
    progress(f"registry: {len(table)} accreditations and keys")
    read = {}
    for name in names:
        read[name] = make_topic(name, *await read_topic(installation.kafka, name))
        progress(f"topic {name}: {len(read[name].records)} events")
    return WorldSnapshot(
        issuer=issuer_snapshot,
        ledger=ledger_snapshot,
        topics=read,
        portals=portals,
        registry=RegistrySnapshot(
            _leaves(read[topics.REGISTRY_LEAVES]),
            replace(_without_heartbeat(registry_messaging), unpublished=waiting),
            {
                "table": [facts_pb2.Fact.FromString(row["body"]) for row in table],
                "topic": _facts(read[topics.REGISTRY_FACTS]),
            },
        ),
        issued=issued,
        changed=changed,
    )


async def settle(
    look: Callable[[], Awaitable[WorldSnapshot]],
    seconds: float,
    clock: Clock,
    progress: Callable[[str], None] = lambda _text: None,
) -> Findings:
    """Look until everything agrees, or the time is over: in a system that runs, things are under way.

    Args:
        look: reads the installation.
        seconds: how long to go on, at least one look.
        clock: of the pauses.
        progress: is told of each look that did not agree.
    """
    started = clock.monotonic()
    while True:
        world: WorldSnapshot | None = None
        try:
            world = await look()
            disagreements = await asyncio.to_thread(compare, world)
        except OUTAGES as error:
            # The text of a foreign error may hold an address with a password.
            said = str(error) if isinstance(error, VitneError) else type(error).__name__
            disagreements = [Disagreement("out.of_reach", "installation", said)]
        passed = clock.monotonic() - started
        if not disagreements or passed >= seconds:
            return Findings(world, disagreements, passed)
        progress(f"{passed:.0f} s: {len(disagreements)} disagreements, looking again")
        await clock.sleep(LOOK_SECONDS)


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET default_transaction_read_only = on")
        yield connection
    finally:
        connection.terminate()


def _without_heartbeat(messaging: Messaging) -> Messaging:
    return replace(messaging, aggregates=[each for each in messaging.aggregates if each.topic != _RESTLESS])


def _leaves(topic: TopicSnapshot) -> list[bytes]:
    """What the registry submitted to the log; a repeated event is one submission."""
    submitted = {
        (record.key, record.revision): events_pb2.LeafSubmitted.FromString(record.value).leaf
        for record in topic.records
    }
    return list(submitted.values())


def _facts(topic: TopicSnapshot) -> list[facts_pb2.Fact]:
    """What the registry told everybody; a repeated event is one fact."""
    told = {
        (record.key, record.revision): events_pb2.RegistryFactRecorded.FromString(record.value).fact
        for record in topic.records
    }
    return list(told.values())
