"""Real SIGKILLs under load: nothing is lost, nothing happens twice, and the comparison would notice.

The comparison's own test damages what the soak left: the tests of this file run in
their order, on one stack.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from vitne.audit.agreement import compare
from vitne.dev.actors import Actors
from vitne.dev.observation import observe
from vitne.dev.soak import Report, soak
from vitne.dev.stack import APACHE, DATABASES, Stack

#: `make soak` does more; on Apache Kafka each crash of a consumer takes its group some seconds.
KILLS = 200
KILLS_ON_APACHE = 60

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
async def crashed(stack_folder: Path, on_apache: bool) -> AsyncIterator[Stack]:
    async with Stack(stack_folder / "crashed", kafka=APACHE if on_apache else "") as stack:
        yield stack


@pytest.fixture(scope="module")
def kills(on_apache: bool) -> int:
    """How many; ``VITNE_TEST_KILLS`` says otherwise."""
    return int(os.environ.get("VITNE_TEST_KILLS") or (KILLS_ON_APACHE if on_apache else KILLS))


@pytest.fixture(scope="module")
async def report(crashed: Stack, kills: int) -> Report:
    async with Actors(crashed) as actors:
        return await soak(crashed, actors, kills)


async def test_after_all_kills_everything_agrees(report: Report, kills: int) -> None:
    assert report.faultless, "\n".join(report.lines())
    assert report.kills.total() >= kills
    # The load was a load: of each kind something was answered.
    answered = {kind for (kind, outcome), count in report.journal.outcomes.items() if outcome == "answered" and count}
    kinds = {"issue", "batch item", "suspend", "reinstate", "revoke", "grant", "register key", "publish"}
    assert answered >= kinds | {"register with the hub", "withdraw from the hub"}


_ISSUED = "convert_from(record, 'UTF8') LIKE '%\"type\":\"issued\"%'"


@pytest.mark.parametrize(
    ("service", "damage", "noticed"),
    [
        pytest.param(
            "portal",
            "DELETE FROM credential WHERE handle = (SELECT min(handle) FROM credential)",
            "portal.missing",
            id="a row deleted from the portal",
        ),
        pytest.param(
            "portal",
            "UPDATE credential SET status = CASE status WHEN 'valid' THEN 'revoked' ELSE 'valid' END"
            " WHERE handle = (SELECT max(handle) FROM credential)",
            "portal.status",
            id="a status flipped in the portal",
        ),
        pytest.param(
            "issuer",
            "UPDATE credential SET status = CASE status WHEN 1 THEN 3 ELSE 1 END"
            " WHERE id = (SELECT min(id::text)::uuid FROM credential)",
            "status.issuer",
            id="a status flipped at the issuer",
        ),
        pytest.param(
            "issuer",
            "DELETE FROM credential WHERE id = (SELECT max(id::text)::uuid FROM credential)",
            "answer.lost",
            id="a credential that was answered, and is gone",
        ),
        # Damage adds up: the last leaf may be that of the credential that is gone, and then both agree.
        pytest.param(
            "ledger",
            f"DELETE FROM leaf WHERE leaf_index = (SELECT min(leaf_index) FROM leaf WHERE {_ISSUED})",
            "leaf.missing",
            id="a leaf cut out of the log",
        ),
        pytest.param(
            "ledger",
            "DELETE FROM status_change WHERE (list_id, number) = (SELECT list_id, min(number) FROM status_change"
            " GROUP BY list_id LIMIT 1)",
            "leaf.unexplained",
            id="a change of a status forgotten by the ledger",
        ),
    ],
)
async def test_the_comparison_notices(crashed: Stack, report: Report, service: str, damage: str, noticed: str) -> None:
    async def found() -> set[tuple[str, str]]:
        world = await observe(crashed, report.journal.issued, report.journal.changed)
        return {(each.kind, each.subject) for each in compare(world)}

    before = await found()
    connection = await asyncpg.connect(crashed.postgres.dsn(DATABASES[service][0]))
    try:
        assert (await connection.execute(damage)).endswith(" 1")
    finally:
        await connection.close()
    assert noticed in {kind for kind, _ in await found() - before}
