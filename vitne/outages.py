"""What asyncpg raises when PostgreSQL is out of reach: one list for all that waits an outage out."""

from __future__ import annotations

from typing import Final

import asyncpg

#: Errors that a loop waits out and tries again. ``InternalClientError`` is among them since a server that crashes
#: ends a session with an error and without the message that asyncpg then waits for: whoever uses that connection
#: next is told that another operation is in progress. ``TimeoutError`` is an ``OSError``.
DATABASE_OUTAGES: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

#: The same without what PostgreSQL answers to a statement that is wrong or refused: the connection broke, or the server
#: starts, stops or has no room.
UNREACHABLE: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
