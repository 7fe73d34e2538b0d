"""What is remembered of lists: only what was committed, for as long as nothing else may have changed them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ledger import untouched as module
from services.ledger.untouched import LONGEST_REST_SECONDS, REST_SECONDS, Last, Untouched

URL = "https://status.vitne.example/2026/no-1"
OTHER = "https://status.vitne.example/2026/se-1"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Database:
    """Lists as they are stored, by URL: the indexes that were changed, in the order of their numbers.

    What a number's change is told by, beside its index, is that it was recorded so many seconds after the first.
    """

    def __init__(self, **lists: list[int]) -> None:
        self.lists = lists or {URL: []}
        #: For each read, from which number on each list was asked for.
        self.reads: list[dict[str, int]] = []

    async def fetch(
        self, _sql: str, urls: list[str], numbers: list[int], indexes: list[int], _recorded: list[datetime], room: int
    ) -> list[dict[str, Any]]:
        self.reads.append(dict(zip(urls, numbers, strict=True)))
        rows = []
        for url, number, index in zip(urls, numbers, indexes, strict=True):
            if (changed := self.lists.get(url)) is None:
                continue
            same = number == 0 or changed[number - 1 : number] == [index]
            start = number if same else 0
            end = min(len(changed), start + room)
            room -= end - start
            rows.append(
                {"id": 1, "url": url, "size": 100, "leased": 100, "order_check": b"", "changes": len(changed)}
                | {"same": same, "known_up_to": end, "touched": changed[start:end]}
                | {"last_index": changed[end - 1] if end else None, "last_recorded": moment(end) if end else None}
            )
        return rows


def moment(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def untouched() -> Untouched:
    return Untouched()


async def test_a_list_is_read_once_and_then_followed(database: Database, untouched: Untouched) -> None:
    database.lists[URL] = [7, 63, 64]
    known = (await untouched.look(database, [URL], 0.0))[URL]
    assert [index for index in range(100) if known.is_touched(index)] == [7, 63, 64]
    assert known.last == Last(3, 64, moment(3))
    known.moved(Last(4, 99, moment(4)), [99])
    assert (await untouched.look(database, [URL], 0.0))[URL] is known
    assert known.is_touched(99)
    assert not known.is_touched(100)
    assert database.reads == [{URL: 0}]


async def test_in_doubt_only_what_came_since_is_read(database: Database, untouched: Untouched) -> None:
    database.lists[URL] = [1, 2]
    await untouched.look(database, [URL], 0.0)
    untouched.doubt([URL, OTHER])
    database.lists[URL] += [3]
    found = untouched.find(URL)
    assert found is not None
    assert not found.is_touched(3)
    known = (await untouched.look(database, [URL], 0.0))[URL]
    assert (known.last.number, known.is_touched(1), known.is_touched(3)) == (3, True, True)
    assert database.reads == [{URL: 0}, {URL: 2}]


async def test_a_history_that_is_another_is_read_from_the_beginning(database: Database, untouched: Untouched) -> None:
    database.lists[URL] = [1, 2]
    await untouched.look(database, [URL], 0.0)
    untouched.doubt([URL])
    database.lists[URL] = [1, 3]
    known = (await untouched.look(database, [URL], 0.0))[URL]
    assert [index for index in range(100) if known.is_touched(index)] == [1, 3]


async def test_of_lists_only_what_moved_rests_and_is_then_read_on(untouched: Untouched) -> None:
    database = Database(**{URL: [1], OTHER: [1]})
    await untouched.look(database, [URL, OTHER], 10.0)
    database.lists[URL] += [2]
    await untouched.lost(database, [URL, OTHER], 10.0)
    assert list(await untouched.look(database, [URL, OTHER], 10.0 + REST_SECONDS / 2)) == [OTHER]
    known = (await untouched.look(database, [URL, OTHER], 10.0 + REST_SECONDS))[URL]
    assert (known.is_touched(1), known.is_touched(2)) == (True, True)
    assert database.reads == [{URL: 0, OTHER: 0}, {URL: 1, OTHER: 1}]


async def test_a_list_that_moves_again_and_again_rests_longer(database: Database, untouched: Untouched) -> None:
    async def rest(now: float) -> float:
        database.lists[URL] += [len(database.lists[URL])]
        await untouched.lost(database, [URL], now)
        found = untouched.find(URL)
        assert found is not None
        return found.resting_until - now

    await untouched.look(database, [URL], 0.0)
    now, rests = 1000.0, []
    for _ in range(8):
        rests.append(await rest(now))
        now += rests[-1]
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]
    assert await rest(now + LONGEST_REST_SECONDS) == REST_SECONDS


async def test_a_list_that_does_not_exist_is_not_remembered(database: Database, untouched: Untouched) -> None:
    assert await untouched.look(database, ["https://status.vitne.example/x"], 0.0) == {}
    assert untouched.find("https://status.vitne.example/x") is None


async def test_a_long_history_is_read_over_several_looks(
    database: Database, untouched: Untouched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_AT_ONCE", 40)
    database.lists[URL] = list(range(90))
    assert await untouched.look(database, [URL], 0.0) == {}
    assert await untouched.look(database, [URL], 0.0) == {}
    known = (await untouched.look(database, [URL], 0.0))[URL]
    assert [index for index in range(100) if known.is_touched(index)] == list(range(90))
    assert database.reads == [{URL: 0}, {URL: 40}, {URL: 80}]


async def test_lists_that_were_not_asked_for_of_late_are_forgotten(
    untouched: Untouched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_BYTES", 3 * 13)  # three lists of 100 places
    names = [f"list{number}" for number in range(4)]
    database = Database(**{name: [] for name in names})
    for name in names:
        await untouched.look(database, [names[0], name], 0.0)
    assert [name for name in names if untouched.find(name) is None] == [names[1]]
    # What is remembered of a list, however many changes there were: its places' bits, and a row of five columns.
    known = untouched.find(names[0])
    assert known is not None
    assert known.bytes == 13
    assert set(known.row) == {"id", "url", "size", "leased", "order_check"}
