"""Databases that begin with a schema: migrated once for a server, copied from then on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

from vitne.dev.postgres import EmbeddedPostgres
from vitne.runtime.migrations import Migrations, migrate

#: Templates that were migrated to their end, by server.
_complete: Final[WeakKeyDictionary[EmbeddedPostgres, set[str]]] = WeakKeyDictionary()


async def migrated(server: EmbeddedPostgres, name: str, migrations: Sequence[Migrations]) -> str:
    """DSN of a new database that is as ``migrate`` leaves an empty one: a file after the other takes longer to run.

    Readers are granted what roles there are when the first such database is made.
    """
    parts = "\0".join(f"{part.component}\0{part.folder}" for part in migrations)
    template = f"schema_{hashlib.sha256(parts.encode()).hexdigest()[:16]}"
    complete = _complete.setdefault(server, set())
    if template not in complete:
        await migrate(await server.create_database(template), migrations)
        complete.add(template)
    return await server.create_database(name, template=template)
