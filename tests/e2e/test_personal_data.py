"""What names a learner is nowhere in clear: not in Kafka, the log, traces, logs, metrics, or any database."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import quote

import asyncpg
import pytest

from vitne.dev.cases import synthetic_learners
from vitne.dev.demo import Demo, new_id, until
from vitne.dev.learner import LearnerBrowser
from vitne.dev.stack import DATABASES, LEARNERS, SERVICES, Stack
from vitne.messaging.topics import dead_topic, fixed_topics
from vitne_api.issuer.v1 import issuer_pb2

#: Names that nothing else contains.
GIVEN, FAMILY, GRADE = "Merkverdig", "Sporløs-Kvitsøy", "Særdeles-merkbart"
#: A synthetic learner who can log in, and whom no other test uses.
LEARNER: Final = synthetic_learners(LEARNERS)[LEARNERS - 1]


def ways_to_write(marker: str) -> Iterator[bytes]:
    """The marker as it would look in clear: as text, escaped, in hexadecimal, in base64 at any alignment."""
    for raw in {marker.encode(), marker.encode("utf-16-le"), marker.encode("latin-1")}:
        yield raw
        yield raw.hex().encode()
        for lead in range(3):
            # What depends on neighbouring bytes at either end is cut away.
            coded = base64.b64encode(b"\0" * lead + raw)[-(-lead * 8 // 6) :].rstrip(b"=")[:-1]
            yield coded
            yield coded.translate(bytes.maketrans(b"+/", b"-_"))
    yield marker.encode("unicode_escape")
    yield json.dumps(marker)[1:-1].encode()
    yield quote(marker).encode()
    yield marker.encode("ascii", "xmlcharrefreplace")


def found(markers: list[str], haystack: bytes) -> list[str]:
    """The markers that are in there, written in any way."""
    return [marker for marker in markers if any(way in haystack for way in ways_to_write(marker))]


def test_the_search_finds_a_marker_however_it_is_written() -> None:
    for marker in (FAMILY, GIVEN, LEARNER.value):
        for clear in (
            f'{{"name":"{marker}"}}'.encode(),
            base64.urlsafe_b64encode(f'["salt","name","{marker}"]'.encode()),
            base64.b64encode(f'xx{{"name":"{marker}"}}'.encode()),
            marker.encode().hex().encode(),
            json.dumps({"name": marker}).encode(),
            f"/search?name={quote(marker)}".encode(),
        ):
            assert found([marker], b"before" + clear + b"after") == [marker]


@pytest.fixture(scope="module")
async def markers(world: Demo, stack: Stack) -> list[str]:
    """Strings of a learner who has been through everything: issued to, refused, registered, fetched, shown."""
    learner = issuer_pb2.Learner()
    learner.CopyFrom(LEARNER)
    learner.given_name, learner.family_name = GIVEN, FAMILY
    case = world.cases.achievements["minikvalifikasjon"]
    provider = world.actors.organisation(case.message.provider)
    issuance = issuer_pb2.Issuance(
        learner=learner,
        achievement_id=world.published[case.key],
        achievement_version=1,
        awarded_on="2026-11-01",
        grade=GRADE,
        retention=case.retention,
    )
    answer = await provider.issue(issuer_pb2.IssueRequest(request_id=new_id(), issuance=issuance))
    assert found([LEARNER.value], answer.credential.artefact.encode()), "the search would not find it anywhere"
    issuance.awarded_on = "2999-01-01"
    items = [issuer_pb2.BatchItem(item_id="refused", issuance=issuance)]
    refused = [result async for result in provider.issue_batch(new_id(), items)]
    assert refused[0].WhichOneof("outcome") == "error"
    async with LearnerBrowser(stack.portal_url) as browser:
        await browser.log_in(learner.value)
        await browser.register()

        async def shown() -> bool:
            return any(entry["state"] == "fetched" for entry in await browser.credentials())

        await until(shown, "the credential in the portal", world.narrator)
    return [GIVEN, FAMILY, GRADE, learner.value]


async def test_nowhere_in_kafka(stack: Stack, markers: list[str]) -> None:
    topics = [topic.name for topic in fixed_topics()] + [stack.hub_topic()]
    total = 0
    for topic in topics + [dead_topic(topic) for topic in topics]:
        for record in await stack.read_topic(topic):
            total += 1
            whole = record.key.encode() + record.value + repr(record.headers).encode()
            assert found(markers, whole) == [], topic
    assert total > 500


async def test_nowhere_in_metrics(stack: Stack, markers: list[str]) -> None:
    # Both forms of the page: OpenMetrics has exemplars, too.
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        for service in SERVICES:
            url, headers = stack.metrics_url(service), {"Accept": accept}
            async with stack.session() as session, session.get(url, headers=headers) as response:
                page = await response.read()
            assert b"vitne_" in page
            assert found(markers, page) == [], service


async def test_nowhere_in_logs_and_traces(stack: Stack, markers: list[str]) -> None:
    files = [*stack.log_folder.glob("*.log"), stack.trace_file, stack.postgres.log_path]
    assert stack.trace_file.stat().st_size > 10_000
    for file in files:
        assert found(markers, file.read_bytes()) == [], file.name


@pytest.mark.parametrize("database", [name for names in DATABASES.values() for name in names])
async def test_nowhere_in_a_database(stack: Stack, markers: list[str], database: str) -> None:
    rows = 0
    async for table, value in every_value(stack.postgres.dsn(database)):
        rows += 1
        clear = value if isinstance(value, bytes) else str(value).encode()
        assert found(markers, clear) == [], table
    assert rows > 0


async def every_value(dsn: str) -> AsyncIterator[tuple[str, Any]]:
    """Every value of every row of every table."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for table in tables:
            for row in await connection.fetch(f"SELECT * FROM {table['name']}"):
                for value in row.values():
                    yield table["name"], value
    finally:
        await connection.close()
