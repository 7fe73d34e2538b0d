"""Records changes of statuses that were told together: ``python -m tests.data.record_changes FOLDER``.

The ledger's own parts make them, in a database that is thrown away, and they are written as
:mod:`tests.data.record_events` writes its own. ``events-v2`` was recorded when the ledger began to tell several changes
by one event, and is never recorded anew.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from services.ledger.transitions import Change
from tests.data.record_events import plain
from tests.integration.ledger_harness import make_ledger, request
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.dev.stack import HubRecord
from vitne.messaging.headers import build
from vitne.messaging.topics import LEDGER_STATUS
from vitne.runtime.database import open_pool

#: A trace that is recorded, and one that is not.
TRACES: Final = (
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203332-00",
)


async def record(folder: Path, scratch: Path) -> None:
    """Change statuses of two lists in one transaction, then one alone, and write what the ledger tells."""
    clock = ManualClock(datetime(2026, 11, 22, 22, 0, 0, 214_000, tzinfo=UTC))
    async with EmbeddedPostgres(scratch / "postgres") as postgres:
        pool = await open_pool(await postgres.create_database("ledger"))
        ledger = await make_ledger(postgres.dsn("ledger"), pool, clock, scratch)
        one, other = await ledger.lease(4), await ledger.lease(2, country="DK")
        clock.advance(timedelta(minutes=5))
        asked = [
            request(one.list, one.indexes[0], Change.SUSPEND),
            request(other.list, other.indexes[0], Change.REVOKE),
            request(one.list, one.indexes[1], Change.REVOKE, effective=clock.now() - timedelta(minutes=1)),
            request(one.list, one.indexes[0], Change.REVOKE),
            request(other.list, other.indexes[1], Change.SUSPEND),
        ]
        traced = [replace(each, traceparent=TRACES[number % 2]) for number, each in enumerate(asked)]
        await ledger.apply(traced)
        await ledger.set(request(one.list, one.indexes[2], Change.REVOKE))
        rows = await pool.fetch("SELECT * FROM outbox ORDER BY id")
        await pool.close()
    lines = []
    for row in rows:
        headers = build(
            event_id=row["event_id"],
            source=row["source"],
            type_=row["type"],
            time=row["time"],
            key=row["key"],
            revision=row["revision"],
            traceparent=row["traceparent"],
        )
        told = HubRecord(row["key"], {name: value.decode() for name, value in headers}, row["value"])
        lines.append(json.dumps(plain(told), ensure_ascii=False) + "\n")
    (folder / f"{LEDGER_STATUS}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if any(target.glob("*.jsonl")):
        raise SystemExit(f"{target} holds recorded events already: they are never recorded anew")
    with tempfile.TemporaryDirectory(prefix="vitne-record-") as made:
        Path(made).chmod(0o755)  # an unprivileged PostgreSQL must get in
        asyncio.run(record(target, Path(made)))
