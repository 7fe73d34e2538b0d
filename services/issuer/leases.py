"""Status indexes: leased from the ledger in blocks, stored, given out once.

The issuer goes on issuing from stored blocks while the ledger is away. An index is
taken in the transaction that stores the credential, so neither a crash nor a failed
signature loses or repeats one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Final
from uuid import UUID

import asyncpg
import grpc.aio

from vitne.clock import Clock
from vitne.errors import Aborted, Unavailable, VitneError
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.status import error_from_rpc
from vitne_api.credential.v1 import credential_pb2 as credential
from vitne_api.ledger.v1 import ledger_pb2 as ledger
from vitne_api.ledger.v1 import ledger_pb2_grpc as ledger_grpc

#: How often the stock is looked at.
CHECK_SECONDS: Final = 0.5
#: The ledger's bound on one block (ledger.proto).
MAX_BLOCK: Final = 10_000

_log = logging.getLogger(__name__)

_TAKE: Final = """
    WITH block AS (
        SELECT request_id, list, indexes[taken + 1 : taken + $2] AS next, size - taken AS remaining FROM index_lease
        WHERE country = $1 AND list IS NOT NULL ORDER BY request_id LIMIT 1 FOR UPDATE {}
    )
    UPDATE index_lease SET taken = taken + cardinality(next) FROM block WHERE index_lease.request_id = block.request_id
    RETURNING block.request_id, block.list, next, remaining
"""
_TAKE_FREE: Final = _TAKE.format("SKIP LOCKED")
_TAKE_HELD: Final = _TAKE.format("")
#: Whether there is a block, held by others or not; one that this transaction emptied is deleted.
_ANY: Final = "SELECT EXISTS (SELECT FROM index_lease WHERE country = $1 AND list IS NOT NULL)"


async def take(connection: Any, country: str, count: int) -> list[credential.StatusReference]:
    """Up to ``count`` indexes for a country's credentials, in the caller's transaction; fewer when they run out.

    A block that another replica is taking from is passed over while there is another one. Whoever holds a block
    never waits for a second one: two groups that each empty theirs would wait for each other.

    Raises:
        Aborted: ``LEASES_BUSY``: the other blocks are held. A group is tried again in halves, and a single item needs
            one block only.
    """
    taken: list[credential.StatusReference] = []
    while len(taken) < count:
        wanted = count - len(taken)
        block = await connection.fetchrow(_TAKE_FREE, country, wanted)
        if block is None and not taken:
            block = await connection.fetchrow(_TAKE_HELD, country, wanted)
        if block is None:
            if taken and await connection.fetchval(_ANY, country):
                raise Aborted("LEASES_BUSY", f"others are taking from the blocks of {country} that are left")
            break
        taken += [credential.StatusReference(list=block["list"], index=index) for index in block["next"]]
        if len(block["next"]) == block["remaining"]:  # at once, so that a block that can be seen has an index left
            await connection.execute("DELETE FROM index_lease WHERE request_id = $1", block["request_id"])
    return taken


def exhausted(country: str) -> Unavailable:
    """The refusal when no stored index is left for a country."""
    return Unavailable(
        "STATUS_INDEXES_EXHAUSTED",
        f"no status index is left for {country}: the ledger has not leased a new block",
        rule="every credential carries an index of a status list that is its own",
        remedy="try again with the same request id; an operator should look at the ledger",
        metadata={"country": country},
    )


class LeaseKeeper:
    """Keeps the stock of indexes above a mark, for every country that providers are in.

    Args:
        pool: the issuer's database.
        stub: the ledger.
        countries: answers the countries to keep indexes for (ISO 3166-1 alpha-2).
        clock: waits between looks.
        new_id: makes the UUIDv7 of requests.
        block: how many to ask for at once, at most :data:`MAX_BLOCK`.
        low_water: below how many left to ask again.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        stub: ledger_grpc.LedgerServiceAsyncStub,
        countries: Callable[[], Collection[str]],
        clock: Clock,
        new_id: Callable[[], UUID],
        *,
        block: int,
        low_water: int,
    ) -> None:
        self._pool = pool
        self._stub = stub
        self._countries = countries
        self._clock = clock
        self._new_id = new_id
        self._block = block
        self._low_water = low_water
        #: Whether each country's stock was looked at since the start, whatever came of it.
        self.looked = False

    async def run(self) -> None:
        """Look and lease until cancelled. A ledger or database that does not answer is tried again, without end.

        Begin it once the countries are known.
        """
        failing: set[str] = set()
        while True:
            for country in sorted(self._countries()):
                # Each by itself: what the ledger refuses one country must not empty the others' stock.
                try:
                    await self.top_up(country)
                    failing.discard(country)
                except (*DATABASE_OUTAGES, VitneError) as error:
                    if country not in failing:
                        _log.warning("no status indexes leased for %s: %s", country, error)
                    failing.add(country)
            self.looked = True
            await self._clock.sleep(CHECK_SECONDS)

    async def top_up(self, country: str) -> None:
        """Lease blocks for a country until the stock is above the mark and every request is answered.

        A request whose answer was lost may have been granted: it is repeated at once, also where the stock is large,
        so that no index stays away that the ledger has given.

        Raises:
            VitneError: what the ledger refused with, or ``Unavailable``.
        """
        while await self._wanting(country):
            request_id, size = await self._open_request(country)
            request = ledger.LeaseIndexesRequest(request_id=str(request_id), country=country, count=size)
            try:
                answer = await self._stub.LeaseIndexes(request)
            except grpc.aio.AioRpcError as error:
                raise error_from_rpc(error) from error
            if not answer.indexes:
                raise Unavailable("EMPTY_LEASE", f"the ledger answered a lease for {country} without indexes")
            await self._pool.execute(
                "UPDATE index_lease SET list = $2, indexes = $3, size = $4 WHERE request_id = $1 AND list IS NULL",
                request_id,
                answer.list,
                list(answer.indexes),
                len(answer.indexes),
            )
            await asyncio.sleep(0)

    async def _wanting(self, country: str) -> bool:
        """Whether the stock is below the mark, or a request open."""
        row = await self._pool.fetchrow(
            "SELECT coalesce(sum(size - taken) FILTER (WHERE list IS NOT NULL), 0) AS left, "
            "count(*) FILTER (WHERE list IS NULL) AS open FROM index_lease WHERE country = $1",
            country,
        )
        return bool(row["left"] < self._low_water or row["open"])

    async def _open_request(self, country: str) -> tuple[UUID, int]:
        """The country's unanswered request, made now if there is none: the same one for all replicas."""
        await self._pool.execute(
            "INSERT INTO index_lease (request_id, country, requested_at, size) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (country) WHERE list IS NULL DO NOTHING",
            self._new_id(),
            country,
            self._clock.now(),
            self._block,
        )
        row = await self._pool.fetchrow(
            "SELECT request_id, size FROM index_lease WHERE country = $1 AND list IS NULL", country
        )
        if row is None:  # another replica has just got the answer
            return await self._open_request(country)
        return row["request_id"], row["size"]
