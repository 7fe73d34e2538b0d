"""What goes through the whole stack: issuing, revoking, verifying."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from bench import http
from bench.load import LOOK_SECONDS, Measured, closed, paced, percentile, until
from bench.results import Finding
from bench.session import Case
from bench.world import World
from vitne.credentials.bitstring_status_list import is_set, verify_credential
from vitne.credentials.data_integrity.suites import EDDSA_RDFC_2022
from vitne.credentials.jose import PublicKey, parse_public_jwk
from vitne.credentials.list_forms import ListForm
from vitne.credentials.status_list import verify_token
from vitne.credentials.status_list_cwt import verify_cwt
from vitne.dev.demo import new_id
from vitne.dev.stack import STATUS_BASE, ServiceKey
from vitne.errors import Unavailable
from vitne_api.credential.v1 import credential_pb2
from vitne_api.ledger.v1 import ledger_pb2

#: Seconds of a load.
_SECONDS: Final = 8.0
#: Items of a batch, and batches of one institution at a time: as many as the issuer takes of one.
BATCH: Final = 500
STREAMS: Final = 4
#: Different credentials that are verified in turns.
_VERIFIED: Final = 200
#: Connections of an HTTP load.
_CONNECTIONS: Final = 32
#: Revocations a second while it is measured how soon they are published, and how many come together: as many as
#: a stream's messages a second bring.
_REVOCATIONS: Final = 500.0
_TOGETHER: Final = 10
#: Revocations at once, and as many as a message of a stream holds.
_AT_ONCE: Final = 50_000
_MESSAGE: Final = 500
#: Whose lists are leased from, and indexes at once.
_COUNTRY: Final = "NO"
_LEASE: Final = 5000
#: Places that are leased before single revocations are measured: more than are revoked meanwhile.
_AHEAD: Final = 25_000
#: Seconds until a status or a leaf must be there.
_PATIENCE: Final = 30.0
_REVOKED: Final = 1
#: As the badge's proof names it.
_SUITE: Final = EDDSA_RDFC_2022.name
#: What the verifier's answer begins with.
_VALID: Final = b'{"verdict":"valid"'


async def issue_16(world: World) -> None:
    """Sixteen at a time."""
    await _issue(world, "issue.unary.c16", 16)


async def issue_64(world: World) -> None:
    """Sixty-four at a time."""
    await _issue(world, "issue.unary.c64", 64)


async def _issue(world: World, name: str, at_a_time: int) -> None:
    """Each to a learner who is new."""

    async def operation(_number: int) -> None:
        await world.issue(world.stranger())

    measured, cpu = await world.measured(name, lambda seconds: closed(operation, at_a_time, seconds), _SECONDS)
    world.session.record(Finding.rate(name, measured, rss_mib=world.rss_mib("issuer"), cpu_ms_per_op=cpu))


async def issue_badge(world: World) -> None:
    """Sixteen at a time: a credential and the badge of it, each durable and in the log, the badge with a proof."""

    async def operation(_number: int) -> None:
        issued = await world.issue(world.stranger(), credential_pb2.FORMAT_OPEN_BADGE)
        if not any(_SUITE in one.artefact for one in issued.artefacts):
            raise AssertionError("a badge has a proof of this suite where the institution has a key for it")

    measured, cpu = await world.measured("issue.ob3.c16", lambda seconds: closed(operation, 16, seconds), _SECONDS)
    world.session.record(Finding.rate("issue.ob3.c16", measured, rss_mib=world.rss_mib("issuer"), cpu_ms_per_op=cpu))


async def issue_batch(world: World) -> None:
    """Four streams of five hundred items at a time; latencies are those of whole batches."""
    items = world.session.amount(BATCH)

    async def operation(_number: int) -> None:
        await world.issue_batch([world.stranger() for _ in range(items)])

    async def load(seconds: float) -> Measured:
        batches = await closed(operation, STREAMS, seconds)
        return Measured(batches.operations * items, batches.seconds, batches.latencies)

    measured, cpu = await world.measured("issue.batch", load, _SECONDS)
    world.session.record(Finding.rate("issue.batch", measured, rss_mib=world.rss_mib("issuer"), cpu_ms_per_op=cpu))


# -- revoking -------------------------------------------------------------------------------------


class _Revoker:
    """Revokes at leased places, as the issuer does: the ledger takes it from services only."""

    def __init__(self, world: World) -> None:
        self._ledger = world.actors.organisation("issuer").ledger
        self._provider = world.provider.id
        self._free: list[tuple[str, int]] = []
        self._leasing = asyncio.Lock()

    async def reserve(self, count: int) -> None:
        """Lease so many places ahead."""
        async with self._leasing:
            while len(self._free) < count:
                lease = await self._ledger.LeaseIndexes(
                    ledger_pb2.LeaseIndexesRequest(request_id=new_id(), country=_COUNTRY, count=_LEASE)
                )
                self._free += [(lease.list, index) for index in lease.indexes]

    async def place(self) -> tuple[str, int]:
        """A place that nobody has revoked."""
        await self.reserve(1)
        return self._free.pop()

    async def places(self, count: int) -> list[tuple[str, int]]:
        """So many of them."""
        return [await self.place() for _ in range(count)]

    async def revoke(self, status_list: str, index: int) -> None:
        """One call of ``SetStatus``."""
        await self._ledger.SetStatus(self._request(status_list, index))

    async def revoke_all(self, messages: Iterable[list[tuple[str, int]]]) -> AsyncIterator[list[tuple[str, int]]]:
        """One call of ``SetStatuses``; the places of each message, once that is answered."""
        answered: asyncio.Queue[list[tuple[str, int]]] = asyncio.Queue()

        async def sent() -> AsyncIterator[ledger_pb2.SetStatusesRequest]:
            for places in messages:
                answered.put_nowait(places)
                yield ledger_pb2.SetStatusesRequest(items=[self._request(*place) for place in places])

        async for answer in self._ledger.SetStatuses(sent()):
            if any(outcome.WhichOneof("outcome") == "error" for outcome in answer.outcomes):
                raise AssertionError("a place was not revoked")
            yield answered.get_nowait()

    def _request(self, status_list: str, index: int) -> ledger_pb2.SetStatusRequest:
        return ledger_pb2.SetStatusRequest(
            request_id=new_id(),
            list=status_list,
            index=index,
            change=ledger_pb2.STATUS_CHANGE_REVOKE,
            reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
            on_behalf_of=self._provider,
        )


async def revoke(world: World) -> None:
    """Sixteen at a time, at places that were leased before."""
    revoker = _Revoker(world)
    await revoker.reserve(world.session.amount(_AHEAD))

    async def operation(_number: int) -> None:
        await revoker.revoke(*await revoker.place())

    measured, cpu = await world.measured("revoke.c16", lambda seconds: closed(operation, 16, seconds), _SECONDS)
    world.session.record(Finding.rate("revoke.c16", measured, rss_mib=world.rss_mib("ledger"), cpu_ms_per_op=cpu))


async def revoke_to_published(world: World) -> None:
    """From the answer to a message until the list that anybody can fetch says so, its signature checked."""
    await _one_by_one(world, "revoke.to_published.p99", (ListForm.JWT,))


async def revoke_to_published_in_all_forms(world: World) -> None:
    """The same, until the last of the forms says so."""
    await _one_by_one(world, "revoke.to_published.forms.p99", tuple(ListForm))


async def _one_by_one(world: World, name: str, forms: Sequence[ListForm]) -> None:
    revoker, watch = _Revoker(world), _ListWatch(world, forms)

    async def operation(_number: int) -> None:
        async for places in revoker.revoke_all([await revoker.places(_TOGETHER)]):
            watch.expect(places)

    async with watch.watching(await world.stack.service_keys()):
        await paced(operation, _REVOCATIONS / _TOGETHER, world.session.seconds(10))
        await watch.all_seen()
    _record_published(world, name, watch)


async def revoke_bulk(world: World) -> None:
    """Fifty thousand over one stream: how fast, and from the answer to each message until its places are published."""
    watch = _ListWatch(world, (ListForm.JWT,))
    rate = await _all_at_once(world, watch)
    world.session.record(Finding("revoke.bulk", rate, rss_mib=world.rss_mib("ledger")))
    _record_published(world, "revoke.bulk.to_published.p99", watch)


async def revoke_bulk_in_all_forms(world: World) -> None:
    """The same, until the last of the forms says so."""
    watch = _ListWatch(world, tuple(ListForm))
    await _all_at_once(world, watch)
    _record_published(world, "revoke.bulk.to_published.forms.p99", watch)


async def _all_at_once(world: World, watch: _ListWatch) -> float:
    """How many were revoked a second."""
    revoker = _Revoker(world)
    places = await revoker.places(world.session.amount(_AT_ONCE))
    messages = [places[at : at + _MESSAGE] for at in range(0, len(places), _MESSAGE)]
    await world.settled()
    async with watch.watching(await world.stack.service_keys()):
        began = time.perf_counter()
        async for answered in revoker.revoke_all(messages):
            watch.expect(answered)
        rate = len(places) / (time.perf_counter() - began)
        await watch.all_seen()
    await world.settled()
    return rate


def _record_published(world: World, name: str, watch: _ListWatch) -> None:
    waits = watch.waits()
    world.session.record(Finding(name, percentile(waits, 0.99), waits, rss_mib=world.rss_mib("ledger")))


class _ListWatch:
    """Fetches lists again and again, and notes when each expected place is revoked in all forms that are watched."""

    def __init__(self, world: World, forms: Sequence[ListForm]) -> None:
        self._base = f"{world.stack.http_url('ledger')}/"
        self._connections = http.Connections(self._base)
        self._forms = forms
        self._expected: dict[tuple[str, ListForm], set[int]] = {}
        #: Each list as it was fetched last. What is expected only now may be in it already.
        self._read: dict[tuple[str, ListForm], tuple[bytes, Callable[[int], bool]]] = {}
        self._since: dict[tuple[str, int], float] = {}
        self._seen: dict[tuple[str, int], float] = {}

    def expect(self, places: Iterable[tuple[str, int]]) -> None:
        """Watch for places from now on."""
        now = time.perf_counter()
        for status_list, index in places:
            self._since[status_list, index] = now
            for form in self._forms:
                self._expected.setdefault((status_list, form), set()).add(index)

    def waits(self) -> list[float]:
        """For each place that was seen: seconds since it was expected."""
        return [max(0.0, at - self._since[place]) for place, at in self._seen.items()]

    async def all_seen(self) -> None:
        """Return when all that was expected was seen."""

        async def nothing_left() -> bool:
            return not any(self._expected.values())

        await until(nothing_left, _PATIENCE)

    @asynccontextmanager
    async def watching(self, keys: Iterable[ServiceKey]) -> AsyncIterator[None]:
        """Watch meanwhile; ``keys`` are the services', of which the ledger's sign the lists."""
        parsed = [parse_public_jwk(each.public_jwk) for each in keys]
        task = asyncio.create_task(self._watch({key.key_id: key for key in parsed}))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self._connections.close()
            if not task.cancelled():
                task.result()

    async def _watch(self, keys: Mapping[str, PublicKey]) -> None:
        while True:
            for (uri, form), places in list(self._expected.items()):
                if places:
                    await self._look(uri, form, places, keys)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, uri: str, form: ListForm, places: set[int], keys: Mapping[str, PublicKey]) -> None:
        address = uri.replace(STATUS_BASE, self._base, 1) + form.value
        status, token = await self._connections.send(http.request("GET", address))
        now = time.perf_counter()
        if status != 200:
            raise Unavailable("LIST_NOT_SERVED", f"{address} was answered with {status}")
        if (uri, form) not in self._read or self._read[uri, form][0] != token:
            self._read[uri, form] = token, _revoked_in(uri, form, token, keys)
        _, is_revoked = self._read[uri, form]
        for index in [index for index in places if is_revoked(index)]:
            places.remove(index)
            self._seen[uri, index] = now  # of the form that says so last


def _revoked_in(uri: str, form: ListForm, token: bytes, keys: Mapping[str, PublicKey]) -> Callable[[int], bool]:
    """Which places a list says are revoked, its signature checked. Of those revoked, suspension's bit is set, too."""
    now = datetime.now(UTC)
    if form.purpose is not None:
        name = form.names(uri)
        listed = verify_credential(token.decode(), uri=name, purpose=form.purpose, find_key=keys.get, now=now)
        return lambda index: is_set(listed.bits, index)
    if form is ListForm.CWT:
        statuses = verify_cwt(token, uri=uri, find_key=keys.get, now=now)
    else:
        statuses = verify_token(token.decode(), uri=uri, find_key=keys.get, now=now)
    return lambda index: statuses.status_at(index) == _REVOKED


# -- HTTP -----------------------------------------------------------------------------------------


async def verify(world: World) -> None:
    """Two verifiers, thirty-two connections; two hundred credentials in turns, all of them valid."""
    credentials = [await world.issue(world.stranger()) for _ in range(world.session.amount(_VERIFIED))]
    await world.settled()
    url = f"{world.stack.http_url('verifier')}/v1/verify"
    headers = {"content-type": "application/json"}
    wires = [
        http.request("POST", url, headers, json.dumps({"credential": credential.artefact}).encode())
        for credential in credentials
    ]
    connections = http.Connections(url)

    async def operation(number: int) -> None:
        status, body = await connections.send(wires[number % len(wires)])
        if status != 200 or not body.startswith(_VALID):
            raise AssertionError(f"{status}: {body[:200]!r}")

    async def all_are_valid() -> bool:
        answers = [await connections.send(wire) for wire in wires]
        return all(body.startswith(_VALID) for _, body in answers)

    async with world.more_verifiers() as workers:
        await until(all_are_valid, _PATIENCE)
        measured, cpu = await world.measured(
            "verify.http",
            lambda seconds: closed(operation, _CONNECTIONS, seconds),
            _SECONDS,
            beside={worker.log_path.stem: worker.pid for worker in workers},
        )
        await connections.close()
    world.session.record(Finding.rate("verify.http", measured, rss_mib=world.rss_mib("verifier"), cpu_ms_per_op=cpu))


async def list_get(world: World) -> None:
    """A whole list each time, over connections that are kept."""
    revoker = _Revoker(world)
    status_list, _ = await revoker.place()
    url = status_list.replace(STATUS_BASE, f"{world.stack.http_url('ledger')}/", 1)
    wire = http.request("GET", url)
    connections = http.Connections(url)

    async def operation(_number: int) -> None:
        status, _body = await connections.send(wire)
        if status != 200:
            raise AssertionError(f"the list was answered with {status}")

    measured, cpu = await world.measured(
        "list.get", lambda seconds: closed(operation, _CONNECTIONS, seconds), _SECONDS / 2
    )
    await connections.close()
    world.session.record(Finding.rate("list.get", measured, rss_mib=world.rss_mib("ledger"), cpu_ms_per_op=cpu))


CASES: Final = (
    Case(("issue.unary.c16",), issue_16),
    Case(("issue.unary.c64",), issue_64),
    Case(("issue.ob3.c16",), issue_badge),
    Case(("issue.batch",), issue_batch),
    Case(("verify.http",), verify),
    Case(("revoke.c16",), revoke),
    Case(("revoke.to_published.p99",), revoke_to_published),
    Case(("revoke.to_published.forms.p99",), revoke_to_published_in_all_forms),
    Case(("revoke.bulk", "revoke.bulk.to_published.p99"), revoke_bulk),
    Case(("revoke.bulk.to_published.forms.p99",), revoke_bulk_in_all_forms),
    Case(("list.get",), list_get),
)
