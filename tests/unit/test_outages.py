"""What counts as an outage of the database."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import is_out_of_reach


@pytest.mark.parametrize(
    "error",
    [
        # What a session says that a crash ended half-way; found by killing PostgreSQL under load.
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        ConnectionRefusedError(),
        TimeoutError(),
    ],
)
def test_a_crashed_database_is_waited_out(error: Exception) -> None:
    assert isinstance(error, DATABASE_OUTAGES)
    assert is_out_of_reach(error)


def test_a_fault_of_ours_is_no_outage() -> None:
    assert not is_out_of_reach(asyncpg.UniqueViolationError("twice"))
    assert not isinstance(KeyError("x"), DATABASE_OUTAGES)


def test_nobody_keeps_a_list_of_their_own() -> None:
    root = Path(__file__).resolve().parents[2]
    own = {"vitne/outages.py", "vitne/runtime/database.py"}
    found = {
        str(path.relative_to(root))
        for folder in ("services", "vitne")
        for path in (root / folder).rglob("*.py")
        if "asyncpg.InterfaceError" in (text := path.read_text(encoding="utf-8")) or "asyncpg.PostgresError" in text
    }
    assert found == own
