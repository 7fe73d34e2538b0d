"""Events of the first version, through today's handlers and their databases; and what they do with later ones."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.issuer.crypto import IndexKey
from services.issuer.parts import Parts
from services.issuer.statuses import Statuses
from services.issuer.wiring import MIGRATIONS as ISSUER_MIGRATIONS
from services.portal.notices import Notices
from services.portal.sealing import PortalKeys
from services.portal.store import Store
from services.portal.wiring import MIGRATIONS as PORTAL_MIGRATIONS
from tests.data.recorded import FIRST, SECOND, Recorded, events
from tests.unit.test_evolution import UNKNOWN_FIELD
from vitne.clock import ManualClock
from vitne.errors import DataLoss, InvalidArgument
from vitne.messaging import topics
from vitne.runtime.migrations import migrate
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2

HUB_TOPIC = "vitne.hub.0192-919477822.v1"


@pytest.fixture
async def notices(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Notices:
    await migrate(database_dsn, PORTAL_MIGRATIONS)
    return Notices(Store(pool, PortalKeys.load(tmp_path, create=True)), clock, lambda: None)


async def gathered(pool: asyncpg.Pool) -> dict[str, tuple[str, str, str]]:
    rows = await pool.fetch("SELECT handle, pseudonym, kind, provider FROM credential")
    return {row["handle"]: (row["pseudonym"], row["kind"], row["provider"]) for row in rows}


async def test_the_portal_gathers_what_notices_of_the_first_version_told(notices: Notices, pool: asyncpg.Pool) -> None:
    expected: dict[str, tuple[str, str, str]] = {}
    for event in events(HUB_TOPIC):
        said = event.said
        if said["notice"] == "HUB_NOTICE_WITHDRAWN":
            expected.pop(said["handle"], None)
        else:
            expected[said["handle"]] = (said["pseudonym"], said["kind"], said["provider"])
        async with pool.acquire() as conn, conn.transaction():
            # A field of a later version changes nothing.
            await notices.handle(conn, [event.altered(value=event.value + UNKNOWN_FIELD)])
    assert expected
    assert await gathered(pool) == expected


async def test_the_portal_parks_notices_that_it_does_not_know(notices: Notices, pool: asyncpg.Pool) -> None:
    event = events(HUB_TOPIC)[0]
    later = events_pb2.HubCredentialNotice.FromString(event.value)
    later.notice = 99  # type: ignore[assignment]  # a notice of a later version
    for message, reason in (
        (event.altered(type_="vitne.hub.notice.v2"), "UNKNOWN_EVENT"),
        (event.altered(value=later.SerializeToString()), "UNKNOWN_NOTICE"),
    ):
        async with pool.acquire() as conn:
            with pytest.raises(InvalidArgument) as caught:
                await notices.handle(conn, [message])
        assert caught.value.reason == reason
    assert await gathered(pool) == {}


class NobodyToTell:
    """No hub has registered any learner."""

    async def status_changed(self, _connection: Any, _changed: Any) -> list[Any]:
        return []


@pytest.fixture
async def statuses(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock) -> Statuses:
    await migrate(database_dsn, ISSUER_MIGRATIONS)
    parts = Parts(pool, None, IndexKey(bytes(32)), timedelta(days=1), clock)  # type: ignore[arg-type]  # nothing is opened
    return Statuses(pool, None, NobodyToTell(), parts, clock)  # type: ignore[arg-type]  # neither ledger nor hubs are asked


def said(event: Recorded) -> list[tuple[tuple[str, int], str]]:
    """The changes that an event told of when it was recorded: list and index, status."""
    if "status" in event.said:
        return [((event.said["list"], event.said.get("index", 0)), event.said["status"])]
    return [((event.said["list"], each.get("index", 0)), each["status"]) for each in event.said.get("changes", ())]


@pytest.mark.parametrize(("folder", "together"), [(FIRST, 1), (SECOND, 3)], ids=["alone", "together"])
async def test_the_issuer_learns_statuses_as_they_were_told(
    statuses: Statuses, pool: asyncpg.Pool, folder: Path, together: int
) -> None:
    recorded = events(topics.LEDGER_STATUS, folder)
    assert max(len(said(event)) for event in recorded) == together
    places = dict(change for event in recorded for change in said(event))
    for number, (url, index) in enumerate(places):
        await pool.execute(
            """
            INSERT INTO credential (id, provider, learner, achievement, achievement_version, kind, retention, issued_at,
                request_id, request_item, request_digest, decision, status_list, status_index, status, signing_key,
                prepared, signature, digest)
            VALUES ($1, '0184:30859480', $1, $1, 1, 'dk.micro_credential', 1, now(), $1, '', '', '', $2, $3, 1, '', '',
                '', decode(repeat(lpad(to_hex($4::integer), 2, '0'), 32), 'hex'))
            """,
            UUID(int=number + 1),
            url,
            index,
            number,
        )
    for event in recorded:
        async with pool.acquire() as conn, conn.transaction():
            await statuses.handle(conn, [event.altered(value=event.value + UNKNOWN_FIELD)])
    found = await pool.fetch("SELECT status_list, status_index, status FROM credential")
    assert {
        (row["status_list"], row["status_index"]): credential_pb2.Status.Name(row["status"]) for row in found
    } == places


async def test_the_issuer_parks_statuses_that_it_does_not_know(statuses: Statuses, pool: asyncpg.Pool) -> None:
    event = next(event for event in events(topics.LEDGER_STATUS) if event.message.type.endswith("status_changed.v1"))
    later = events_pb2.StatusChanged.FromString(event.value)
    later.status = 99  # type: ignore[assignment]  # a status of a later version: never taken for valid
    for message, reason in (
        (event.altered(type_="vitne.ledger.status_changed.v2"), "UNKNOWN_EVENT_TYPE"),
        (event.altered(value=later.SerializeToString()), "BAD_EVENT"),
    ):
        async with pool.acquire() as conn:
            with pytest.raises(DataLoss) as caught:
                await statuses.handle(conn, [message])
        assert caught.value.reason == reason
