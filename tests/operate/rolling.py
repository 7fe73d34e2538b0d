"""Services with replicas that are rolled over one by one, behind a gateway, as ``deploy/k8s`` does it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vitne.dev.ports import LOOPBACK, free_ports
from vitne.dev.processes import ManagedProcess
from vitne.dev.protection import provide_key_files
from vitne.dev.stack import READY_SECONDS, SERVICES, Stack
from vitne.errors import Unavailable

#: Replicas, where two at a time matter: both take from one stock of indexes, one log and one outbox.
REPLICAS = {"issuer": 2, "ledger": 2}
#: Seconds between a replica's leaving the gateway and SIGTERM, at most: what preStop waits. Here it ends as soon as no
#: HTTP connection to the replica is left, since this gateway can't move one that is open, as one of HTTP's does.
PRE_STOP = 10.0
#: How often a replica is started.
ATTEMPTS = 5
#: What running calls of a replica get after SIGTERM: as for the issuer in deploy/k8s.
CALLS_GRACE = 60
#: What a replica gets to finish what it took.
GRACE = 130.0


class Gateway:
    """Gives each new connection to one of its backends in turn; those that are open stay where they are."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._backends: list[int] = []
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        #: Connections that are open, by the backend's port.
        self.open: Counter[int] = Counter()

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Near(self), LOOPBACK, self._port)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def add(self, port: int) -> None:
        self._backends.append(port)

    def remove(self, port: int) -> None:
        self._backends.remove(port)

    def next_backend(self) -> int:
        return self._backends[next(self._turn) % len(self._backends)]


class _Side(asyncio.Protocol):
    """One end of a connection: whatever arrives goes to the other end at once, also what came just before a reset."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
        else:
            self._early.append(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def join(self, other: _Side) -> None:
        self.other = other
        for data in self._early:
            self.data_received(data)


class _Near(_Side):
    """The caller's end: finds itself a backend."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway
        self._port = 0
        self._joining: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._port = self._gateway.next_backend()
        self._gateway.open[self._port] += 1
        self._joining = asyncio.create_task(self._join())

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._gateway.open[self._port] -= 1

    async def _join(self) -> None:
        assert self.transport is not None
        try:
            _, far = await asyncio.get_running_loop().create_connection(_Side, LOOPBACK, self._port)
        except OSError:
            self.transport.abort()
            return
        far.join(self)
        self.join(far)
        if self.transport.is_closing() and far.transport is not None:
            far.transport.close()


@dataclass
class Replica:
    """A process of a service."""

    process: ManagedProcess
    grpc: int
    http: int


class RollingStack(Stack):
    """The embedded stack with a gateway at each service's addresses, and replicas behind it."""

    _names = itertools.count(1)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        #: Settings beside the stack's, by service, which only this release is given.
        self.settings: dict[str, dict[str, str]] = {}

    async def start_service(self, service: str) -> None:
        """Start as many replicas as the service has."""
        provide_key_files(service, self.state_of(service))
        for kind in ("grpc", "http"):
            gateway = self.gateways[service, kind] = Gateway(self._ports[f"{service}.{kind}"])
            await gateway.start()
        self.replicas[service] = list(
            await asyncio.gather(*(self._start_replica(service) for _ in range(REPLICAS.get(service, 1))))
        )

    def environment(self, service: str) -> dict[str, str]:
        """As the embedded stack's; this release's services with settings of their own."""
        return super().environment(service) | (self.settings.get(service, {}) if self.release is None else {})

    async def start(self) -> None:
        self.gateways: dict[tuple[str, str], Gateway] = {}
        self.replicas: dict[str, list[Replica]] = {}
        await super().start()

    async def stop(self) -> None:
        await asyncio.gather(*(each.process.stop() for some in self.replicas.values() for each in some))
        for gateway in self.gateways.values():
            gateway.stop()
        await super().stop()

    async def migrate(self) -> None:
        """The migration Jobs of whichever release is in place."""
        await self._migrate()

    async def roll(self) -> None:
        """Replace every replica by one of the release that is in place: the new one serves before the old one goes."""
        for service in SERVICES:
            for old in list(self.replicas[service]):
                self.replicas[service].append(await self._start_replica(service))
                for kind, port in (("grpc", old.grpc), ("http", old.http)):
                    self.gateways[service, kind].remove(port)
                with suppress(TimeoutError):
                    async with asyncio.timeout(PRE_STOP):
                        while self.gateways[service, "http"].open[old.http]:
                            await asyncio.sleep(0.02)
                code = await old.process.stop(GRACE)
                assert code == 0, f"{service} ended with {code}\n{old.process.log_tail()}"
                self.replicas[service].remove(old)

    async def _start_replica(self, service: str) -> Replica:
        for attempt in range(1, ATTEMPTS + 1):
            replica = self._replica(service)
            replica.process.start()
            ready = f"http://{LOOPBACK}:{replica.http}/readyz"
            try:
                await replica.process.wait_ready(functools.partial(self._ready, ready), READY_SECONDS)
                break
            except Unavailable as error:  # A port may be taken between finding and using it.
                await replica.process.stop()
                if attempt == ATTEMPTS or "Address already in use" not in error.message:
                    raise
        self.gateways[service, "grpc"].add(replica.grpc)
        self.gateways[service, "http"].add(replica.http)
        return replica

    def incidents(self) -> list[str]:
        """What replicas say of faults that nobody foresaw: behind an answer INTERNAL, this is what it was."""
        return [
            f"{log.stem}: {line}"
            for log in sorted(self.log_folder.glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()
            if '"incident"' in line
        ]

    def _replica(self, service: str) -> Replica:
        grpc, http, metrics = free_ports(3)
        environment = self.environment(service)
        ports = {"GRPC": grpc, "HTTP": http, "METRICS": metrics}
        environment |= {f"VITNE_{kind}_LISTEN": f"{LOOPBACK}:{port}" for kind, port in ports.items()}
        environment["VITNE_SHUTDOWN_GRACE_SECONDS"] = str(CALLS_GRACE)
        name, module = f"{service}-{next(self._names)}", f"services.{service}"
        argv = [sys.executable, "-m", module, "serve"]
        log = self.log_folder / f"{name}.log"
        folder, nursery = self.sources(module), self.nursery_of(module)
        return Replica(ManagedProcess(name, argv, environment, log, cwd=folder, nursery=nursery), grpc, http)
