"""Fixtures that every kind of test shares: the embedded stack, databases, time, official vectors."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.folders import server_folder
from tests.pools import opened_pool
from tests.rooms import ranks, room_of
from tests.schemas import migrated
from vitne.clock import ManualClock
from vitne.dev.actors import Actors
from vitne.dev.apache_kafka import EmbeddedKafka
from vitne.dev.broker import EmbeddedBroker
from vitne.dev.demo import Demo
from vitne.dev.narrator import Narrator
from vitne.dev.postgres import EmbeddedPostgres
from vitne.dev.stack import APACHE, Stack
from vitne.dev.story import tell

# That the machine has other work to do is no defect.
settings.register_profile("vitne", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vitne")

ROOT = Path(__file__).resolve().parents[1]
#: Tests that use one of these need the embedded stack.
STACK_FIXTURES = {"postgres", "broker", "new_broker", "database_dsn", "pool"}
#: Tests that use this one, directly or not, touch messaging: `make test-kafka` runs them on Apache Kafka.
MESSAGING_FIXTURE = "on_apache"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "schema(migrations): what its own database begins with")
    config.addinivalue_line("markers", "kafka: touches messaging; with VITNE_TEST_KAFKA=apache on a real Apache Kafka")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # Of several workers: the scheduler deals rooms out as they were collected.
        rank = ranks([item.nodeid for item in items])
        items.sort(key=lambda item: rank[room_of(item.nodeid)])
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if STACK_FIXTURES & names:
            item.add_marker(pytest.mark.stack)
        if MESSAGING_FIXTURE in names:
            item.add_marker(pytest.mark.kafka)


class _ByRoom(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives workers whole rooms of tests."""

    def _split_scope(self, nodeid: str) -> str:
        return room_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByRoom:
    config.option.loadscopereorder = False  # Their order is that of the collection; see above.
    return _ByRoom(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a promise that was not kept: the run fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("CI") != "true" or session.exitstatus != pytest.ExitCode.OK:
        return
    if skipped := reporter.stats.get("skipped"):
        reporter.write_line(f"CI=true, and {len(skipped)} tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def stack_folder() -> Iterator[Path]:
    """A folder for servers. Not pytest's own: an unprivileged user can't enter those of root."""
    folder = server_folder("vitne-tests-")
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def postgres(stack_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL for the whole run; it does not wait for the disk, since nobody crashes this machine."""
    async with EmbeddedPostgres(stack_folder / "postgres", settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def on_apache() -> bool:
    """Whether the run's broker is a real Apache Kafka (Java and Maven): then the producer is idempotent."""
    return os.environ.get("VITNE_TEST_KAFKA") == "apache"


@pytest.fixture(scope="session")
def new_broker(stack_folder: Path, on_apache: bool) -> Callable[[str], EmbeddedBroker | EmbeddedKafka]:
    """Makes a broker, not started yet, in a folder of its own: Apache Kafka finds what it wrote in an earlier one.

    It is the embedded one; with ``VITNE_TEST_KAFKA=apache``, a real Apache Kafka.
    """

    def make(name: str) -> EmbeddedBroker | EmbeddedKafka:
        folder = stack_folder / f"{name}-{uuid.uuid4().hex[:8]}"
        return EmbeddedKafka(folder) if on_apache else EmbeddedBroker(folder)

    return make


@pytest.fixture(scope="session")
async def broker(new_broker: Callable[[str], EmbeddedBroker | EmbeddedKafka]) -> AsyncIterator[str]:
    """Bootstrap address (``host:port``) of a broker for the whole run; use topics with names of your own."""
    async with new_broker("broker") as server:
        yield server.bootstrap_servers


@pytest.fixture(scope="session")
async def stack(stack_folder: Path, on_apache: bool) -> AsyncIterator[Stack]:
    """The whole embedded stack as processes, once for all tests: a folder holds one at a time."""
    async with Stack(stack_folder / "stack", kafka=APACHE if on_apache else "", witnesses=2) as running:
        yield running


@pytest.fixture(scope="session")
async def actors(stack: Stack) -> AsyncIterator[Actors]:
    """Organisations with tokens."""
    async with Actors(stack) as all_of_them:
        yield all_of_them


@pytest.fixture(scope="session")
async def world(stack: Stack, actors: Actors) -> AsyncIterator[Demo]:
    """A stack in which the demonstration's whole job has run: its parts are what tests look at."""
    async with AsyncExitStack() as exits:
        demo = Demo(stack, actors, Narrator(quiet=True), exits)
        await tell(demo)
        yield demo


@pytest.fixture
async def database_dsn(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """DSN of a database of the test's own: an empty one, or with the schema that the test is marked with."""
    name = f"test_{uuid.uuid4().hex}"
    schema = request.node.get_closest_marker("schema")
    yield await (migrated(postgres, name, *schema.args) if schema else postgres.create_database(name))
    await postgres.drop_database(name)


@pytest.fixture
async def pool(database_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections to the database of :func:`database_dsn`, as services have them: what a session keeps, it keeps."""
    pool = await opened_pool(database_dsn)
    yield pool
    # Not close(): a test that failed may still hold a connection, and close() would wait for it.
    pool.terminate()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at 2026-11-21T10:00:00Z until it is moved."""
    return ManualClock(datetime(2026, 11, 21, 10, tzinfo=UTC))


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Folder of the official test vectors, beside the checkout."""
    return _shared("vectors", "the official test vectors are")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the facts from the project's source documents, beside the checkout."""
    return _shared("data", "the source documents' facts are")


def _shared(name: str, what: str) -> Path:
    folder = ROOT.parent / "shared" / name
    if not folder.is_dir():
        message = f"{what} not there: ../shared/{name}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
