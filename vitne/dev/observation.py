"""What a running stack holds, as :mod:`vitne.audit` compares it: databases, topics, published lists."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import asyncpg

from vitne.audit.snapshots import IssuedAnswer, Messaging, RegistrySnapshot, StatusAnswer, TopicSnapshot, WorldSnapshot
from vitne.canonical import sha256
from vitne.credentials.jose import parse_public_jwk
from vitne.credentials.status_list import StatusList, verify_token
from vitne.dev.snapshots import STATUS_TYPES, make_topic, read_issuer, read_ledger, read_messaging, read_portal
from vitne.dev.stack import DATABASES, STATUS_BASE, Stack
from vitne.messaging import topics
from vitne_api.events.v1 import events_pb2

#: It never rests, and nothing is built on its records: it is not compared.
_RESTLESS: Final = topics.REGISTRY_HEARTBEAT
_LIST_SECONDS: Final = 10.0


async def observe(
    stack: Stack, issued: Sequence[IssuedAnswer] = (), changed: Sequence[StatusAnswer] = ()
) -> WorldSnapshot:
    """Everything that the stack holds, and what its callers were answered.

    The parts are read one after the other, so a comparison means something only once nothing is under way.

    Raises:
        Exception: one of :data:`~vitne.outages.DATABASE_OUTAGES`, ``aiohttp.ClientError`` or
            ``aiokafka.errors.KafkaError``: a part is out of reach.
    """
    portal = await asyncpg.connect(stack.postgres.dsn(DATABASES["portal"][0]))
    issuer = await asyncpg.connect(stack.postgres.dsn(DATABASES["issuer"][0]))
    ledger = await asyncpg.connect(stack.postgres.dsn(DATABASES["ledger"][0]))
    registry = await asyncpg.connect(stack.postgres.dsn(DATABASES["registry"][0]))
    try:
        lists = await _published(stack, [row["url"] for row in await ledger.fetch("SELECT url FROM status_list")])
        portals = [await read_portal(portal, stack.cases.hub)]
        issuer_snapshot = await read_issuer(issuer)
        ledger_snapshot = await read_ledger(ledger, lists.get)
        registry_messaging = await read_messaging(registry, "registry")
        # A heartbeat every two seconds: one that waits says nothing.
        waiting = await registry.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL AND topic <> $1", _RESTLESS
        )
    finally:
        for connection in (portal, issuer, ledger, registry):
            connection.terminate()
    names = [topic.name for topic in topics.fixed_topics() if topic.name != _RESTLESS]
    names.append(stack.hub_topic())
    names += [topics.dead_topic(name) for name in names]
    read = {name: await _topic(stack, name) for name in names}
    return WorldSnapshot(
        issuer=issuer_snapshot,
        ledger=ledger_snapshot,
        topics=read,
        portals=portals,
        registry=RegistrySnapshot(
            _leaves(read[topics.REGISTRY_LEAVES]),
            replace(_without_heartbeat(registry_messaging), unpublished=waiting),
        ),
        issued=issued,
        changed=changed,
    )


def _without_heartbeat(messaging: Messaging) -> Messaging:
    return replace(messaging, aggregates=[each for each in messaging.aggregates if each.topic != _RESTLESS])


def _leaves(topic: TopicSnapshot) -> list[bytes]:
    """What the registry submitted to the log; a repeated event is one submission."""
    submitted = {
        (record.key, record.revision): events_pb2.LeafSubmitted.FromString(record.value).leaf
        for record in topic.records
    }
    return list(submitted.values())


async def _topic(stack: Stack, name: str) -> TopicSnapshot:
    records, ends = await stack.read_records(name)
    return make_topic(name, records, ends)


async def _published(stack: Stack, urls: Iterable[str]) -> Mapping[str, tuple[Mapping[int, str], bytes]]:
    """Each list as anybody can fetch it, its signature checked; one that can't be fetched is left out."""
    keys = {key.key_id: key for key in (parse_public_jwk(each.public_jwk) for each in await stack.service_keys())}
    found: dict[str, tuple[Mapping[int, str], bytes]] = {}
    async with stack.session(_LIST_SECONDS) as session:
        for url in urls:
            async with session.get(url.replace(STATUS_BASE, f"{stack.http_url('ledger')}/", 1)) as response:
                token = await response.read()
                if response.status != 200:
                    continue
            statuses = verify_token(token.decode(), uri=url, find_key=keys.get, now=datetime.now(UTC))
            found[url] = await asyncio.to_thread(_set_places, statuses), sha256(token)
    return found


def _set_places(statuses: StatusList) -> dict[int, str]:
    """The places that are not valid, by index. Most bytes of a list are zero."""
    places = 8 // statuses.bits
    return {
        index: STATUS_TYPES.get(status, f"unknown {status}")
        for number, byte in enumerate(statuses.packed)
        if byte
        for index in range(number * places, (number + 1) * places)
        if (status := statuses.status_at(index))
    }
