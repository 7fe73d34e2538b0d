"""A ledger on a disk of its own that gets full: ``python -m tests.operate.full_disk FOLDER``, in a mount namespace.

PostgreSQL, its write-ahead log and the static files share a small file system in memory. It is filled to the last
byte while leaves come in, and made room on again. What was answered is in the log then, once, and nothing that was
published is contradicted.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.integration.ledger_harness import Ledger, eventually, make_ledger
from tests.integration.ledger_leaves import check_log, extends, leaves, queue
from vitne.audit.log_walk import LogWalk
from vitne.clock import SystemClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import Unavailable
from vitne.inspection.published_log import walk_on
from vitne.merkle.policy import Policy
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import open_pool
from vitne.runtime.objects.folder import FolderObjects

#: A new cluster takes some 60 MiB with its first segments of write-ahead log.
DISK_MIB = 192
#: Leaves that are sent at a time, and how often at most while the disk is full: what is allocated has room yet.
GROUP, ATTEMPTS = 500, 200


async def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "tmpfs", str(folder)], check=True)
    postgres = EmbeddedPostgres(folder / "postgres", {"max_wal_size": "32MB", "min_wal_size": "32MB"})
    async with postgres:
        dsn = await postgres.create_database("full")
        pool = await open_pool(dsn)
        ledger = await make_ledger(dsn, pool, SystemClock(), folder / "state")
        sequencing = asyncio.create_task(ledger.sequencer().run())
        await eventually(lambda: pool.fetchval("SELECT epoch FROM log"))
        try:
            await fill_and_make_room(folder, ledger, postgres)
        finally:
            sequencing.cancel()
            await asyncio.gather(sequencing, return_exceptions=True)
            await pool.close()


async def fill_and_make_room(folder: Path, ledger: Ledger, postgres: EmbeddedPostgres) -> None:
    objects = FolderObjects(folder / "static")
    publication = ledger.publication(objects)
    answered = leaves(0, GROUP)
    await queue(ledger, answered)
    await eventually(lambda: ledger.pool.fetchval("SELECT size = $1 FROM log", GROUP))
    await publication.publish()
    more = leaves(GROUP, GROUP)  # which are in the log, and not copied yet
    await queue(ledger, more)
    answered += more
    await eventually(lambda: ledger.pool.fetchval("SELECT size = $1 FROM log", 2 * GROUP))
    known = await ledger.checkpoint()

    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError as error:
            print(f"the disk is full: {error.strerror}")
    refused = unpublished = 0
    for attempt in range(2, ATTEMPTS + 2):
        group = leaves(attempt * GROUP, GROUP)
        try:
            await queue(ledger, group)
            answered += group
        except DATABASE_OUTAGES:
            refused += 1
        try:
            await publication.publish()
        except (Unavailable, *DATABASE_OUTAGES):
            unpublished += 1
        if refused > 2 and unpublished:
            break
    assert refused, "nothing was refused"
    assert unpublished, "nothing stayed unpublished"
    print(f"refused {refused} of {attempt} groups; {unpublished} copies did not come to their end")

    filler.unlink()
    if not await answers(ledger):  # a write-ahead log without room ends the server
        print("PostgreSQL had ended")
        await postgres.stop()
        await postgres.start()
    await eventually(lambda: _empty(ledger))
    known = await extends(ledger, known)
    # Of a group whose commit was not answered nobody knows: it is in, or it is not, and the next try is the same leaf.
    await queue(ledger, [record for n in range(attempt + 1) for record in leaves(n * GROUP, GROUP)])
    await eventually(lambda: _empty(ledger))
    await extends(ledger, known)
    await check_log(ledger, leaves(0, (attempt + 1) * GROUP))
    await publication.publish()
    walk = LogWalk()
    await walk_on(objects.get, Policy.of_log(ledger.note_signer.key), walk)
    assert walk.finish() == []
    print(f"{walk.size} leaves, every one once; {len(answered)} were answered while the disk was full or before")


async def answers(ledger: Ledger) -> bool:
    try:
        return bool(await ledger.pool.fetchval("SELECT true"))
    except DATABASE_OUTAGES:
        return False


async def _empty(ledger: Ledger) -> bool:
    try:
        return not await ledger.pool.fetchval("SELECT EXISTS (SELECT FROM queued_leaf)")
    except DATABASE_OUTAGES:
        return False


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
