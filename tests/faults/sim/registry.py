"""The registry as the others know it: facts, and a heartbeat that may fall silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.registry.events import SOURCE, events_of
from vitne.accreditation import timestamp
from vitne.messaging import topics
from vitne.messaging.event_types import REGISTRY_HEARTBEAT
from vitne.messaging.headers import build
from vitne_api.events.v1 import events_pb2

if TYPE_CHECKING:
    from tests.faults.sim.world import World


class Registry:
    """The registry at the boundary: it tells facts, and that it is alive.

    Attributes:
        silent_until: by the callers' clock; no heartbeat before.
        revisions: the last one that was told, by topic and key.
        leaves: that it submitted to the log.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.silent_until = 0.0
        self.revisions: dict[tuple[str, str], int] = {}
        self.leaves: list[bytes] = []

    def tell_facts(self) -> None:
        """Everything that there is to know of providers."""
        for fact in self._world.grounds.chronicle.facts:
            for event in events_of(fact, new_id=self._world.new_id):
                self.tell(event.topic, event.key, event.type, event.value)
                if event.topic == topics.REGISTRY_LEAVES:
                    self.leaves.append(events_pb2.LeafSubmitted.FromString(event.value).leaf)

    async def beat(self) -> None:
        clock = self._world.outside.clock
        while True:
            if clock.monotonic() >= self.silent_until:
                beat = events_pb2.RegistryHeartbeat(
                    registry_revision=len(self._world.grounds.chronicle.facts), at=timestamp(clock.now())
                )
                self.tell(topics.REGISTRY_HEARTBEAT, topics.HEARTBEAT_KEY, REGISTRY_HEARTBEAT, beat.SerializeToString())
            await asyncio.sleep(4.0)

    def tell(self, topic: str, key: str, type_: str, value: bytes) -> None:
        revision = self.revisions[topic, key] = self.revisions.get((topic, key), 0) + 1
        headers = build(
            event_id=self._world.new_id(),
            source=SOURCE,
            type_=type_,
            time=self._world.outside.clock.now(),
            key=key,
            revision=revision,
            traceparent=None,
        )
        self._world.cluster.append(topic, key.encode(), value, headers)
