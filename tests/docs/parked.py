"""Messages that the portal of a running stack could not handle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.docs.conftest import Shell
from vitne.messaging.headers import pack

TOPIC: Final = "vitne.hub.0192-919477822.v1"
#: Two that can't be handled, and one that waits for the sixth of its key: offset, key, revision, state.
_PARKED: Final = ((17, "first", 1, "failed"), (18, "second", 1, "failed"), (19, "c3ludGhldGlj", 7, "waiting"))


@asynccontextmanager
async def parked(shell: Shell) -> AsyncIterator[None]:
    """Those that the pages name lie there; what an operator did not do away with is done away with at the end."""
    connection = await shell.database("portal")
    try:
        await connection.executemany(
            'INSERT INTO consumer_parked (consumer, topic, partition, "offset", key, revision, state, reason, value, '
            "headers, parked_at) VALUES ('portal', $5, 3, $1, $2, $3, $4, 'UNDECODABLE', '', $6, now())",
            [(*each, TOPIC, pack([])) for each in _PARKED],
        )
        yield
        for table in ("consumer_parked", "consumer_act", "consumer_seen"):  # nothing of the kind ever happened
            await connection.execute(f"DELETE FROM {table} WHERE key = ANY($1)", [each[1] for each in _PARKED])
    finally:
        await connection.close()
