"""Forward-only migrations of a service's database."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from vitne.clock import Clock, SystemClock
from vitne.errors import FailedPrecondition
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import CONNECT_TIMEOUT_SECONDS, unavailable

#: Key of the advisory lock that migrations hold: any constant of our own.
MIGRATION_LOCK: Final = 0x5649_544E_45

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migrations:
    """The numbered SQL files of one part: ``0001_name.sql`` onwards, without a gap.

    Attributes:
        component: stable name of the part, ``runtime``, ``messaging``, ``issuer``.
        folder: where the files are; in ``readers`` beside them ``ROLE.sql`` grants what a role of that name may read.
    """

    component: str
    folder: Path


async def migrate(dsn: str, migrations: Sequence[Migrations], *, clock: Clock | None = None) -> list[str]:
    """Bring a database to the newest version; answers what was applied, as ``component/0001_name``.

    Each file runs in a transaction of its own. Runs at the same time wait for each other. Afterwards readers that exist
    as roles are granted what the release says, and nothing else.

    Raises:
        FailedPrecondition: ``MIGRATION_CHANGED`` (a file is no longer what was applied),
            ``MIGRATION_GAP`` (a number is missing), ``DATABASE_NEWER`` (the database
            knows a later file than this release).
        Unavailable: ``DATABASE_UNAVAILABLE``.
    """
    clock = clock or SystemClock()
    try:
        conn = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_SECONDS, server_settings={"timezone": "UTC"})
    except DATABASE_OUTAGES as error:
        raise unavailable() from error
    try:
        # Held by the session: ends with the connection, however this ends.
        await conn.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        await conn.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migration (
                component  text        NOT NULL,
                number     integer     NOT NULL,
                name       text        NOT NULL,
                digest     bytea       NOT NULL,
                applied_at timestamptz NOT NULL,
                PRIMARY KEY (component, number)
            )
            """
        )
        applied: list[str] = []
        for part in migrations:
            applied += await _migrate_part(conn, part, clock)
        await _grant(conn, migrations)
        return applied
    finally:
        await conn.close()


async def _grant(conn: Any, migrations: Sequence[Migrations]) -> None:
    files = [file for part in migrations for file in sorted((part.folder / "readers").glob("*.sql"))]
    for role in sorted({file.stem for file in files}):
        if not await conn.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
            continue
        async with conn.transaction():
            # What an earlier release granted, and this one does not.
            await conn.execute(f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{role}"')
            for file in files:
                if file.stem == role:
                    await conn.execute(file.read_text(encoding="utf-8"))


async def _migrate_part(conn: Any, part: Migrations, clock: Clock) -> list[str]:
    files = _numbered_files(part)
    known = {
        row["number"]: row
        for row in await conn.fetch(
            "SELECT number, name, digest FROM schema_migration WHERE component = $1", part.component
        )
    }
    if known and max(known) > len(files):
        raise FailedPrecondition(
            "DATABASE_NEWER",
            f"the database knows migration {max(known)} of {part.component}, this release ends at {len(files)}",
            rule="migrations only go forward",
            remedy="deploy the newer release",
        )
    applied = []
    for number, path in enumerate(files, start=1):
        text = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).digest()
        if number in known:
            if known[number]["digest"] != digest:
                raise FailedPrecondition(
                    "MIGRATION_CHANGED",
                    f"{part.component}/{path.name} is not what was applied",
                    rule="an applied migration is never edited",
                    remedy="restore the file and write what is to change as a new one",
                )
            continue
        async with conn.transaction():
            await conn.execute(text)
            await conn.execute(
                "INSERT INTO schema_migration (component, number, name, digest, applied_at)"
                " VALUES ($1, $2, $3, $4, $5)",
                part.component,
                number,
                path.stem,
                digest,
                clock.now(),
            )
        _log.info("migration applied", extra={"component": part.component, "migration": path.stem})
        applied.append(f"{part.component}/{path.stem}")
    return applied


def _numbered_files(part: Migrations) -> list[Path]:
    """The part's files in order; numbers are 1, 2, 3, …"""
    files = sorted(part.folder.glob("*.sql"))
    for expected, path in enumerate(files, start=1):
        match = _FILE.fullmatch(path.name)
        if match is None or int(match[1]) != expected:
            raise FailedPrecondition(
                "MIGRATION_GAP",
                f"{part.component}/{path.name} stands where number {expected:04d} is expected",
                rule="files are named 0001_name.sql, 0002_name.sql, … without a gap",
                remedy="rename or restore the file",
            )
    if not files:
        raise FailedPrecondition("MIGRATION_GAP", f"{part.component} has no migrations in its folder")
    return files
