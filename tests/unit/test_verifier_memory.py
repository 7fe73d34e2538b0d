"""A verifier holds the log to what it showed before, also before a restart."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from services.verifier.evidence import Inclusions
from services.verifier.memory import KeptMemory
from tests.unit.verifier_world import CHECKPOINT_KEY, OPERATOR, ORIGIN, OTHER_CHECKPOINT_KEY, MemoryLog, World
from vitne.errors import DataLoss, InvalidArgument
from vitne.inspection.log_memory import LogMemory
from vitne_api.registry.v1 import facts_pb2

LEAF = b"l" * 32


class Remembering:
    """A verifier that starts again and again, and its file."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.world.key(OTHER_CHECKPOINT_KEY, OPERATOR, facts_pb2.KEY_USE_CHECKPOINT)
        self.world.log_facts()
        self.world.log.append(LEAF)
        self.file = folder / "memory"

    async def ask(self, log: MemoryLog, leaf: bytes = LEAF) -> int:
        """The size of the tree by which a verifier that has just started believes a leaf."""
        inclusions = Inclusions(log, self.world.knowledge(), ORIGIN, self.world.clock, memory=LogMemory.read(self.file))
        try:
            return (await inclusions.inclusion(leaf)).checkpoint.size
        finally:
            await KeptMemory(self.file, inclusions, self.world.clock).keep()


@pytest.fixture
def remembering(tmp_path: Path) -> Remembering:
    return Remembering(tmp_path)


def another(log: MemoryLog, more: bytes) -> MemoryLog:
    """A log by the same key with another history, of at least as many leaves, that proves what it is asked for."""
    fork = MemoryLog()
    fork.append(LEAF)
    while fork.size < log.size:
        fork.append(more)
    return fork


async def test_a_log_that_grows_is_believed_after_a_restart(remembering: Remembering) -> None:
    log = remembering.world.log
    first = await remembering.ask(log)
    log.append(b"m" * 32)
    assert await remembering.ask(log, b"m" * 32) == first + 1
    assert await remembering.ask(log) == first + 1


async def test_another_history_is_refused_after_a_restart_and_told_loudly(
    remembering: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    log = remembering.world.log
    await remembering.ask(log)
    before = remembering.file.read_bytes()
    with caplog.at_level(logging.ERROR), pytest.raises(DataLoss, match="LOG_FORKED"):
        await remembering.ask(another(log, b"n" * 32))
    assert "the log is not believed any more" in caplog.text
    assert remembering.file.read_bytes() == before


async def test_a_log_that_went_back_is_refused_after_a_restart(remembering: Remembering) -> None:
    log = remembering.world.log
    await remembering.ask(log)
    back = MemoryLog()
    back.append(LEAF)

    async def never_had_it(origin: str, from_size: int, to_size: int) -> list[bytes]:
        raise InvalidArgument("TREE_SIZE_UNKNOWN", f"the log has one leaf, not {to_size}")

    back.consistency = never_had_it  # type: ignore[method-assign]
    with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
        await remembering.ask(back)


async def test_a_statement_that_was_told_before_a_restart_is_not_withheld(remembering: Remembering) -> None:
    log = remembering.world.log
    log.rotate(OTHER_CHECKPOINT_KEY)
    log.append(b"m" * 32)
    await remembering.ask(log)
    log.statements, log.signer = [], CHECKPOINT_KEY
    with pytest.raises(DataLoss, match="SUCCESSION_WITHHELD"):
        await remembering.ask(log)


async def test_what_was_remembered_under_a_stranger_s_key_counts_for_nothing(
    remembering: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    remembering.file.write_text("log.vitne.example/2026\n9\nAAAA\n\n— log.vitne.example/2026 AAAA\n")
    assert await remembering.ask(remembering.world.log)
    assert "counts for nothing" in caplog.text


async def test_verifying_goes_on_where_nothing_can_be_remembered(
    remembering: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    (remembering.file.parent / "file").write_text("")
    remembering.file = remembering.file.parent / "file" / "memory"
    inclusions = Inclusions(remembering.world.log, remembering.world.knowledge(), ORIGIN, remembering.world.clock)
    assert (await inclusions.inclusion(LEAF)).checkpoint.size
    await KeptMemory(remembering.file, inclusions, remembering.world.clock).keep()
    assert "can't be remembered" in caplog.text
