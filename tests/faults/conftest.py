"""The ground that all scenarios of a run share: databases of their own on the run's PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faults.sim.grounds import DATABASES, Grounds
from tests.faults.sim.world import rehearse
from vitne.dev.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
async def simulated_dsns(postgres: EmbeddedPostgres) -> AsyncIterator[dict[str, str]]:
    names = {name: f"sim_{uuid4().hex}" for name in DATABASES}
    yield {name: await postgres.create_database(database) for name, database in names.items()}
    for database in names.values():
        await postgres.drop_database(database)


@pytest.fixture(scope="session")
def grounds(simulated_dsns: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    """What scenarios run on; a test that uses it is not asynchronous, since it turns a loop of its own."""
    folder: Path = tmp_path_factory.mktemp("simulation")
    with Grounds(simulated_dsns, folder) as made:
        rehearse(made)
        yield made
