"""Static copies of lists and checkpoints never go back, whoever is late: in a folder, and in object storage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.ledger.closing import Closing
from services.ledger.keys import ensure_checkpoint
from services.ledger.log_store import queue_leaves
from services.ledger.publication import Publication
from services.ledger.shards import StoredCheckpoint
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import BASE_URL, Ledger, make_ledger, request
from tests.integration.object_storage import s3_bucket, troubled_bucket, unconditional_bucket
from vitne.canonical import from_b64url, sha256
from vitne.clock import Clock, ManualClock
from vitne.credentials import bitstring_status_list, status_list
from vitne.credentials.bitstring_status_list import Purpose
from vitne.credentials.jose import parse_public_jwk, strict_json
from vitne.credentials.list_forms import ListForm
from vitne.credentials.status_list import sign_token
from vitne.credentials.status_list_cwt import sign_cwt, verify_cwt
from vitne.errors import DataLoss, Unavailable
from vitne.merkle.leaves import Issued
from vitne.merkle.notes import Checkpoint, sign_checkpoint
from vitne.merkle.policy import Policy
from vitne.merkle.resources import log_prefix
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.objects import Kind, Objects, Stored
from vitne.runtime.objects.folder import FolderObjects
from vitne.runtime.objects.s3 import PROBE, S3Objects
from vitne.runtime.objects.signature_v4 import Credentials

pytestmark = pytest.mark.schema(MIGRATIONS)

LIST = "2026/no-1"
FILES = ["checkpoint", *(f"{LIST}{form.value}" for form in ListForm)]
ANY = Kind("text/plain", "no-store")


class Ended(BaseException):
    """The process is killed."""


@dataclass
class Slow:
    """A storage on the way to which things happen: ``before`` is awaited before a file is read or written.

    Attributes:
        objects: where files really are.
        before: takes what is done (``read``, ``write``) and the path.
        written: what was written, in its order.
    """

    objects: Objects
    before: Callable[[str, str], Awaitable[None]]
    written: list[str] = field(default_factory=list)

    async def get(self, path: str) -> bytes | None:
        there = await self.read(path)
        return None if there is None else there.data

    async def read(self, path: str) -> Stored | None:
        await self.before("read", path)
        return await self.objects.read(path)

    async def replace(self, path: str, data: bytes, kind: Kind, *, over: str | None) -> str | None:
        await self.before("write", path)
        tag = await self.objects.replace(path, data, kind, over=over)
        if tag is not None:
            self.written.append(path)
        return tag

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        await self.before("write", path)
        await self.objects.put(path, data, kind)
        self.written.append(path)

    async def close(self) -> None:
        await self.objects.close()


class Gate:
    """Holds what is done to one file, once, until it is opened."""

    def __init__(self, done: str, path: str) -> None:
        self._held = (done, path)
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, done: str, path: str) -> None:
        if (done, path) == self._held and not self.reached.is_set():
            self.reached.set()
            await self.opened.wait()


async def nothing(done: str, path: str) -> None:
    """Holds up nothing."""


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


@pytest.fixture(scope="module")
async def bucket(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with s3_bucket(tmp_path_factory.mktemp("s3")) as url:
        yield url


def s3(url: str, clock: Clock) -> S3Objects:
    return S3Objects(url, Credentials("key", "secret", "us-east-1"), clock)


@pytest.fixture(params=["folder", "s3"])
async def objects(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: str, clock: ManualClock
) -> AsyncIterator[Objects]:
    """An empty storage."""
    storage: Objects = FolderObjects(tmp_path / "static")
    if request.param == "s3":
        storage = s3(f"{bucket}/{uuid4()}", clock)
    yield storage
    await storage.close()


async def grow(ledger: Ledger, first: int, count: int) -> None:
    sequencer = ledger.sequencer()
    await sequencer.claim()
    records = [Issued(sha256(b"%d" % number)).to_bytes() for number in range(first, first + count)]
    async with ledger.pool.acquire() as connection, connection.transaction():
        await queue_leaves(connection, records)
    await sequencer.integrate()


async def started(ledger: Ledger) -> list[int]:
    """A log with leaves and a list; answers places of the list."""
    lease = await ledger.lease(20)
    await ledger.publisher.publish_due()
    await grow(ledger, 0, 5)
    return list(lease.indexes)


async def revoke(ledger: Ledger, place: int) -> None:
    """A place is revoked, and a version that shows it published."""
    await ledger.set(request(f"{BASE_URL}/{LIST}", place, Change.REVOKE))
    assert await ledger.publisher.publish_due() == 1


async def revoked(ledger: Ledger, objects: Objects, places: list[int]) -> dict[ListForm, int]:
    """How many of the places the copy of each form shows as revoked."""
    key = parse_public_jwk(ledger.keys.status_list.public_jwk)
    find, now = {key.key_id: key}.get, ledger.clock.now()
    counts: dict[ListForm, int] = {}
    for form in ListForm:
        body = await objects.get(f"{LIST}{form.value}")
        assert body is not None
        if form in (ListForm.JWT, ListForm.CWT):
            uri = f"{BASE_URL}/{LIST}"
            read = (
                verify_cwt(body, uri=uri, find_key=find, now=now)
                if form is ListForm.CWT
                else status_list.verify_token(body.decode(), uri=uri, find_key=find, now=now)
            )
            counts[form] = sum(read.status_at(place) == status_list.INVALID for place in places)
        else:
            claims = strict_json(from_b64url(body.decode().split(".")[1]))
            bits = bitstring_status_list.decode(claims["credentialSubject"]["encodedList"])
            counts[form] = sum(bitstring_status_list.is_set(bits, place) for place in places)
    return counts


async def leaves(ledger: Ledger, objects: Objects) -> int:
    """How many leaves the copy shows."""
    note = await objects.get("checkpoint")
    assert note is not None
    return Policy.of_log(ledger.note_signer.key).open(note).checkpoint.size


def everywhere(count: int) -> dict[ListForm, int]:
    return dict.fromkeys(ListForm, count)


async def test_a_file_is_written_over_what_was_read_and_over_nothing_else(objects: Objects) -> None:
    assert await objects.read("list") is None
    assert await objects.replace("list", b"one", ANY, over="of nothing") is None
    first = await objects.replace("list", b"one", ANY, over=None)
    assert first is not None
    assert await objects.read("list") == Stored(b"one", first)
    assert await objects.replace("list", b"other", ANY, over=None) is None
    second = await objects.replace("list", b"two", ANY, over=first)
    assert second is not None
    assert await objects.replace("list", b"other", ANY, over=first) is None
    assert await objects.read("list") == Stored(b"two", second)


async def test_of_those_who_write_over_the_same_one_wins(objects: Objects) -> None:
    tag = await objects.replace("list", b"read", ANY, over=None)
    tags = await asyncio.gather(*(objects.replace("list", b"%d" % n, ANY, over=tag) for n in range(8)))
    (won,) = [each for each in tags if each is not None]
    assert await objects.read("list") == Stored(b"%d" % tags.index(won), won)


@pytest.mark.parametrize("path", FILES)
async def test_a_write_that_arrives_late_loses(ledger: Ledger, objects: Objects, path: str) -> None:
    places = await started(ledger)
    other = ledger.replica()
    gate = Gate("write", path)
    late = ledger.publication(Slow(objects, gate))
    # It goes on by what it wrote itself, and is held up at that.
    gate.reached.set()
    await late.publish()
    gate.reached.clear()
    await revoke(ledger, places[0])
    await grow(ledger, 5, 5)
    waiting = asyncio.create_task(late.publish())
    await asyncio.wait_for(gate.reached.wait(), 30)
    # Another copier took its place, and had a later version to write: all within a second.
    await other.publisher.publish_due()
    await revoke(other, places[1])
    await grow(other, 10, 5)
    await other.publication(objects).publish()
    assert await revoked(ledger, objects, places) == everywhere(2)
    newest = {file: await objects.get(file) for file in FILES}
    gate.opened.set()
    await waiting
    assert {file: await objects.get(file) for file in FILES} == newest
    # Once it looks again, it goes on with what is there.
    await ledger.publisher.publish_due()
    await late.publish()
    assert {file: await objects.get(file) for file in FILES} == newest
    await revoke(ledger, places[2])
    await grow(ledger, 15, 5)
    await late.publish()
    assert await revoked(ledger, objects, places) == everywhere(3)
    assert await leaves(ledger, objects) >= 20


@pytest.mark.parametrize("done", ["read", "write"])
async def test_who_starts_late_with_the_first_copy_loses_too(ledger: Ledger, objects: Objects, done: str) -> None:
    places = await started(ledger)
    gate = Gate(done, LIST)
    waiting = asyncio.create_task(ledger.publication(Slow(objects, gate)).publish())
    await asyncio.wait_for(gate.reached.wait(), 30)
    other = ledger.replica()
    await other.publisher.publish_due()
    await revoke(other, places[0])
    await other.publication(objects).publish()
    newest = {file: await objects.get(file) for file in FILES}
    gate.opened.set()
    await waiting
    assert {file: await objects.get(file) for file in FILES} == newest


async def test_a_checkpoint_that_is_read_late_is_no_log_that_went_back(ledger: Ledger, objects: Objects) -> None:
    await started(ledger)
    await ledger.publication(objects).publish()
    gate = Gate("read", "checkpoint")
    late = ledger.publication(Slow(objects, gate))
    waiting = asyncio.create_task(late.publish())
    await asyncio.wait_for(gate.reached.wait(), 30)
    await grow(ledger, 5, 5)
    await ledger.replica().publication(objects).publish()
    newest = await objects.get("checkpoint")
    gate.opened.set()
    await waiting
    assert await objects.get("checkpoint") == newest


async def test_a_checkpoint_is_written_after_all_that_it_rests_on(ledger: Ledger, objects: Objects) -> None:
    await started(ledger)
    watched = Slow(objects, nothing)
    for _ in range(2):
        watched.written.clear()
        await ledger.publication(watched).publish()
        files = [path for path in watched.written if not path.startswith(LIST)]
        assert files[-1] == "checkpoint"
        assert {path.split("/")[1] for path in files[:-1]} == {"entries", "0"}
        await grow(ledger, 5, 5)


async def test_who_is_held_up_at_a_tile_does_not_put_an_earlier_checkpoint_back(
    ledger: Ledger, objects: Objects
) -> None:
    await started(ledger)
    await ledger.publication(objects).publish()
    await grow(ledger, 5, 5)
    reached, opened = asyncio.Event(), asyncio.Event()

    async def hold(done: str, path: str) -> None:
        if path.startswith("tile/"):
            reached.set()
            await opened.wait()

    waiting = asyncio.create_task(ledger.publication(Slow(objects, hold)).publish())
    await asyncio.wait_for(reached.wait(), 30)
    other = ledger.replica()
    await grow(other, 10, 5)
    await other.publication(objects).publish()
    newest = await objects.get("checkpoint")
    opened.set()
    await waiting
    assert await objects.get("checkpoint") == newest


async def test_what_is_newer_than_what_is_shown_stays(
    ledger: Ledger, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where witnesses who were silent cosign a checkpoint of before."""
    await started(ledger)
    earlier = await ledger.checkpoints.shown()
    await grow(ledger, 5, 5)
    copier = ledger.publication(objects)
    await copier.publish()
    newest = await objects.get("checkpoint")

    async def shown(_signed: object = None) -> StoredCheckpoint:
        return earlier

    monkeypatch.setattr(ledger.checkpoints, "shown", shown)
    await copier.publish()
    assert await objects.get("checkpoint") == newest


async def test_a_storage_with_another_history_is_told_and_left(ledger: Ledger, objects: Objects) -> None:
    await started(ledger)
    other = Checkpoint(ledger.note_signer.key.name, 2, bytes(32))
    forked = sign_checkpoint(other, ledger.note_signer).encode()
    assert await objects.replace("checkpoint", forked, ANY, over=None)
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        await ledger.publication(objects).publish()
    assert await objects.get("checkpoint") == forked


async def test_two_copiers_at_once_never_let_a_reader_see_less(ledger: Ledger, objects: Objects) -> None:
    places = await started(ledger)
    replicas = [ledger, ledger.replica()]
    chance = Random(45)

    async def jitter(done: str, path: str) -> None:
        await asyncio.sleep(chance.random() / 20)

    slow = Slow(objects, jitter)
    copiers = [replica.publication(slow) for replica in replicas]
    for replica, copier in zip(replicas, copiers, strict=True):
        await replica.publisher.publish_due()
        await copier.publish()
    reading, looks = True, 0

    async def watch() -> None:
        """Reads all the time, and sees no form go back."""
        nonlocal looks
        seen, size = everywhere(0), 0
        while reading:
            now, grown = await revoked(ledger, objects, places), await leaves(ledger, objects)
            assert all(now[form] >= seen[form] for form in ListForm), (seen, now)
            assert grown >= size
            seen, size, looks = now, grown, looks + 1

    async def copy(replica: Ledger, copier: Publication) -> None:
        while reading:
            await replica.publisher.publish_due()
            await copier.publish()

    async with asyncio.TaskGroup() as at_once:
        for each in zip(replicas, copiers, strict=True):
            at_once.create_task(copy(*each))
        at_once.create_task(watch())
        for number, place in enumerate(places[:12]):
            before = looks
            await ledger.set(request(f"{BASE_URL}/{LIST}", place, Change.REVOKE))
            await grow(ledger, 5 + number, 1)
            # However slow the machine is, somebody looks while each is copied.
            while looks < before + 2:
                await asyncio.sleep(0.05)
        reading = False
    for replica, copier in zip(replicas, copiers, strict=True):
        await replica.publisher.publish_due()
        await copier.publish()
    assert await revoked(ledger, objects, places) == everywhere(12)


async def test_a_copier_that_starts_writes_only_what_is_newer(ledger: Ledger, objects: Objects) -> None:
    places = await started(ledger)
    behind = ledger.replica()
    await behind.publisher.publish_due()
    await revoke(ledger, places[0])
    await ledger.publication(objects).publish()
    # One that has not heard of the newest version, and one that is up to date: nothing is written by either.
    for replica in (behind, ledger, ledger.replica()):
        if replica is not behind:
            await replica.publisher.publish_due()
        watched = Slow(objects, nothing)
        await replica.publication(watched).publish()
        assert watched.written == []
        assert await revoked(ledger, objects, places) == everywhere(1)
    await behind.publisher.publish_due()
    await revoke(behind, places[1])
    watched = Slow(objects, nothing)
    await behind.publication(watched).publish()
    assert watched.written == [f"{LIST}{form.value}" for form in ListForm]
    assert await revoked(ledger, objects, places) == everywhere(2)


@pytest.mark.parametrize("written", range(len(ListForm)))
async def test_what_one_that_ended_left_between_two_forms_is_completed(
    ledger: Ledger, objects: Objects, written: int
) -> None:
    places = await started(ledger)
    await ledger.publication(objects).publish()
    await revoke(ledger, places[0])
    forms = [f"{LIST}{form.value}" for form in ListForm]

    async def ends(done: str, path: str) -> None:
        if (done, path) == ("write", forms[written]):
            raise Ended

    mortal = Slow(objects, ends)
    with pytest.raises(Ended):
        await ledger.publication(mortal).publish()
    assert mortal.written == forms[:written]
    assert await revoked(ledger, objects, places) == {form: n < written for n, form in enumerate(ListForm)}
    next_one = ledger.replica()
    await next_one.publisher.publish_due()
    completing = Slow(objects, nothing)
    await next_one.publication(completing).publish()
    assert completing.written == forms[written:]
    assert await revoked(ledger, objects, places) == everywhere(1)
    assert await objects.get(LIST) == ledger.publisher.published()[0].token


async def test_a_clock_that_was_ahead_holds_no_later_version_up(ledger: Ledger, objects: Objects) -> None:
    places = await started(ledger)
    assert isinstance(ledger.clock, ManualClock)
    ledger.clock.advance(timedelta(seconds=50))
    await revoke(ledger, places[0])
    behind = ledger.replica()
    await behind.publisher.publish_due()
    await behind.publication(objects).publish()
    ledger.clock.advance(-timedelta(seconds=50))
    await revoke(ledger, places[1])
    await ledger.publication(objects).publish()
    assert await revoked(ledger, objects, places) == everywhere(2)
    # What is dated later is not later: a copier that has it only does not put it back.
    await behind.publication(objects).publish()
    assert await revoked(ledger, objects, places) == everywhere(2)


@pytest.mark.parametrize("form", ListForm)
async def test_what_is_not_the_ledgers_is_told_and_left_and_holds_up_no_other_list(
    ledger: Ledger, objects: Objects, form: ListForm
) -> None:
    await started(ledger)
    await ledger.lease(country="SE")
    await ledger.publisher.publish_due()
    path = f"{LIST}{form.value}"
    uri = f"{BASE_URL}/{LIST}"
    common: dict[str, Any] = {
        "packed": bytes(250),
        "expires_at": ledger.clock.now() + timedelta(days=2),
        "ttl": timedelta(seconds=10),
        "signer": ledger.keys.status_list,
    }

    def signed(uri: str, ahead: timedelta) -> bytes:
        dated = {**common, "issued_at": ledger.clock.now() + ahead}
        if form is ListForm.CWT:
            return sign_cwt(uri=uri, bits=2, **dated)
        if form is ListForm.JWT:
            return sign_token(uri=uri, bits=2, **dated).encode()
        purpose: Purpose = "revocation" if form is ListForm.REVOCATION else "suspension"
        named = f"{uri}.{purpose}"
        return bitstring_status_list.sign_credential(uri=named, issuer=BASE_URL, purpose=purpose, **dated).encode()

    copier = ledger.publication(objects)
    for anothers, reason in (
        (b"<html>", "COPY_UNREADABLE"),
        (signed(f"{uri}1", timedelta()), "COPY_UNREADABLE"),
        (signed(uri, timedelta(days=1)), "LIST_ROLLED_BACK"),
    ):
        there = await objects.read(path)
        assert await objects.replace(path, anothers, ANY, over=there.tag if there else None)
        for _ in range(2):
            with pytest.raises(DataLoss, match=rf"{reason}: .*; field: {path}; rule: .*; remedy: "):
                await copier.publish()
            assert await objects.get(path) == anothers
        for other in ListForm:
            assert await objects.get(f"2026/se-1{other.value}")
            assert other is form or await objects.get(f"{LIST}{other.value}")
    # One of before that is not known, since the database lost it, stands in nobody's way.
    there = await objects.read(path)
    assert there is not None
    assert await objects.replace(path, signed(uri, -timedelta(minutes=1)), ANY, over=there.tag)
    await copier.publish()
    assert await revoked(ledger, objects, []) == everywhere(0)
    assert await objects.get(LIST) == ledger.publisher.find(f"/{LIST}").token  # type: ignore[union-attr]


@pytest.mark.parametrize("refusal", [None, 501])
async def test_a_storage_that_knows_no_conditions_is_told_once_and_served_all_the_same(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, refusal: int | None
) -> None:
    places = await started(ledger)
    async with unconditional_bucket(refusal) as url:
        objects = s3(url, ledger.clock)
        with caplog.at_level(logging.WARNING):
            copier = ledger.publication(objects)
            await copier.publish()
            await revoke(ledger, places[0])
            await copier.publish()
        assert await revoked(ledger, objects, places) == everywhere(1)
        (told,) = [record.getMessage() for record in caplog.records if "STORAGE_UNCONDITIONAL" in record.getMessage()]
        assert all(part in told for part in ("rule: PUT with If-Match", "remedy: copy to a storage"))
        # What is there is looked at right before the write instead.
        there = await objects.read(LIST)
        assert there is not None
        assert await objects.replace(LIST, b"late", ANY, over="of before") is None
        assert await objects.replace(LIST, b"late", ANY, over=None) is None
        assert await objects.read(LIST) == there
        await objects.close()


async def test_a_storage_that_fails_when_it_is_asked_is_asked_again(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    await started(ledger)
    async with unconditional_bucket(400) as url:
        objects = s3(url, ledger.clock)
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"STORAGE_UNAVAILABLE: .* it answered 400"):
                await ledger.publication(objects).publish()
        await objects.close()
    assert not [record for record in caplog.records if "STORAGE_UNCONDITIONAL" in record.getMessage()]


async def test_a_storage_that_knows_conditions_is_asked_once(
    ledger: Ledger, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    await started(ledger)
    url = f"{bucket}/{uuid4()}"
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            objects = s3(url, ledger.clock)
            await ledger.publication(objects).publish()
            assert await objects.get(PROBE)
            await objects.close()
    assert not [record for record in caplog.records if "STORAGE_UNCONDITIONAL" in record.getMessage()]


async def test_a_storage_in_trouble_for_a_moment_is_asked_again(clock: ManualClock) -> None:
    async with troubled_bucket(2) as url:
        objects = s3(url, clock)
        await objects.put("file", b"1", ANY)
        there = await objects.read("file")
        assert there is not None
        assert there.data == b"1"
        # It was written before the first trouble: asked again, the storage says that the condition no longer holds.
        assert await objects.replace("file", b"2", ANY, over=there.tag) is None
        assert await objects.get("file") == b"2"
        assert await objects.get("nothing") is None
        await objects.close()
    async with troubled_bucket(3) as url:
        objects = s3(url, clock)
        with pytest.raises(Unavailable, match=r"STORAGE_UNAVAILABLE: .* it answered 50"):
            await objects.put("file", b"1", ANY)
        await objects.close()


@pytest.mark.parametrize("how", ["another key", "another log"])
async def test_whoever_sees_a_checkpoint_of_a_later_key_finds_the_statement_that_explains_it(
    ledger: Ledger, objects: Objects, how: str
) -> None:
    await started(ledger)
    slow = Slow(objects, nothing)
    copier = ledger.publication(slow)
    await copier.publish()
    slow.written.clear()
    closing = Closing(ledger.pool, ledger.keys.note_signer, ledger.clock, uuid4)
    origin = ledger.note_signer.key.name
    ensure_checkpoint(FileKeyCustody(ledger.state), 2)
    if how == "another key":
        await closing.rotate(2, compromised=False)
        checkpoint = "checkpoint"
    else:
        await closing.close("log.vitne.example/2027")
        checkpoint = log_prefix("log.vitne.example/2027", origin) + "checkpoint"
    await copier.publish()
    assert slow.written.index("succession/1") < slow.written.index(checkpoint)
    assert await objects.get("succession/1") == (await ledger.store.statements())[0].encode()
    # What this one wrote is not written again.
    await copier.publish()
    assert slow.written.count("succession/1") == 1


@pytest.mark.parametrize("there", [b"<p>", b"", b"log.other\n1\nAAAA\n\n"])
async def test_a_checkpoint_that_is_none_is_left_and_named_and_lists_are_copied_on(
    ledger: Ledger, tmp_path: Path, there: bytes
) -> None:
    """Lists expire within the quarter of an hour: nobody would be told of a revocation, or believed."""
    objects = FolderObjects(tmp_path / "copies")
    places = await started(ledger)
    await ledger.publication(objects).publish()
    (tmp_path / "copies" / "checkpoint").write_bytes(there)
    await revoke(ledger, places[0])
    with pytest.raises(DataLoss, match="COPY_UNREADABLE") as left:
        await ledger.publication(objects).publish()
    assert left.value.field == "checkpoint"
    assert await objects.get("checkpoint") == there
    assert await revoked(ledger, objects, places) == everywhere(1)
