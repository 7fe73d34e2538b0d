"""What happens at an instant: processes die, databases and the broker go away, clocks jump; and how it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.faults.sim.scheduler import Fault

if TYPE_CHECKING:
    from tests.faults.sim.world import World


class Strikes:
    """Faults that happen at an instant, whatever is under way."""

    def __init__(self, world: World) -> None:
        self._world = world

    def strike(self, fault: Fault) -> None:
        """Have a timed fault happen when it is time."""

        async def happen() -> None:
            await asyncio.sleep(fault.nth / 1000)
            if not self._world.stopped and self._world.scheduler.faulty and await self._happen(fault):
                self._world.scheduler.tally.faults[fault.name] += 1
                self._world.scheduler.note(f"!! {fault}")

        asyncio.Task(happen(), loop=self._world.grounds.loop)

    async def _happen(self, fault: Fault) -> bool:
        loop, target, seconds = self._world.grounds.loop, fault.target, fault.value
        if fault.kind == "kill":
            if self._world.processes[target].dead:
                return False
            self._world.kill(self._world.processes[target], seconds)
        elif fault.kind == "clock":
            self._world.processes[target].clock.offset += seconds
        elif fault.kind == "database away":
            database = self._world.databases[target]
            database.away = True
            await database.lose_sessions()
            loop.call_later(seconds, setattr, database, "away", False)
        elif fault.kind == "sessions end":
            return await self._world.databases[target].lose_sessions() > 0
        elif fault.kind == "locks lost":
            holders = [session for session in self._world.databases[target].sessions if session.locks]
            for session in holders:
                await session.unlock()
            return bool(holders)
        elif fault.kind == "broker away":
            self._world.cluster.away = True
            loop.call_later(seconds, setattr, self._world.cluster, "away", False)
        elif fault.kind == "rebalance":
            if target not in self._world.cluster.groups():
                return False
            self._world.cluster.rebalance(target)
        elif fault.kind == "registry silent":
            self._world.registry.silent_until = self._world.outside.clock.monotonic() + 20.0
        elif fault.kind == "poison":
            self._world.poison.put(fault)
            return False  # it counts when somebody handles it
        return True

    def heal(self) -> None:
        """No faults from now on; whatever is away comes back, and clocks are set right."""
        self._world.scheduler.faulty = False
        self._world.registry.silent_until = 0.0
        for database in self._world.databases.values():
            database.away = False
        self._world.cluster.away = False
        for process in self._world.processes.values():
            process.clock.offset = 0.0
