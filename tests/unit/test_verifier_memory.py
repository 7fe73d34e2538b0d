"""A verifier holds the log to what it showed before, also before a restart."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.verifier.evidence import Inclusions
from services.verifier.knowledge import Knowledge
from services.verifier.memory import KeptMemory
from tests.unit.log_samples import SampleLog, note_signer
from tests.unit.verifier_world import CHECKPOINT_KEY, OPERATOR, ORIGIN, OTHER_CHECKPOINT_KEY, MemoryLog, World
from vitne.accreditation import Projection
from vitne.errors import DataLoss, InvalidArgument
from vitne.inspection.log_memory import LogMemory
from vitne.merkle.notes import Checkpoint, sign_note, split_note
from vitne.merkle.succession import Succession, state_succession
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
    stranger = SampleLog(note_signer(9, ORIGIN)).append([b"1"] * 9).note()
    remembering.file.write_text(stranger)
    assert await remembering.ask(remembering.world.log)
    assert "counts for nothing" in caplog.text
    # It stays: who knows its key may hold the log to it.
    assert stranger in LogMemory.read(remembering.file).notes


async def test_what_is_remembered_is_held_against_the_log_once_the_registry_tells_of_its_key(
    remembering: Remembering,
) -> None:
    log = remembering.world.log
    log.append(b"m" * 32)
    await remembering.ask(log)
    full = remembering.world.knowledge()
    known = [replace(full, projection=Projection()), full]
    knowledge: Any = _Following(known)
    inclusions = Inclusions(
        another(log, b"n" * 32),
        knowledge,
        ORIGIN,
        remembering.world.clock,
        memory=LogMemory.read(remembering.file),
    )
    with pytest.raises(InvalidArgument, match="CHECKPOINT_KEY_UNKNOWN"):
        await inclusions.inclusion(LEAF)
    known.pop(0)
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        await inclusions.inclusion(LEAF)
    remembering.file.unlink()
    await KeptMemory(remembering.file, inclusions, remembering.world.clock).keep()
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        await remembering.ask(another(log, b"o" * 32))


class _Following:
    """What is known of the registry now: the first."""

    def __init__(self, known: list[Knowledge]) -> None:
        self._known = known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known[0], name)


async def test_a_statement_of_strangers_is_not_held_against_the_log(remembering: Remembering) -> None:
    """One false answer, as of a ledger that is not the log's, keeps nobody from believing the log later."""
    log = remembering.world.log
    old, new = note_signer(8, "log.other.example/2026"), note_signer(9, "log.other.example/2027")
    log.statements = [state_succession(Succession(Checkpoint(old.key.name, 3, b"r" * 32), new.key, 3), old, new)]
    assert await remembering.ask(log)
    assert LogMemory.read(remembering.file).statements == ()
    log.statements = []
    assert await remembering.ask(log)
    # Nor is one that was remembered before that was looked at.
    strangers = state_succession(Succession(Checkpoint(old.key.name, 4, b"r" * 32), new.key, 4), old, new)
    remembering.file.write_bytes(LogMemory((), [strangers]).to_bytes())
    assert await remembering.ask(log)


async def test_a_signature_that_somebody_put_below_a_statement_makes_it_no_other(remembering: Remembering) -> None:
    log = remembering.world.log
    log.rotate(OTHER_CHECKPOINT_KEY)
    log.append(b"m" * 32)
    honest = list(log.statements)
    stranger = note_signer(9, ORIGIN)
    text, _ = split_note(honest[0])
    log.statements = [honest[0] + sign_note(text, [stranger]).removeprefix(f"{text}\n")]
    assert await remembering.ask(log)
    log.statements = honest
    assert await remembering.ask(log)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"nothing\n", b"PK\x03\x04"])
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "memory"
    file.write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"LOG_MEMORY_UNREADABLE: .*memory is not .* take the file away"):
        LogMemory.read(file)


def test_an_empty_file_remembers_nothing(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    file.write_bytes(b"")
    assert not any(LogMemory.read(file).notes)


async def test_verifying_goes_on_where_nothing_can_be_remembered(
    remembering: Remembering, caplog: pytest.LogCaptureFixture
) -> None:
    (remembering.file.parent / "file").write_text("")
    remembering.file = remembering.file.parent / "file" / "memory"
    inclusions = Inclusions(remembering.world.log, remembering.world.knowledge(), ORIGIN, remembering.world.clock)
    assert (await inclusions.inclusion(LEAF)).checkpoint.size
    await KeptMemory(remembering.file, inclusions, remembering.world.clock).keep()
    assert "can't be remembered" in caplog.text
