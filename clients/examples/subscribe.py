"""A small portal: keeps up with its topic for some seconds, and shows what it has.

Against `make up`, after `. .vitne/up/environment`. The tables are the portal's own; what else the subscriber needs it
keeps beside them.
"""

import argparse
import asyncio
import os
import sys

argparse.ArgumentParser(
    description="A small portal: keeps up with its topic for some seconds, and shows what it has.",
    epilog="Exit code: 0 it is shown, 1 it could not be had, 2 wrong usage.",
).parse_args()

try:  # Here, so that the help is to be had without them.
    from vitne.messaging.kafka import KafkaSettings
    from vitne_client import Connection, Held, Subscriber, VitneError
except ModuleNotFoundError as error:
    sys.exit(
        f"{error}: install the client package, or, in its repository: PYTHONPATH=.:clients/python .venv/bin/python …"
    )

#: What it needs beside what its connection does.
NEEDED = ("VITNE_HUB", "VITNE_SUBSCRIBER_DSN", "VITNE_KAFKA")
if missing := [name for name in NEEDED if name not in os.environ]:
    sys.exit(f"not set: {', '.join(missing)}; remedy: . .vitne/up/environment")

TABLE = "CREATE TABLE IF NOT EXISTS held (handle text PRIMARY KEY, provider text, status int, artefact text)"
UPSERT = "INSERT INTO held VALUES ($1, $2, $3, $4) ON CONFLICT (handle) DO UPDATE SET status = excluded.status"


async def keep(conn, held: list[Held]) -> None:
    rows = [(one.handle, one.credential.provider, one.credential.status, one.credential.artefact) for one in held]
    await conn.executemany(UPSERT, rows)


async def forget(conn, handles: list[str]) -> None:
    await conn.execute("DELETE FROM held WHERE handle = ANY($1)", handles)


async def main() -> None:
    subscriber = Subscriber(
        Connection.of_environment("HUB"),
        hub=os.environ["VITNE_HUB"],
        dsn=os.environ["VITNE_SUBSCRIBER_DSN"],
        kafka=KafkaSettings(os.environ["VITNE_KAFKA"], idempotence=False, groups=False),  # the development broker's
        keep=keep,
        forget=forget,
    )
    async with subscriber, subscriber.pool.acquire() as conn:
        await conn.execute(TABLE)
        running = asyncio.create_task(subscriber.run())
        await subscriber.caught_up()
        held = await conn.fetchval("SELECT count(*) FROM held")
        print(f"{held} credentials, {len(await subscriber.parked())} parked")
        for topic, seconds in subscriber.lag().items():
            print(f"{topic} {'is up to date' if seconds < 60 else 'is late'}")
        running.cancel()


try:
    asyncio.run(main())
except (OSError, VitneError) as error:
    sys.exit(f"{error} (if the stack was started anew: . .vitne/up/environment)")
