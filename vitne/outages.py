"""What asyncpg raises when PostgreSQL is out of reach: one list for all that waits an outage out."""

from __future__ import annotations

from typing import Final

import asyncpg

from vitne.errors import Aborted

#: Errors that a loop waits out and tries again. ``InternalClientError`` is among them since a server that crashes
#: ends a session with an error and without the message that asyncpg then waits for: whoever uses that connection
#: next is told that another operation is in progress. ``TimeoutError`` is an ``OSError``.
DATABASE_OUTAGES: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

#: What PostgreSQL says of itself: the connection broke, or the server starts, stops or has no room.
SERVER_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
)

#: :data:`DATABASE_OUTAGES` without what PostgreSQL answers to a statement that is wrong or refused.
UNREACHABLE: Final = (OSError, *SERVER_AWAY, asyncpg.InterfaceError, asyncpg.InternalClientError)

#: The transaction met another one and may be repeated as a whole; what a migration does to a table that a prepared
#: statement reads is such another one, too, and asyncpg has prepared it anew by then.
CONFLICT: Final[tuple[type[Exception], ...]] = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,
    Aborted,
)
