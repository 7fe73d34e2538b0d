"""Lists are opened and their indexes leased: which list, and which of its places."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from services.ledger.permutation import Permutation, derive_key, key_check
from vitne.clock import Clock
from vitne.errors import DataLoss
from vitne.runtime.secret_files import read_secret
from vitne_api.ledger.v1 import ledger_pb2

#: File in the service's folder whose 32 random bytes every list's order is derived from.
SECRET_FILE: Final = "index-order.secret"  # noqa: S105 - a file's name
#: First half of the advisory locks under which indexes are leased; the other stands for country and year.
_LOCK: Final = 0x6C656173
#: Orders kept in memory, 16 bytes a place: 2 MiB for a list of 131,072.
CACHED_ORDERS: Final = 32


def load_secret(folder: Path, *, create: bool) -> bytes:
    """The ledger's secret for the order of indexes, 32 bytes; a lost one can't be replaced while its lists are open.

    Args:
        folder: the service's own.
        create: whether to make the file when it is not there.

    Raises:
        FailedPrecondition: ``SECRET_MISSING``, ``SECRET_EXPOSED``, ``SECRET_MALFORMED``.
    """
    return read_secret(folder, SECRET_FILE, create=create)


class Orders:
    """The order in which each list's indexes are given out.

    Args:
        secret: 32 bytes, the same for all replicas and for ever.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._cache: OrderedDict[str, Permutation] = OrderedDict()

    def check(self, list_url: str) -> bytes:
        """What to store beside a list, to notice another secret later."""
        return key_check(derive_key(self._secret, list_url))

    def of(self, list_url: str, size: int, check: bytes) -> Permutation:
        """The order of a list.

        Raises:
            DataLoss: ``INDEX_ORDER_LOST`` when the list was opened under another secret: going
                on would give out indexes twice.
        """
        order = self._cache.get(list_url)
        if order is None:
            key = derive_key(self._secret, list_url)
            if key_check(key) != check:
                raise DataLoss(
                    "INDEX_ORDER_LOST",
                    f"the order of {list_url} comes from another secret than this process has",
                    rule="an index is given out once",
                    remedy=f"restore {SECRET_FILE} in the service's folder",
                )
            order = self._cache[list_url] = Permutation(key, size)
            while len(self._cache) > CACHED_ORDERS:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(list_url)
        return order


class Leases:
    """Leases blocks of indexes.

    Args:
        orders: which index comes when.
        clock: says the year, and when a lease was made.
        base_url: what the lists' URLs begin with, without a slash at the end.
        list_size: places of a new list.
    """

    def __init__(self, orders: Orders, clock: Clock, *, base_url: str, list_size: int) -> None:
        self._orders = orders
        self._clock = clock
        self._base_url = base_url
        self._list_size = list_size

    async def lease(
        self, connection: Any, caller: str, request: ledger_pb2.LeaseIndexesRequest
    ) -> ledger_pb2.LeaseIndexesResponse:
        """Lease up to ``request.count`` indexes of the country's open list, in the caller's transaction.

        A country's leases wait for each other, so that positions are taken once and one list is open at a time.
        """
        now = self._clock.now()
        # Not the list's row: those who waited for it would go on to open, each, the next list.
        await connection.execute(
            "SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, f"{request.country} {now.year}"
        )
        row = await self._open_list(connection, request.country, now.year)
        order = self._orders.of(row["url"], row["size"], row["order_check"])
        first: int = row["leased"]
        count = min(request.count, row["size"] - first)
        await connection.execute(
            "INSERT INTO lease (list_id, first, count, caller, recorded) VALUES ($1, $2, $3, $4, $5)",
            row["id"],
            first,
            count,
            caller,
            now,
        )
        await connection.execute("UPDATE status_list SET leased = leased + $2 WHERE id = $1", row["id"], count)
        return ledger_pb2.LeaseIndexesResponse(list=row["url"], indexes=order.indexes(first, count))

    async def _open_list(self, connection: Any, country: str, year: int) -> Any:
        """The country's newest list of the year; the next one, opened now, where that has no place left."""
        row = await connection.fetchrow(
            "SELECT id, url, number, size, leased, order_check FROM status_list "
            "WHERE country = $1 AND year = $2 ORDER BY number DESC LIMIT 1",
            country,
            year,
        )
        if row is not None and row["leased"] < row["size"]:
            return row
        number = row["number"] + 1 if row else 1
        url = f"{self._base_url}/{year}/{country.lower()}-{number}"
        return await connection.fetchrow(
            "INSERT INTO status_list (url, country, year, number, size, order_check, opened) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id, url, size, leased, order_check",
            url,
            country,
            year,
            number,
            self._list_size,
            self._orders.check(url),
            self._clock.now(),
        )
