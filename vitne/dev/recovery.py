"""Backups of the embedded PostgreSQL and restores to an instant, as an operator's tools make them.

The write-ahead log is archived all the time, a base backup is taken now and then, and a restore is a second server
beside the first, which replays the archive up to an instant (PostgreSQL, chapter 25; CloudNativePG does the same).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg

from vitne.dev.postgres import EmbeddedPostgres, run_program
from vitne.errors import Unavailable

#: Seconds in which a segment of the log must be in the archive.
ARCHIVE_SECONDS: Final = 60.0
_LOOK: Final = 0.05


class Archive:
    """Where the write-ahead log of a server goes, and its base backups.

    Args:
        folder: inside the server's own folder, so that whoever it runs as may write there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._log = self.folder / "log"
        self._base = self.folder / "base"
        self._log.mkdir(parents=True, exist_ok=True)

    @property
    def settings(self) -> Mapping[str, str]:
        """Settings with which a server archives here."""
        return {
            "archive_mode": "on",
            # Never over what is there, and whole or not at all (PostgreSQL, section 25.3.1).
            "archive_command": f"test ! -f '{self._log}/%f' && cp '%p' '{self._log}/%f.part' "
            f"&& mv '{self._log}/%f.part' '{self._log}/%f'",
        }

    async def back_up(self, server: EmbeddedPostgres) -> None:
        """Take a base backup of all databases, while they are used.

        Raises:
            Unavailable: ``PG_BASEBACKUP_FAILED``.
        """
        await asyncio.to_thread(shutil.rmtree, self._base, ignore_errors=True)
        await asyncio.to_thread(
            run_program,
            "pg_basebackup",
            [f"--dbname={server.dsn('postgres')}", f"--pgdata={self._base}", "--checkpoint=fast", "--wal-method=none"],
            server.folder,
        )

    async def flush(self, server: EmbeddedPostgres) -> None:
        """Return once all that was committed so far is in the archive.

        Raises:
            Unavailable: ``ARCHIVE_STALLED``.
        """
        connection = await asyncpg.connect(server.dsn("postgres"))
        try:
            segment = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        finally:
            await connection.close()
        try:
            async with asyncio.timeout(ARCHIVE_SECONDS):
                while not (self._log / segment).exists():  # noqa: ASYNC110 - a file that another program writes
                    await asyncio.sleep(_LOOK)
        except TimeoutError as error:
            raise Unavailable("ARCHIVE_STALLED", f"{segment} was not archived") from error

    async def restore(self, origin: EmbeddedPostgres, folder: Path, instant: datetime | None) -> EmbeddedPostgres:
        """Start a second server that holds everything as it was at an instant; the caller stops it.

        Args:
            origin: whose backup it is; may be gone.
            folder: of the new server.
            instant: committed later is not in it; None: the end of the archive.

        Raises:
            Unavailable: it does not start, with the end of its log; ``ARCHIVE_STALLED``.
        """
        settings = {"restore_command": f"cp '{self._log}/%f' '%p'"}
        if instant is not None:
            settings["recovery_target_time"] = instant.astimezone(UTC).isoformat()
            settings["recovery_target_action"] = "promote"
        restored = EmbeddedPostgres(folder, settings=settings)
        await asyncio.to_thread(restored.adopt, self._base, origin)
        await restored.start()
        try:
            await _promoted(restored)
        except BaseException:
            await restored.stop()
            raise
        return restored


async def _promoted(server: EmbeddedPostgres) -> None:
    """Return once the archive has been replayed: until then a server can be read already, and not written."""
    connection = await asyncpg.connect(server.dsn("postgres"))
    try:
        async with asyncio.timeout(ARCHIVE_SECONDS):
            while await connection.fetchval("SELECT pg_is_in_recovery()"):  # noqa: ASYNC110 - the server says so
                await asyncio.sleep(_LOOK)
    except TimeoutError as error:
        raise Unavailable("ARCHIVE_STALLED", "the instant was not reached in the archive") from error
    finally:
        await connection.close()
