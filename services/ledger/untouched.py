"""Which places of the lists nobody has touched, from memory: most revocations are the first change of theirs.

What is remembered of a list is true at its last known change, and only there. Whoever relies on it writes where that
is still the list's last change, which the database decides. A place that was ever touched stays so, unless the list's
history is another than it was (a database that went back to an earlier state): then what was remembered is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

#: Bytes that are remembered of all lists, a bit a place: 1,024 lists of 131,072 places.
REMEMBERED_BYTES: Final = 16 * 1024 * 1024
#: Most changes that one look reads, of all lists: some 10 ms. Of a list with more the next looks read on.
READ_AT_ONCE: Final = 20_000
#: Seconds for which a list is left alone after another replica changed it: two that write would disturb each other.
#: Twice as long each time that this happens again soon.
REST_SECONDS: Final = 1.0
LONGEST_REST_SECONDS: Final = 60.0

#: What came since what is known: nearly known lists first, each as far as there is room for ($5). Where the change that
#: was known as the last is not there, all is read.
_READ: Final = """
    WITH asked AS (
        SELECT list.id, list.url, list.size, list.leased, list.changes, list.order_check, same,
            CASE WHEN same THEN known.number ELSE 0 END AS from_there
        FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::timestamptz[]) AS known (url, number, index, recorded)
        JOIN status_list AS list USING (url)
        CROSS JOIN LATERAL (SELECT known.number = 0 OR coalesce((
            SELECT change.index = known.index AND change.recorded = known.recorded
            FROM status_change AS change WHERE change.list_id = list.id AND change.number = known.number
        ), false)) AS compared (same)
    ), due AS (
        SELECT asked.*, least(changes, from_there + greatest(0,
            $5::bigint - sum(changes - from_there) OVER (ORDER BY changes - from_there, id) + changes - from_there
        ))::bigint AS known_up_to
        FROM asked
    )
    SELECT due.*, last.index AS last_index, last.recorded AS last_recorded, ARRAY(
        SELECT DISTINCT index FROM status_change
        WHERE list_id = due.id AND number > due.from_there AND number <= due.known_up_to
    ) AS touched
    FROM due LEFT JOIN status_change AS last ON last.list_id = due.id AND last.number = due.known_up_to
"""
_ROW: Final = ("id", "url", "size", "leased", "order_check")


@dataclass(frozen=True, slots=True)
class Last:
    """A list's last change, as it is told from any other of the same number: its place, and when it was recorded."""

    number: int
    index: int
    recorded: datetime


#: Of a list that was never changed.
NEVER: Final = Last(0, 0, datetime.min.replace(tzinfo=UTC))


class RememberedList:
    """What is known of a list.

    Args:
        row: of the list, as it was read.

    Attributes:
        row: ``id``, ``url``, ``size``, ``leased`` and ``order_check`` as they were read last.
        last: the last change that is known.
        certain: whether that was the list's last when it was looked at; else it is read before it is relied on.
    """

    def __init__(self, row: Any) -> None:
        self.row = {name: row[name] for name in _ROW}
        self.last = NEVER
        self.certain = False
        self.resting_until = 0.0
        self._rest = 0.0
        self._touched = bytearray(-(-row["size"] // 8))

    @property
    def bytes(self) -> int:
        """How much is remembered."""
        return len(self._touched)

    def is_touched(self, index: int) -> bool:
        """Whether a place was ever changed, as far as it is known; False beyond the list's end."""
        return index < self.row["size"] and bool(self._touched[index >> 3] >> (index & 7) & 1)

    def read(self, row: Any) -> None:
        """Take over what came since, or all, where the list's history is another than was known."""
        self.row = {name: row[name] for name in _ROW}
        if not row["same"]:
            self._touched = bytearray(-(-row["size"] // 8))
        last = Last(row["known_up_to"], row["last_index"], row["last_recorded"]) if row["known_up_to"] else NEVER
        self.moved(last, row["touched"])
        self.certain = row["known_up_to"] == row["changes"]

    def moved(self, last: Last, touched: Iterable[int]) -> None:
        """Some places were touched, and that is committed: these are all up to a change."""
        for index in touched:
            self._touched[index >> 3] |= 1 << (index & 7)
        self.last = last
        self.certain = True

    def rest(self, now: float) -> None:
        """Be left alone from monotonic seconds on: twice as long as before, unless that was long ago."""
        soon = now < self.resting_until + LONGEST_REST_SECONDS
        self._rest = min(2 * self._rest, LONGEST_REST_SECONDS) if self._rest and soon else REST_SECONDS
        self.resting_until = now + self._rest


class Untouched:
    """Remembers lists, those that were asked for last."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, RememberedList] = OrderedDict()
        self._bytes = 0

    def find(self, url: str) -> RememberedList | None:
        """What is known of a list, certain or not."""
        return self._lists.get(url)

    def doubt(self, urls: Iterable[str]) -> None:
        """Lists are about to change in a way that is not known here."""
        for url in urls:
            if (known := self._lists.get(url)) is not None:
                known.certain = False

    async def lost(self, connection: Any, urls: Iterable[str], now: float) -> None:
        """Some lists were not where they had been: read which, and let these rest (from monotonic seconds on)."""
        were = {url: known.last for url in urls if (known := self._lists.get(url)) is not None}
        await self._read(connection, were)
        for url, last in were.items():
            if (known := self._lists[url]).last != last or not known.certain:
                known.rest(now)

    async def look(self, connection: Any, urls: Iterable[str], now: float) -> dict[str, RememberedList]:
        """Lists as they are at this moment, without those that don't exist, rest, or are not known to their end yet.

        Reads what is not certain, at most :data:`READ_AT_ONCE` changes.
        """
        wanted = [url for url in urls if (known := self._lists.get(url)) is None or now >= known.resting_until]
        unsure = [url for url in wanted if (known := self._lists.get(url)) is None or not known.certain]
        if unsure:
            await self._read(connection, unsure)
        found: dict[str, RememberedList] = {}
        for url in wanted:
            if (known := self._lists.get(url)) is not None:
                self._lists.move_to_end(url)
                if known.certain:
                    found[url] = known
        while self._bytes > REMEMBERED_BYTES and len(self._lists) > 1:
            _, forgotten = self._lists.popitem(last=False)
            self._bytes -= forgotten.bytes
        return found

    async def _read(self, connection: Any, urls: Collection[str]) -> None:
        lasts = [known.last if (known := self._lists.get(url)) is not None else NEVER for url in urls]
        for row in await connection.fetch(
            _READ,
            list(urls),
            [last.number for last in lasts],
            [last.index for last in lasts],
            [last.recorded for last in lasts],
            READ_AT_ONCE,
        ):
            known = self._lists.get(row["url"])
            before = 0 if known is None else known.bytes
            if known is None:
                known = self._lists[row["url"]] = RememberedList(row)
            known.read(row)
            self._bytes += known.bytes - before
