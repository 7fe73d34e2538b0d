"""Tests on a real Apache Kafka, with ``VITNE_TEST_KAFKA=apache`` only: they need Java and Maven."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.folders import server_folder
from vitne.dev.apache_kafka import EmbeddedKafka

collect_ignore_glob = [] if os.environ.get("VITNE_TEST_KAFKA") == "apache" else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Skip where Java or Maven is not installed; there must be no such place in CI."""
    absent = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if absent:
        message = f"Apache Kafka needs {' and '.join(absent)}, not installed here"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def kafka_folder(tools: None) -> Iterator[Path]:
    """A folder for brokers, with a name that an escape could get wrong."""
    folder = server_folder("vitne kafka ø-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def plain(kafka_folder: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker for the whole run, open to everybody."""
    async with EmbeddedKafka(kafka_folder / "plain") as kafka:
        yield kafka


@pytest.fixture(scope="session")
async def secure(kafka_folder: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker for the whole run, with TLS and access rules."""
    async with EmbeddedKafka(kafka_folder / "secure", secure=True) as kafka:
        yield kafka
