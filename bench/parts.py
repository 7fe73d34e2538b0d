"""A database and a broker alone, for what one part of a service does by itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.session import Session
from bench.world import service_process
from vitne.dev.broker import EmbeddedBroker
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.dev.postgres import EmbeddedPostgres
from vitne.dev.processes import ManagedProcess


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs.

    Attributes:
        session: the run.
        postgres: the same cluster as the stack's, which does not run at the same time.
        broker: an empty one.
    """

    session: Session
    postgres: EmbeddedPostgres
    broker: EmbeddedBroker

    @classmethod
    @asynccontextmanager
    async def running(cls, session: Session) -> AsyncIterator[Parts]:
        """Start both; stops them in the end."""
        async with AsyncExitStack() as exits:
            session.say("starting PostgreSQL and a broker")
            postgres = await exits.enter_async_context(EmbeddedPostgres(session.home / "postgres"))
            broker = await exits.enter_async_context(EmbeddedBroker(session.home / "broker"))
            yield cls(session, postgres, broker)

    @property
    def state(self) -> Path:
        """Folder for services' keys."""
        return self.session.home / "state" / "parts"

    async def empty_database(self, name: str) -> str:
        """A database with nothing in it; its DSN."""
        await self.postgres.drop_database(name)
        return await self.postgres.create_database(name)

    @asynccontextmanager
    async def service(self, name: str, ready_seconds: float, **settings: str) -> AsyncIterator[Started]:
        """A service alone: started, awaited until it says that it is ready, stopped in the end.

        Args:
            name: of the service.
            ready_seconds: what it gets for that.
            settings: names and values of its own, beside addresses, folder and broker.
        """
        grpc, http = free_ports(2)
        environment = {
            "VITNE_ENVIRONMENT": "development",
            "VITNE_STATE_DIR": str(self.state / name),
            "VITNE_KAFKA_BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "VITNE_KAFKA_IDEMPOTENCE": "false",
            "VITNE_KAFKA_GROUPS": "false",
            "VITNE_GRPC_LISTEN": f"{LOOPBACK}:{grpc}",
            "VITNE_HTTP_LISTEN": f"{LOOPBACK}:{http}",
            **{f"VITNE_{setting.upper()}": value for setting, value in settings.items()},
        }
        process = service_process(name, environment, self.session.home / "logs" / f"{name}-alone.log")
        process.log_path.parent.mkdir(parents=True, exist_ok=True)

        async def ready() -> bool:
            try:
                async with aiohttp.ClientSession() as client, client.get(f"http://{LOOPBACK}:{http}/readyz") as answer:
                    return answer.status == 200
            except (aiohttp.ClientError, OSError):
                return False

        before = time.perf_counter()
        process.start()
        try:
            await process.wait_ready(ready, ready_seconds)
            yield Started(process, time.perf_counter() - before, f"{LOOPBACK}:{grpc}")
        finally:
            await process.stop()


@dataclass(frozen=True, slots=True)
class Started:
    """A service that is ready, how many seconds after its process was started, and where its gRPC is."""

    process: ManagedProcess
    seconds: float
    grpc_address: str
