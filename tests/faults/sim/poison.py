"""Messages that no release can read yet: their consumer parks them, and operators have them tried again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.faults.sim.database import SimulatedPool
from tests.faults.sim.scheduler import Fault
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound
from vitne.messaging import desk, parked
from vitne.messaging.headers import Message
from vitne.outages import DATABASE_OUTAGES

if TYPE_CHECKING:
    from tests.faults.sim.world import World


class Poison:
    """Spoils a key for a consumer for as long as there are faults; the desk is at work from the first one on.

    So messages are replayed too early as well, and fail once more.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._next: dict[str, Fault] = {}
        self._spoiled: set[tuple[str, str, str]] = set()
        self._at_work = False

    def put(self, fault: Fault) -> None:
        """Spoil the key of the next message that a consumer handles."""
        self._next[fault.target] = fault
        if not self._at_work:
            self._at_work = True
            self._world.outside.spawn(self._desk(), "desk")

    def taste(self, consumer: str, message: Message) -> None:
        """What a consumer does first with a message.

        Raises:
            InvalidArgument: ``POISONED``.
        """
        scheduler = self._world.scheduler
        if not scheduler.faulty:
            return
        place = (consumer, message.topic, message.key)
        fault = self._next.pop(consumer, None)
        if fault is not None:
            self._spoiled.add(place)
            scheduler.tally.faults[fault.name] += 1
            scheduler.note(f"!! {fault}: {message.topic} {message.key} {message.revision}")
        if place in self._spoiled:
            raise InvalidArgument("POISONED", "this release can't read it")

    async def _desk(self) -> None:
        pools = {
            consumer: SimulatedPool(self._world.databases[database], self._world.outside)
            for consumer, database in self._world.wiring.consumers.items()
        }
        while not self._world.stopped:
            await asyncio.sleep(self._world.scheduler.random.uniform(1.0, 4.0))
            for consumer, pool in pools.items():
                with contextlib.suppress(*DATABASE_OUTAGES):
                    await self._replay(consumer, pool)

    async def _replay(self, consumer: str, pool: SimulatedPool) -> None:
        async with pool.acquire() as conn:
            for each in await parked.list_parked(conn, consumer, state=parked.FAILED):
                place = desk.Place(consumer, each.topic, each.partition, each.offset)
                by = desk.Mandate(self._world.new_id(), "operator", "a release that reads it", each.parked_at)
                with contextlib.suppress(NotFound, FailedPrecondition):  # it was tried again meanwhile
                    await desk.replay(conn, place, by)
