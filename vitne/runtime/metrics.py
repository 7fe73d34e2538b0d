"""What every service measures at its edges (docs/operating/metrics.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from vitne.clock import Clock
from vitne.metrics import CALL_SECONDS, Observation, gauge, histogram

RPC_SERVER_DURATION: Final = histogram(
    "rpc.server.call.duration",
    "s",
    "from a call's arrival to its last answer",
    "rpc.system",
    "rpc.method",
    "rpc.response.status_code",
    buckets=CALL_SECONDS,
)
HTTP_SERVER_DURATION: Final = histogram(
    "http.server.request.duration",
    "s",
    "from a request's arrival to the end of its answer",
    "http.request.method",
    "http.route",
    "http.response.status_code",
    buckets=CALL_SECONDS,
)
SIGN_DURATION: Final = histogram(
    "vitne.sign.duration",
    "s",
    "making one signature: credential, status_list, checkpoint, trust_list",
    "purpose",
    # A file key takes some 50 microseconds, a key in hardware milliseconds.
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
POOL_WAIT: Final = histogram(
    "vitne.database.pool.wait.duration",
    "s",
    "waiting for a connection of the pool",
    "database",
    # A free one takes microseconds; a wait means that all are in use, or that one is being made.
    buckets=(0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
POOL_CONNECTIONS: Final = gauge(
    "vitne.database.pool.connections", "{connection}", "connections to the database: used, idle", "database", "state"
)
PROJECTION_STALENESS: Final = gauge(
    "vitne.projection.staleness",
    "s",
    "for how long the registry may have said something that is not known here; missing until it was first heard of",
)
TLS_REMAINING: Final = gauge(
    "vitne.tls.remaining",
    "s",
    "until a certificate in use ends, or the last of the authorities that are trusted: for grpc, http, channel, kafka",
    "use",
    "part",
)


class Ageing(Protocol):
    """What grows stale unless it is fed: a projection of the registry."""

    def staleness(self, now: datetime) -> timedelta:
        """For how long something may have been said that is not known here; ``timedelta.max`` without any word."""
        ...


class Ending(Protocol):
    """Files of TLS."""

    def ends(self) -> Mapping[str, tuple[Path, datetime]]:
        """Which file ends when, by what is in it."""
        ...


_pools: Final[WeakKeyDictionary[Any, str]] = WeakKeyDictionary()
_projections: Final[WeakKeyDictionary[Ageing, Clock]] = WeakKeyDictionary()
_tls: Final[WeakKeyDictionary[Ending, tuple[str, Clock]]] = WeakKeyDictionary()


def watch_tls(files: Ending, use: str, clock: Clock) -> None:
    """Tell for how long files of TLS can be used yet, for as long as they are watched."""
    _tls[files] = use, clock


def watch_pool(pool: Any, database: str) -> None:
    """Tell how many connections a pool (of asyncpg) has, for as long as it exists."""
    _pools[pool] = database


def watch_projection(projection: Ageing, clock: Clock) -> None:
    """Tell how stale a projection is, for as long as it exists."""
    _projections[projection] = clock


def _connections() -> Iterator[Observation]:
    for pool, database in list(_pools.items()):
        idle = pool.get_idle_size()
        yield idle, (database, "idle")
        yield pool.get_size() - idle, (database, "used")


def _staleness() -> Iterator[Observation]:
    for projection, clock in list(_projections.items()):
        stale = projection.staleness(clock.now())
        if stale < timedelta.max:
            yield stale.total_seconds(), ()


def _remaining() -> Iterator[Observation]:
    for files, (use, clock) in list(_tls.items()):
        for part, (_path, at) in files.ends().items():
            yield (at - clock.now()).total_seconds(), (use, part)


POOL_CONNECTIONS.observe(_connections)
PROJECTION_STALENESS.observe(_staleness)
TLS_REMAINING.observe(_remaining)
