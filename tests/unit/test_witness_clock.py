"""What a witness says of time: it never goes back, whatever its clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.witness.memory import Memory
from services.witness.witness import CORRECTED_BY, Witness
from tests.unit.log_samples import T0, SampleLog, cosigner, note_signer
from vitne.clock import ManualClock
from vitne.errors import Aborted, DataLoss, Unavailable
from vitne.merkle.cosignatures import cosignatures
from vitne.merkle.witnessing import AddCheckpoint, Inconsistent

LOG = SampleLog().append(b"%d" % number for number in range(300))
OTHER = SampleLog(note_signer(2, "other.example")).append(b"%d" % number for number in range(300))
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


def witness(memory: Memory, at: datetime, *, was_ahead: bool = False) -> tuple[Witness, ManualClock]:
    clock = ManualClock(at)
    return Witness(cosigner(0), [LOG.signer.key, OTHER.signer.key], memory, clock, was_ahead=was_ahead), clock


async def said(asked: Witness, old: int, new: int, log: SampleLog = LOG) -> datetime:
    """The time of a cosignature."""
    note = log.note(new)
    line = await asked.add_checkpoint(
        AddCheckpoint(old, log.consistency(old, new) if old else (), note).text().encode()
    )
    return cosignatures(note + line, [cosigner(0).key])[cosigner(0).key]


async def test_while_a_clock_is_corrected_time_stands_still(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        asked, clock = witness(memory, T0)
        assert await said(asked, 0, 100) == T0
        clock.advance(-CORRECTED_BY)
        assert await said(asked, 100, 200) == T0
        clock.advance(CORRECTED_BY + SECOND)
        assert await said(asked, 200, 300) == T0 + SECOND


async def test_a_clock_that_went_back_cosigns_nothing_until_that_is_past(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        asked, clock = witness(memory, T0)
        assert await said(asked, 0, 100) == T0
        remembered = memory.note(LOG.signer.key.name)
        clock.advance(-CORRECTED_BY - SECOND)
        # Of a log that it never cosigned, too: it is one clock.
        for log, old, new in ((LOG, 100, 200), (OTHER, 0, 100)):
            with pytest.raises(Unavailable, match="CLOCK_WENT_BACK"):
                await said(asked, old, new, log)
        assert memory.note(LOG.signer.key.name) == remembered
        assert memory.note(OTHER.signer.key.name) is None
        # What needs no time is answered.
        with pytest.raises(Aborted):
            await said(asked, 0, 200)
        with pytest.raises(Inconsistent):
            await said(asked, 100, 200, SampleLog().append(b"x%d" % number for number in range(300)))
        clock.advance(CORRECTED_BY + 2 * SECOND)
        assert await said(asked, 100, 200) == T0 + SECOND


async def test_a_witness_that_is_started_anew_remembers_the_time(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        assert await said(witness(memory, T0)[0], 0, 100) == T0
        assert await said(witness(memory, T0 + DAY)[0], 0, 100, OTHER) == T0 + DAY
    with Memory(tmp_path) as memory:
        with pytest.raises(Unavailable, match="CLOCK_WENT_BACK"):
            await said(witness(memory, T0 + SECOND)[0], 100, 200)
        # Its operator knows which of the two is wrong.
        asked, clock = witness(memory, T0 + SECOND, was_ahead=True)
        assert await said(asked, 100, 200) == T0 + SECOND
        clock.advance(-DAY)
        with pytest.raises(Unavailable, match="CLOCK_WENT_BACK"):
            await said(asked, 200, 300)


async def test_what_its_operator_decided_holds_for_logs_that_are_not_cosigned_any_more(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        asked, _ = witness(memory, T0 + DAY)
        for log in (LOG, OTHER):
            await said(asked, 0, 100, log)
    with Memory(tmp_path) as memory:
        assert await said(witness(memory, T0, was_ahead=True)[0], 100, 200) == T0
    with Memory(tmp_path) as memory:
        assert await said(witness(memory, T0 + SECOND)[0], 200, 300) == T0 + SECOND


async def as_before(folder: Path, at: datetime, old: int, new: int, log: SampleLog = LOG) -> None:
    """What a release cosigns that keeps its times in the notes alone."""
    with Memory(folder) as memory:
        time = (folder / "latest-time").read_bytes()
        assert await said(witness(memory, at)[0], old, new, log) == at
        (folder / "latest-time").write_bytes(time)


async def test_what_an_earlier_release_said_since_counts(tmp_path: Path) -> None:
    """This one ran, then that one again."""
    with Memory(tmp_path) as memory:
        await said(witness(memory, T0)[0], 0, 100)
    await as_before(tmp_path, T0 + DAY, 100, 200)
    with Memory(tmp_path) as memory, pytest.raises(Unavailable, match="CLOCK_WENT_BACK"):
        await said(witness(memory, T0 + SECOND)[0], 200, 300)


async def test_what_is_cosigned_after_the_operators_decision_counts(tmp_path: Path) -> None:
    """The decision is about what had been said by then: of another log what was cosigned then counts no more."""
    with Memory(tmp_path) as memory:
        asked, _ = witness(memory, T0 + DAY)
        for log in (LOG, OTHER):
            await said(asked, 0, 100, log)
    with Memory(tmp_path) as memory:
        assert await said(witness(memory, T0, was_ahead=True)[0], 100, 200) == T0
    await as_before(tmp_path, T0 + timedelta(hours=9), 200, 250)
    with Memory(tmp_path) as memory:
        with pytest.raises(Unavailable, match="CLOCK_WENT_BACK"):
            await said(witness(memory, T0 + timedelta(hours=8))[0], 250, 300)
        assert await said(witness(memory, T0 + timedelta(hours=10))[0], 250, 300) == T0 + timedelta(hours=10)


async def test_logs_that_are_not_looked_after_any_more_keep_their_time(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        await said(witness(memory, T0 + DAY)[0], 0, 100, OTHER)
        (tmp_path / "latest-time").unlink()
        left = Witness(cosigner(0), [LOG.signer.key], memory, ManualClock(T0))
        with pytest.raises(Unavailable, match="CLOCK_WENT_BACK"):
            await said(left, 0, 100)


async def test_no_time_goes_on_from_a_clock_that_was_never_set(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        await said(witness(memory, T0)[0], 0, 100)
        with pytest.raises(Unavailable, match="CLOCK_UNSET"):
            witness(memory, datetime(1970, 1, 1, tzinfo=UTC), was_ahead=True)
        assert memory.said() == T0


async def test_what_the_operator_lifts_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Memory(tmp_path) as memory:
        await said(witness(memory, T0 + DAY)[0], 0, 100)
        witness(memory, T0, was_ahead=True)
    (told,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert "1 day, 0:00:00 before what was said last" in told


async def test_a_clock_that_is_right_is_not_set_back_by_what_its_operator_says(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        await said(witness(memory, T0)[0], 0, 100)
        asked, clock = witness(memory, T0 + DAY, was_ahead=True)
        clock.advance(-DAY + timedelta(hours=1))
        assert await said(asked, 100, 200) == T0 + timedelta(hours=1)


async def test_a_clock_that_was_never_set_signs_no_time(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        with pytest.raises(Unavailable, match="CLOCK_UNSET"):
            await said(witness(memory, datetime(1970, 1, 1, tzinfo=UTC))[0], 0, 100)
        assert memory.said() is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"yesterday"])
async def test_a_time_that_can_not_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    with Memory(tmp_path) as memory:
        await said(witness(memory, T0)[0], 0, 100)
        (tmp_path / "latest-time").write_bytes(content)
        with pytest.raises(DataLoss, match="WITNESS_MEMORY_DAMAGED"):
            witness(memory, T0)


async def test_a_note_that_is_no_text_is_told_as_damaged(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        asked, _ = witness(memory, T0)
        await said(asked, 0, 100)
        next(tmp_path.glob("*.checkpoint")).write_bytes(b"\xff\xfe")
        with pytest.raises(DataLoss, match="WITNESS_MEMORY_DAMAGED"):
            await said(asked, 100, 200)
        with pytest.raises(DataLoss, match="WITNESS_MEMORY_DAMAGED"):
            witness(memory, T0)


async def test_what_the_release_before_kept_counts(tmp_path: Path) -> None:
    with Memory(tmp_path) as memory:
        await said(witness(memory, T0 + DAY)[0], 0, 100)
        (tmp_path / "latest-time").unlink()
        with pytest.raises(Unavailable, match="CLOCK_WENT_BACK"):
            await said(witness(memory, T0)[0], 100, 200)


async def test_a_key_that_never_cosigned_has_no_time_of_before(tmp_path: Path) -> None:
    """Notes of another key's witness, from a release that kept no time beside them: what that said is not its own."""
    with Memory(tmp_path) as memory:
        assert await said(witness(memory, T0)[0], 0, 100) == T0
        (tmp_path / "latest-time").unlink()
        other = Witness(cosigner(1), [LOG.signer.key], memory, ManualClock(T0 - DAY))
        note = LOG.note(200)
        line = await other.add_checkpoint(AddCheckpoint(100, LOG.consistency(100, 200), note).text().encode())
        assert cosignatures(note + line, [cosigner(1).key])[cosigner(1).key] == T0 - DAY
