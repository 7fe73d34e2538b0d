"""The whole embedded stack, once for all end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from vitne.dev.actors import Actors
from vitne.dev.demo import Demo
from vitne.dev.narrator import Narrator
from vitne.dev.stack import APACHE, Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.stack)
            # The first of them waits for all services to start.
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
async def stack(stack_folder: Path, on_apache: bool) -> AsyncIterator[Stack]:
    """PostgreSQL, the broker, the token issuer, two witnesses and the five services, as processes."""
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
        await demo.run()
        yield demo
