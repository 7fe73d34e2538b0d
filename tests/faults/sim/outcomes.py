"""What came of a scenario: everything that databases, topics and published lists hold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import asyncpg

from services.ledger.intake import ALLOWED
from services.ledger.intake import CONSUMER as LEAVES
from services.ledger.keys import LedgerKeys
from services.portal.sealing import PortalKeys
from services.portal.wiring import CONSUMER as PORTAL_CONSUMER
from tests.faults.sim.kafka import TopicPartition
from tests.faults.sim.wiring import BASE_URL, HUB_ID, LIST_SIZE
from tests.integration.issuer_harness import HUB
from vitne.audit.agreement import Disagreement
from vitne.audit.snapshots import (
    Aggregate,
    Messaging,
    RegistrySnapshot,
    TopicSnapshot,
    WorldSnapshot,
)
from vitne.credentials.jose import parse_public_jwk
from vitne.credentials.status_list import verify_token
from vitne.errors import VitneError
from vitne.inspection import snapshots
from vitne.messaging import topics
from vitne.runtime.custody import FileKeyCustody

if TYPE_CHECKING:
    from tests.faults.sim.world import World


class Outcomes:
    """What the world holds, as the checker compares it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def snapshot(self) -> WorldSnapshot:
        """Everything at once."""
        publishers = [
            self._world.wiring.parts[process.name + " lists"]
            for process in self._world.alive("ledger")
            if process.name in self._world.wiring.parts
        ]
        keys = LedgerKeys.ensure(FileKeyCustody(self._world.grounds.state / "ledger"))
        public = parse_public_jwk(keys.status_list.public_jwk)

        def published(url: str) -> tuple[dict[int, str], bytes] | None:
            shown = [publisher.find(url.removeprefix(BASE_URL)) for publisher in publishers]
            oldest = min((each for each in shown if each is not None), key=lambda each: each.version, default=None)
            if oldest is None:
                return None
            try:
                opened = verify_token(
                    oldest.token.decode(),
                    uri=url,
                    find_key=lambda key_id: public if key_id == public.key_id else None,
                    now=self._world.outside.clock.now(),
                )
            except VitneError:  # relying parties can't use it, by a clock that is right
                return None
            places = {index: snapshots.STATUS_TYPES[opened.status_at(index)] for index in range(LIST_SIZE)}
            return {index: status for index, status in places.items() if status != "valid"}, oldest.digest

        portal_keys = PortalKeys.load(self._world.grounds.state / "portal", create=False)

        def unseal(handle: str, pseudonym: str, wrapped: bytes, content: bytes) -> str:
            return portal_keys.data_key(wrapped, pseudonym).open(content, "credential", handle, "content").decode()

        async def issuer(raw: asyncpg.Connection) -> Any:
            return await snapshots.read_issuer(raw)

        async def ledger(raw: asyncpg.Connection) -> Any:
            return await snapshots.read_ledger(raw, published)

        async def portal(raw: asyncpg.Connection) -> Any:
            return await snapshots.read_portal(raw, HUB, unseal)

        aggregates = [
            Aggregate(f"{topic}/{key}", topic, key, last)
            for (topic, key), last in self._world.registry.revisions.items()
        ]
        return WorldSnapshot(
            issuer=await self._world.databases["issuer"].run(issuer),
            ledger=await self._world.databases["ledger"].run(ledger),
            topics=self._topics(),
            portals=[await self._world.databases["portal"].run(portal)],
            registry=RegistrySnapshot(self._world.registry.leaves, Messaging("registry", 0, aggregates, [], [])),
            issued=self._world.calls.issued,
            changed=self._world.callers.changed,
        )

    async def effects(self) -> list[Disagreement]:
        """Every event of a topic took effect once in each consumer, and no event more often."""
        found = []
        for consumer, database, names in (
            ("issuer", "issuer", (topics.LEDGER_STATUS,)),
            (LEAVES, "ledger", tuple(ALLOWED)),
            (PORTAL_CONSUMER, "portal", (topics.hub_topic(HUB_ID),)),
        ):
            rows = await self._world.databases[database].run(lambda raw: raw.fetch("SELECT * FROM simulated_effect"))
            happened = Counter((row["topic"], row["key"], row["revision"]) for row in rows)
            told = {(name, each.key, each.revision) for name in names for each in self._topics()[name].records}
            for topic, key, revision in sorted(told | happened.keys()):
                count = happened[topic, key, revision]
                if count != 1:
                    kind = "effect.twice" if count else "effect.missing"
                    detail = f"it took effect {count} times in {consumer}"
                    found.append(Disagreement(kind, f"{topic} {key} revision {revision}", detail))
        return found

    def _topics(self) -> dict[str, TopicSnapshot]:
        found = {}
        for name, count in self._world.cluster.partitions.items():
            logs = [self._world.cluster.logs[TopicPartition(name, number)] for number in range(count)]
            ends = {number: len(log) for number, log in enumerate(logs)}
            found[name] = snapshots.make_topic(name, [record for log in logs for record in log], ends)
        return found
