"""What is large is read beside the event loop, one at a time; what does not fit into the queue is refused."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from services.verifier import verification as verification_module
from services.verifier.aside import MAX_WAITING, Aside
from services.verifier.checks.names import FAILED
from services.verifier.checks.structure import check_structure
from services.verifier.verification import MAX_AT_ONCE
from tests.unit.verifier_world import World
from vitne.errors import ResourceExhausted

#: Seconds in which a thread has to get its turn on a machine that is busy.
PATIENCE = 60.0


@pytest.mark.parametrize(
    ("shown", "beside"),
    [("a" * MAX_AT_ONCE, False), ("a" * (MAX_AT_ONCE + 1), True), ("{" * (MAX_AT_ONCE + 1), True), (b"<svg/>", True)],
    ids=["small", "long", "long-json", "image"],
)
async def test_what_is_large_is_read_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, shown: Any, beside: bool
) -> None:
    threads: list[int] = []
    check = check_structure

    def watched(credential: str | bytes) -> Any:
        threads.append(threading.get_ident())
        return check(credential)

    monkeypatch.setattr(verification_module, "check_structure", watched)
    verification = await World().verify(shown)
    assert verification.checks[0].outcome == FAILED
    assert [thread != threading.get_ident() for thread in threads] == [beside]


async def test_it_is_done_one_at_a_time_and_a_full_queue_refuses() -> None:
    aside, go, lock = Aside(), threading.Event(), threading.Lock()

    def work() -> bool:
        alone = lock.acquire(blocking=False)
        assert go.wait(PATIENCE)
        lock.release()
        return alone

    pending = [asyncio.ensure_future(aside.do(work)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)  # Each has taken its place.
    with pytest.raises(ResourceExhausted, match="OVERLOADED"):
        await aside.do(work)
    pending.pop().cancel()
    await asyncio.sleep(0)
    pending.append(asyncio.ensure_future(aside.do(work)))  # Who left the queue made room.
    await asyncio.sleep(0)
    assert not pending[-1].done()
    go.set()
    async with asyncio.timeout(PATIENCE):
        assert all(await asyncio.gather(*pending))


async def test_what_the_work_raises_is_raised_and_leaves_room() -> None:
    aside = Aside()

    def broken() -> None:
        raise RuntimeError("broken")

    for _ in range(MAX_WAITING + 1):
        with pytest.raises(RuntimeError, match="broken"):
            await aside.do(broken)
