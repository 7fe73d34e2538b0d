"""``python -m bench.scale``: a portal with 100,000 learners who have 20 credentials each.

``make bench-portal-scale`` calls it. Filling takes some minutes and 9 GB, and goes on where it stopped; ``make clean``
takes it away.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

# As the services do: uvloop reads it once, when it is loaded.
os.environ.setdefault("UV_USE_IO_URING", "0")
# Processes are started beside open channels; none of them goes on with these.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import asyncpg
import uvloop

from bench.__main__ import ROOT
from bench.filled import Size, fill, learners, templates
from bench.http import Connections, request
from bench.load import Measured, closed, percentile
from bench.machine import Machine
from bench.resources import cpu_seconds, on_one_core
from bench.results import commit_of
from bench.session import Session
from bench.world import World
from services.portal.sealing import PortalKeys
from services.portal.sessions import Sessions
from services.portal.web.frame import SESSION_COOKIE
from services.portal.wiring import MIGRATIONS
from vitne.dev.__main__ import DEFAULT_HOME
from vitne.dev.demo import new_id
from vitne.dev.stack import DATABASES
from vitne.errors import VitneError
from vitne.runtime.migrations import migrate

DATABASE: Final = "bench_portal_scale"
#: Learners who are logged in: each looks at her page for the first time in a while.
_LOGGED_IN: Final = 10_000
#: Pages that a learner opens in one visit, where they are measured too.
_VISIT: Final = 5
#: Learners who take turns in that.
_PRESENT: Final = 50
#: Who reads at a time.
_READERS: Final = 8
_SECONDS: Final = 10.0
#: Learners who share something, in turns; what an answer of 303 is called.
_SHARING: Final = 200
_SEE_OTHER: Final = 303
_TOKEN: Final = re.compile(r'name="csrf_token" value="([^"]+)"')
_HANDLE: Final = re.compile(r'id="c-([^"]+)"')
_SESSION: Final = timedelta(hours=12)
#: What the portal says of its progress through the topic of an earlier stack means nothing in this one.
_PROGRESS: Final = "TRUNCATE consumer_offset, consumer_seen, consumer_parked, consumer_act, session"


@dataclass(frozen=True, slots=True)
class Filled:
    """A portal that serves the filled database."""

    world: World
    connection: Any
    keys: PortalKeys
    size: Size

    async def wires(self) -> list[bytes]:
        """Requests for the pages of learners who are logged in, in no order."""
        sessions, now = Sessions(self.connection), datetime.now(UTC)
        made = []
        for one in random.sample(list(learners(self.size.learners)), min(self.size.learners, _LOGGED_IN)):
            secret = await sessions.open(self.keys.lookup(one), "id-porten", now, _SESSION)
            made.append(request("GET", f"{self.world.stack.portal_url}/me", {"cookie": f"{SESSION_COOKIE}={secret}"}))
        return made

    async def read(self, name: str, wires: Sequence[bytes], at_a_time: int) -> None:
        """Ask for pages in turns; prints what it came to."""
        connections = Connections(self.world.stack.portal_url)

        async def operation(number: int) -> None:
            status, body = await connections.send(wires[number % len(wires)])
            if status != 200 or body.count(b'class="card row"') < self.size.each:
                raise RuntimeError(f"a page answered {status}, or has not all her credentials")

        portal, postgres = self.world.stack.processes["portal"].pid, self.world.stack.postgres.pid
        before = cpu_seconds([portal]), cpu_seconds([postgres])
        measured = await closed(operation, at_a_time, _SECONDS)
        await connections.close()
        used = [
            (cpu_seconds([pid]) - since) * 1000 / measured.operations
            for pid, since in zip((portal, postgres), before, strict=True)
        ]
        _tell(name, measured, used, self.world.rss_mib("portal"))

    async def share(self, wires: Sequence[bytes]) -> None:
        """Learners each share the first of their credentials: from sending the form until the link is there."""
        url, connections = self.world.stack.portal_url, Connections(self.world.stack.portal_url)
        forms = []
        for wire in wires:
            _status, page = await connections.send(wire)
            token, handle = (pattern.search(page.decode()) for pattern in (_TOKEN, _HANDLE))
            if token is None or handle is None:
                raise RuntimeError("a page has no form, or no credential")
            fields = {"csrf_token": token[1], "share": new_id(), "days": "7", "pick": handle[1]}
            headers = {"cookie": _cookie(wire), "content-type": "application/x-www-form-urlencoded"}
            forms.append(request("POST", f"{url}/me/shares", headers, urlencode(fields).encode()))

        async def operation(number: int) -> None:
            status, _body = await connections.send(forms[number % len(forms)])
            if status != _SEE_OTHER:
                raise RuntimeError(f"sharing was answered with {status}")

        measured = await closed(operation, 1, _SECONDS / 2)
        await connections.close()
        _tell("links made, one at a time", measured, [], self.world.rss_mib("portal"))


def _cookie(wire: bytes) -> str:
    """What a request says of who sent it."""
    return wire.decode().partition("cookie: ")[2].partition("\r\n")[0]


def _tell(name: str, measured: Measured, used: Sequence[float], rss: float) -> None:
    p50, p99 = (percentile(measured.latencies, share) * 1000 for share in (0.5, 0.99))
    cost = f"CPU-ms each: portal {used[0]:.1f}, PostgreSQL {used[1]:.2f}   " if used else ""
    print(
        f"  {name:<34} {measured.rate:7.1f} /s   p50 {p50:6.1f} ms, p99 {p99:6.1f} ms   {cost}portal {rss:.0f} MiB",
        flush=True,
    )


async def run(session: Session, size: Size, seconds: float) -> bool:
    """Fill, then measure; False when the time was over before all was filled in."""
    async with World.running(session) as world:
        dsn = await world.stack.postgres.create_database(DATABASE)
        await migrate(dsn, MIGRATIONS)
        keys = PortalKeys.load(world.stack.state_of("portal"), create=True)
        connection = await asyncpg.connect(dsn)
        try:
            session.say(f"filling: {size.learners:,} learners with {size.each} credentials each")
            choice = templates(list(world.demo.published.values()))
            if not await fill(connection, keys, choice, size, seconds):
                there = await connection.fetchval("SELECT count(*) FROM credential")
                session.say(f"{there:,} of {size.credentials:,} are there: call it again to go on")
                return False
            await connection.execute(_PROGRESS)
            await connection.execute("VACUUM (ANALYZE) subscriber, credential")
            taken = await connection.fetchval("SELECT pg_database_size(current_database())")
            session.say(f"the database has {taken / 2**30:.1f} GiB")
            await world.stack.processes["portal"].stop()
            world.stack.restored[DATABASES["portal"][0]] = dsn
            await world.stack.start_service("portal")
            await _measure(Filled(world, connection, keys, size))
        finally:
            await connection.close()
    return True


async def _measure(filled: Filled) -> None:
    wires = await filled.wires()
    first, others = wires[: len(wires) // 2], wires[len(wires) // 2 :]
    visits = [
        wire for at in range(0, len(others), _PRESENT) for _ in range(_VISIT) for wire in others[at : at + _PRESENT]
    ]
    quarter = len(first) // 4
    await filled.read("first pages, one at a time", first[:quarter], 1)
    with on_one_core(filled.world.stack.processes["portal"].pid):
        await filled.read(f"first pages, {_READERS} at a time, one core", first[quarter:], _READERS)
        await filled.read(f"visits of {_VISIT} pages, the same", visits, _READERS)
    await filled.share(first[:_SHARING])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line, the process's own by default; 0 when it was measured, 2 when the time was over first."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description="A portal whose database is as large as a country's: fills it, then measures its pages and memory.",
    )
    home = Path(os.environ.get("VITNE_HOME") or DEFAULT_HOME) / "bench-scale"
    parser.add_argument("--learners", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument("--each", type=int, default=20, help="credentials of each (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=15.0, help="that filling may take (default: %(default)s)")
    parser.add_argument("--home", type=Path, default=home, help="folder for all state (default: %(default)s)")
    options = parser.parse_args(arguments)
    folder: Path = options.home.resolve()
    print(f"{Machine.look(folder).text()}; commit {commit_of(ROOT)}", flush=True)
    try:
        complete = uvloop.run(
            run(Session(folder, commit_of(ROOT)), Size(options.learners, options.each), options.minutes * 60)
        )
    except VitneError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    return 0 if complete else 2


if __name__ == "__main__":
    raise SystemExit(main())
