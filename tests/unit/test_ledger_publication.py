"""Lists on their way into static files: what one of them makes of the others, and of whoever waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from unittest.mock import AsyncMock, Mock

import pytest

from services.ledger.publication import Publication
from tests.unit.log_samples import SampleLog, note_signer
from vitne.credentials.list_forms import ListForm
from vitne.runtime.objects import Stored

LISTS = ("/2026/no-1", "/2026/no-2")


async def test_a_form_that_can_not_be_made_holds_up_no_other_and_calls_get_their_turn() -> None:
    note = SampleLog().append([b"one"]).note()
    log = Mock(size=1)
    log.shard.origin = note.partition("\n")[0]
    turns: list[int] = []
    turn = 0

    def make(entry: Mock, form: ListForm) -> Mock:
        turns.append(turn)
        if (entry.path, form) == (LISTS[0], ListForm.REVOCATION):
            raise ZeroDivisionError
        return Mock(body=b"list")

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def read(path: str) -> Stored | None:
        return Stored(note.encode(), "tag") if path == "checkpoint" else None

    objects = Mock(read=read, replace=AsyncMock(return_value="tag"))
    publication = Publication(
        store=Mock(logs=AsyncMock(return_value=[log]), statements=AsyncMock(return_value=[])),
        resources=Mock(),
        witnessed=Mock(shown=AsyncMock(return_value=Mock(note=note))),
        lists=Mock(
            ttl=timedelta(seconds=10),
            published=lambda: [Mock(path=path, version=1) for path in LISTS],
            is_newest=AsyncMock(return_value=True),
        ),
        projections=Mock(of=make),
        signers=lambda _origin, _number: note_signer(),
        objects=objects,
    )
    waiting = asyncio.create_task(others())
    with pytest.raises(ZeroDivisionError):
        await publication.publish()
    waiting.cancel()
    put = {call.args[0] for call in objects.replace.await_args_list}
    assert put == {f"{path.lstrip('/')}{form.value}" for path in LISTS for form in ListForm} - {
        f"{LISTS[0].lstrip('/')}{ListForm.REVOCATION.value}"
    }
    assert len(set(turns)) == len(turns) == len(LISTS) * len(ListForm)
