"""The log as others read it: static files on disk and in object storage, witnesses over HTTP, statuses of the past."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from services.ledger.log_store import queue_leaves
from services.ledger.publication import CHECKPOINT
from services.ledger.rpc import LedgerRpc
from services.ledger.transitions import Change, Status
from services.ledger.wiring import MIGRATIONS
from services.ledger.witnesses import Cosigning
from services.ledger.witnesses import Witness as AskedWitness
from services.verifier.collect import ask_status
from services.witness.memory import Memory, origin_hash
from services.witness.pages import build_pages
from services.witness.witness import Witness
from tests.integration.ledger_harness import ORIGIN, Ledger, make_ledger, request, served
from tests.integration.object_storage import s3_bucket
from tests.unit.declared_metrics import samples
from tests.unit.log_samples import SampleLog, cosigner
from vitne.audit.log_walk import LogWalk
from vitne.audit.status_evidence import LoggedList, StatusEvidence, verify_status
from vitne.canonical import from_b64url, instant_text, sha256
from vitne.clock import ManualClock
from vitne.credentials.bitstring_status_list import decode, is_set
from vitne.credentials.jose import parse_public_jwk, strict_json
from vitne.credentials.list_forms import ListForm
from vitne.credentials.model import StatusReference
from vitne.credentials.status_list_cwt import MEDIA_TYPE as CWT
from vitne.credentials.status_list_cwt import verify_cwt
from vitne.dev.ports import LOOPBACK
from vitne.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from vitne.inspection.published_log import over_http, walk_on, witness_marks
from vitne.merkle.cosignatures import cosign, cosignatures
from vitne.merkle.leaves import Issued
from vitne.merkle.policy import Policy
from vitne.runtime.objects import Kind
from vitne.runtime.objects.folder import FolderObjects
from vitne.runtime.objects.s3 import S3Objects
from vitne.runtime.objects.signature_v4 import Credentials, signed_headers
from vitne_api.ledger.v1 import ledger_pb2

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


async def grow(ledger: Ledger, first: int, count: int) -> None:
    sequencer = ledger.sequencer()
    await sequencer.claim()
    records = [Issued(sha256(b"%d" % number)).to_bytes() for number in range(first, first + count)]
    async with ledger.pool.acquire() as connection, connection.transaction():
        await queue_leaves(connection, records)
    await sequencer.integrate()


@pytest.fixture(scope="module")
async def bucket(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Address of an empty bucket of a real S3 server."""
    async with s3_bucket(tmp_path_factory.mktemp("s3")) as url:
        yield url


async def walked(url: str, ledger: Ledger) -> LogWalk:
    walk = LogWalk()
    async with aiohttp.ClientSession() as session:
        await walk_on(over_http(session, url), Policy.of_log(ledger.note_signer.key), walk)
    assert walk.finish() == []
    return walk


async def test_the_ledger_serves_its_log(ledger: Ledger) -> None:
    await grow(ledger, 0, 300)
    async with served(ledger.pages()) as site, aiohttp.ClientSession() as session:
        assert (await walked(site, ledger)).size == 300
        async with session.get(f"{site}/tile/0/000") as answer:
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert len(await answer.read()) == 8192
        async with session.get(f"{site}/checkpoint") as answer:
            assert (answer.headers["Cache-Control"], answer.headers["Content-Type"]) == (
                "max-age=1",
                "text/plain; charset=utf-8",
            )
        for path in ("tile/0/001", "tile/0/001.p/45", "tile/entries/001.p/45", "tile/3/000.p/1", "tile/0/1", "tile/x"):
            async with session.get(f"{site}/{path}") as answer:
                assert answer.status == 404, path
                # What is to come is told apart from what never will be.
                told = "not the path of a tile" if path in ("tile/0/1", "tile/x") else "has not come so far"
                assert told in await answer.text(), path


async def test_static_files_on_disk_follow_the_log_and_take_nothing_back(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "static"
    await ledger.lease()
    await ledger.publisher.publish_due()
    await grow(ledger, 0, 300)
    await ledger.publication(FolderObjects(folder)).publish()
    before = {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("0*") if path.is_file()}
    await grow(ledger, 300, 300)
    # Another process goes on from what is there, and writes no full tile again.
    await ledger.publication(FolderObjects(folder)).publish()

    async def fetch(path: str) -> bytes | None:
        return await FolderObjects(folder).get(path)

    walk = LogWalk()
    await walk_on(fetch, Policy.of_log(ledger.note_signer.key), walk)
    assert (walk.finish(), walk.size >= 600) == ([], True)
    assert {path: (folder / path).stat().st_mtime_ns for path in before} == before
    newest = ledger.publisher.published()[0]
    assert await fetch(newest.path[1:]) == newest.token
    assert {path.name for path in (folder / "2026").iterdir()} == {
        "no-1",
        "no-1.cwt",
        "no-1.revocation",
        "no-1.suspension",
    }

    # Restored to an earlier instant, and not reconciled.
    earlier = SampleLog(ledger.note_signer).append([b"x"] * 300)
    await ledger.pool.execute("UPDATE log SET size = 300, checkpoint = $1", earlier.note())
    with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
        await ledger.publication(FolderObjects(folder)).publish()
    assert (await fetch("checkpoint") or b"").split(b"\n")[1] != b"300"


async def test_an_earlier_checkpoint_that_another_copier_put_back_is_replaced_on_a_log_at_rest(
    ledger: Ledger, tmp_path: Path
) -> None:
    objects = FolderObjects(tmp_path / "static")
    copier = ledger.publication(objects)
    await grow(ledger, 0, 10)
    await copier.publish()
    earlier = await objects.get("checkpoint")
    await grow(ledger, 10, 10)
    await copier.publish()
    newest = await objects.get("checkpoint")
    assert earlier is not None
    assert newest != earlier
    await objects.put("checkpoint", earlier, CHECKPOINT)
    await copier.publish()
    assert await objects.get("checkpoint") == newest


class Watched(FolderObjects):
    """Notices how many files are written at a time, and which at the end of all others.

    The first of a group (what a path begins with) are held up until as many are there as are to be ``together``: that
    a file is written in no time would hide it.
    """

    def __init__(self, folder: Path, together: Mapping[str, int]) -> None:
        super().__init__(folder)
        self._together = together
        self._full = {group: asyncio.Event() for group in together}
        self.writing: set[str] = set()
        self.most: dict[str, int] = {}
        self.alone: set[str] = set()
        self.written: list[str] = []

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        async with self._watched(path):
            await super().put(path, data, kind)

    async def replace(self, path: str, data: bytes, kind: Kind, *, over: str | None) -> str | None:
        async with self._watched(path):
            return await super().replace(path, data, kind, over=over)

    @asynccontextmanager
    async def _watched(self, path: str) -> AsyncIterator[None]:
        self.writing.add(path)
        group = path.partition("/")[0]
        self.most[group] = max(self.most.get(group, 0), len(self.writing))
        if group in self._together:
            if len(self.writing) >= self._together[group]:
                self._full[group].set()
            await asyncio.wait_for(self._full[group].wait(), 60)
        yield
        self.written.append(path)
        self.writing.remove(path)
        if not self.writing and self.most[group] == 1:
            self.alone.add(path)


async def test_files_are_written_at_once_and_the_checkpoint_when_all_that_it_rests_on_is_there(
    ledger: Ledger, tmp_path: Path
) -> None:
    for country in ("NO", "SE", "DK"):
        await ledger.lease(country=country)
    await ledger.publisher.publish_due()
    await grow(ledger, 0, 1100)
    objects = Watched(tmp_path / "static", {"tile": 4, "2026": 3})
    await ledger.publication(objects).publish()
    assert objects.most["tile"] >= 4
    assert objects.most["2026"] == 3, "a form of each list"
    for name in ("no-1", "se-1", "dk-1"):
        written = [path for path in objects.written if path.startswith(f"2026/{name}")]
        assert written == [f"2026/{name}{form.value}" for form in ListForm]
    assert "checkpoint" in objects.alone


async def test_static_files_in_object_storage(ledger: Ledger, bucket: str) -> None:
    await grow(ledger, 0, 300)
    credentials = Credentials("key", "secret", "us-east-1")
    objects = S3Objects(f"{bucket}/a/log", credentials, ledger.clock)
    try:
        assert await objects.get("checkpoint") is None
        await ledger.publication(objects).publish()
        walk = LogWalk()
        await walk_on(objects.get, Policy.of_log(ledger.note_signer.key), walk)
        assert (walk.finish(), walk.size) == ([], 300)
        url = f"{bucket}/a/log/tile/0/000"
        signed = signed_headers("GET", url, {}, b"", credentials=credentials, now=ledger.clock.now())
        async with aiohttp.ClientSession() as session, session.get(url, headers=signed) as answer:
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["Content-Type"] == "application/octet-stream"
    finally:
        await objects.close()
    gone = S3Objects(f"http://{LOOPBACK}:1/log", credentials, ledger.clock)
    with pytest.raises(Unavailable, match="STORAGE_UNAVAILABLE"):
        await gone.get("checkpoint")
    await gone.close()


async def test_witnesses_cosign_and_are_not_fooled(ledger: Ledger, tmp_path: Path) -> None:
    signer = ledger.note_signer
    await grow(ledger, 0, 100)
    folders = [tmp_path / f"w{number}" for number in range(2)]
    with Memory(folders[0]) as first, Memory(folders[1]) as second:
        with pytest.raises(FailedPrecondition, match="WITNESS_RUNNING"):
            Memory(folders[0]).__enter__()
        apps = [
            build_pages(Witness(cosigner(number), [signer.key], memory, ledger.clock))
            for number, memory in enumerate((first, second))
        ]
        async with served(apps[0]) as one, served(apps[1]) as other, aiohttp.ClientSession() as session:
            lines = [f"witness w{number} {cosigner(number).key.text} {url}" for number, url in enumerate((one, other))]
            policy = Policy.parse("\n".join([f"log {signer.key.text}", *lines, "group g 2 w0 w1", "quorum g"]))
            asked = [AskedWitness(cosigner(number).key, url) for number, url in enumerate((one, other))]
            cosigning = Cosigning(ledger.store, ledger.checkpoints, asked, 2, ledger.clock)
            assert await cosigning.cosign_due()
            seen = policy.open((await ledger.checkpoints.shown()).note)
            assert (seen.checkpoint.size, seen.seen) == (100, ledger.clock.now())
            assert [mark.checkpoint.size for mark in (await witness_marks(session, policy))[0]] == [100, 100]

            await grow(ledger, 100, 200)
            assert await cosigning.cosign_due()
            assert policy.open((await ledger.checkpoints.shown()).note).checkpoint.size == 300
            # A ledger that has forgotten what it was told finds it out again.
            anew = [AskedWitness(each.key, each.url) for each in asked]
            assert isinstance(ledger.clock, ManualClock)
            ledger.clock.advance(timedelta(minutes=2))
            assert await Cosigning(ledger.store, ledger.checkpoints, anew, 2, ledger.clock).cosign_due()
            assert [each.sizes for each in anew] == [{1: 300}, {1: 300}]
            proof = await ledger.history.prove_witnessed(Issued(sha256(b"7")).leaf_hash())
            assert policy.open(proof.checkpoint).checkpoint.size == proof.tree_size == 300
            # By when a leaf was there for certain: the first that has it, with the time of then.
            earliest = await ledger.history.prove_witnessed(Issued(sha256(b"7")).leaf_hash(), first=True)
            assert (earliest.tree_size, policy.open(earliest.checkpoint).seen) == (100, seen.seen)

            # A log that shows another history, or an earlier one, gets no line; what was witnessed stays.
            fork = SampleLog(signer).append([b"another"] * 1).append(b"%d" % number for number in range(399))
            body = f"old 300\n\n{fork.note(400)}".encode()
            async with session.post(f"{one}/add-checkpoint", data=body) as answer:
                assert answer.status == 422
            async with session.post(f"{one}/add-checkpoint", data=b"old 0\n\n" + fork.note(400).encode()) as answer:
                # The header as it is: other clients compare it as a whole.
                assert (answer.status, answer.headers["Content-Type"]) == (409, "text/x.tlog.size")
                assert await answer.text() == "300\n"
            stranger = SampleLog().note()
            unknown = f"old 0\n\n{stranger.replace(ORIGIN, 'x')}"
            for status, sent in ((403, f"old 300\n\n{stranger}"), (400, "old"), (404, unknown)):
                async with session.post(f"{one}/add-checkpoint", data=sent.encode()) as answer:
                    assert answer.status == status
            async with session.get(f"{one}/{origin_hash(ORIGIN)}/checkpoint") as answer:
                alone = Policy.parse(f"log {signer.key.text}\nwitness w {cosigner(0).key.text}\nquorum w")
                assert alone.open(await answer.read()).checkpoint.size == 300
            async with session.get(f"{one}/{origin_hash('other')}/checkpoint") as answer:
                assert answer.status == 404
            await ledger.pool.execute("UPDATE log SET size = 200, checkpoint = $1", SampleLog(signer).note())
            ledger.clock.advance(timedelta(minutes=2))
            assert not await cosigning.cosign_due()
    # Without witnesses that answer, fresh is shown rather than cosigned.
    assert (await ledger.checkpoints.shown()).size == 200
    with Memory(folders[0]) as again:
        remembered = again.last(ORIGIN)
        assert remembered is not None
        assert remembered.size == 300


async def test_a_ledgers_clock_that_went_ahead_and_back_neither_ends_cosigning_nor_makes_old_checkpoints_fresh(
    ledger: Ledger, tmp_path: Path
) -> None:
    assert isinstance(ledger.clock, ManualClock)
    await grow(ledger, 0, 100)
    theirs = ManualClock(ledger.clock.now())
    with Memory(tmp_path / "w") as memory:
        app = build_pages(Witness(cosigner(0), [ledger.note_signer.key], memory, theirs))
        async with served(app) as url:
            asked = [AskedWitness(cosigner(0).key, url)]
            cosigning = Cosigning(ledger.store, ledger.checkpoints, asked, 1, ledger.clock)
            ledger.clock.adjust(timedelta(days=1))
            assert await cosigning.cosign_due()
            ledger.clock.adjust(-timedelta(days=1))
            # The log is at rest: what relying parties hold to is the time of the last cosignature, of each minute.
            for _ in range(300):
                for each in (ledger.clock, theirs):
                    each.advance(timedelta(seconds=1))
                assert await cosigning.cosign_due()
            assert await ledger.pool.fetchval("SELECT count(*) FROM witnessed_checkpoint") == 6
            policy = Policy.parse(f"log {ledger.note_signer.key.text}\nwitness w {cosigner(0).key.text}\nquorum w")
            assert policy.open((await ledger.checkpoints.shown()).note).seen == theirs.now()
    await grow(ledger, 100, 50)
    assert (await ledger.checkpoints.shown()).size == 100
    ledger.clock.advance(timedelta(minutes=2))
    # The witness is gone: what it said of 100 is not shown for a day, and that it is gone is told.
    assert (await ledger.checkpoints.shown()).size == 150
    ledger.clock.advance(timedelta(minutes=58))
    assert not await cosigning.cosign_due()
    (cosigned_at,) = samples("vitne_log_witnessed_seconds").values()
    assert ledger.clock.now().timestamp() - cosigned_at == 3600


async def test_when_witnesses_are_back_nobody_is_shown_less_than_before(ledger: Ledger, tmp_path: Path) -> None:
    """What only the log had signed was shown; what was cosigned on its way from before is less."""
    assert isinstance(ledger.clock, ManualClock)
    await grow(ledger, 0, 100)
    with Memory(tmp_path / "w") as memory:
        async with served(build_pages(Witness(cosigner(0), [ledger.note_signer.key], memory, ledger.clock))) as url:
            asked = [AskedWitness(cosigner(0).key, url)]
            cosigning = Cosigning(ledger.store, ledger.checkpoints, asked, 1, ledger.clock)

            async def shown() -> tuple[int, bool]:
                note = (await ledger.checkpoints.shown()).note
                return int(note.split("\n")[1]), bool(cosignatures(note, [cosigner(0).key]))

            await grow(ledger, 100, 10)
            assert await cosigning.cosign_due()
            await grow(ledger, 200, 10)
            on_its_way = await ledger.store.checkpoint()
            assert await shown() == (110, True)
            ledger.clock.advance(timedelta(seconds=11))
            await grow(ledger, 300, 10)
            assert await shown() == (130, False)
            await ledger.checkpoints.add(on_its_way, on_its_way.note)
            assert await shown() == (130, False)
            await grow(ledger, 400, 10)
            assert await shown() == (130, False)  # nor does it run ahead of the next that is cosigned
            ledger.clock.advance(timedelta(seconds=1))
            assert await cosigning.cosign_due()
            assert await shown() == (140, True)
            # As ever: what is cosigned a second later is shown, though the log has grown.
            newest = await ledger.store.checkpoint()
            await grow(ledger, 500, 10)
            ledger.clock.advance(timedelta(seconds=1))
            await ledger.checkpoints.add(newest, newest.note)
            assert (await shown())[0] == 140


async def test_a_log_that_grows_after_a_rest_shows_what_was_cosigned_until_more_is(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Whoever demands witnesses would be shown nothing that counts, each time that something is issued."""
    assert isinstance(ledger.clock, ManualClock)
    await grow(ledger, 0, 100)
    with Memory(tmp_path / "w") as memory:
        async with served(build_pages(Witness(cosigner(0), [ledger.note_signer.key], memory, ledger.clock))) as url:
            asked = [AskedWitness(cosigner(0).key, url)]
            cosigning = Cosigning(ledger.store, ledger.checkpoints, asked, 1, ledger.clock)
            policy = Policy.parse(f"log {ledger.note_signer.key.text}\nwitness w {cosigner(0).key.text}\nquorum w")
            assert await cosigning.cosign_due()
            ledger.clock.advance(timedelta(seconds=50))
            await grow(ledger, 100, 10)
            on_its_way = await ledger.store.checkpoint()
            await grow(ledger, 200, 10)
            assert policy.open((await ledger.checkpoints.shown()).note).checkpoint.size == 100
            ledger.clock.advance(timedelta(seconds=1))
            line = cosign(on_its_way.note.partition("\n\n")[0] + "\n", cosigner(0), ledger.clock.now())
            await ledger.checkpoints.add(on_its_way, on_its_way.note + line)
            assert policy.open((await ledger.checkpoints.shown()).note).checkpoint.size == 110
            # Whoever stays silent is waited for as long as ever.
            ledger.clock.advance(timedelta(seconds=11))
            assert (await ledger.checkpoints.shown()).size == 120


class Answering:
    """The ledger's service, as who is answered by it calls it."""

    def __init__(self, ledger: Ledger) -> None:
        async def unasked(*_arguments: Any) -> Any:
            raise AssertionError("only what was is asked")

        self._rpc = LedgerRpc(
            pool=ledger.pool,
            leases=ledger.leases,
            set_status=unasked,
            set_statuses=unasked,
            store=ledger.store,
            clock=ledger.clock,
            publisher=ledger.publisher,
            history=ledger.history,
        )

    async def StatusAt(self, request: ledger_pb2.StatusAtRequest, timeout: float) -> Any:  # noqa: N802 - gRPC's names
        return await self._rpc.StatusAt(request, None)


async def test_a_status_of_the_past_is_checked_by_others(ledger: Ledger) -> None:
    assert isinstance(ledger.clock, ManualClock)
    sequencer = ledger.sequencer()
    await sequencer.claim()
    lease = await ledger.lease()
    place = lease.indexes[0]
    instants = [ledger.clock.now()]
    for change in (None, Change.SUSPEND, Change.REINSTATE, Change.REVOKE):
        if change is not None:
            await ledger.set(request(lease.list, place, change))
        instants.append(ledger.clock.now())
        await ledger.publisher.publish_due()
        ledger.clock.advance(timedelta(minutes=2))
        await ledger.publisher.publish_due()
        await sequencer.integrate()
    key = parse_public_jwk(ledger.keys.status_list.public_jwk)
    policy = Policy.of_log(ledger.note_signer.key)

    async def ask(at: int, known: int, index: int = place) -> tuple[str, StatusEvidence]:
        known_at = instants[known] + timedelta(minutes=1)
        at_ = instants[at] + timedelta(seconds=30)
        found = await ledger.history.status_at(lease.list, index, at=at_, known_at=known_at)
        reference = StatusReference(lease.list, index)
        evidence, said_at, said_known = await ask_status(Answering(ledger), reference, at=at_, known_at=known_at)
        assert (said_at, said_known) == (at_, known_at)
        read = StatusEvidence.from_json(evidence.to_json())
        assert read == evidence
        proved = verify_status(read, at=at_, known_at=known_at, find_key={key.key_id: key}.get, policy=policy)
        assert proved.status == found.status.name.lower()
        assert proved.then.issued_at <= at_
        return proved.status, evidence

    # Instants 1 to 4: untouched, suspended, valid again, revoked; asked as known then, and as known at the end.
    for known in (None, 4):
        told = [(await ask(at, known or at))[0] for at in (1, 2, 3, 4)]
        assert told == ["valid", "suspended", "valid", "revoked"]
    assert (await ask(4, 4, index=(place + 1) % 1000))[0] == "valid"

    _, evidence = await ask(4, 4)
    known_at = instants[4] + timedelta(minutes=1)
    withheld = StatusEvidence(evidence.list_url, place, evidence.token, evidence.list_leaf, evidence.changes[:-1])
    _, earlier = await ask(1, 1)
    swapped = StatusEvidence(evidence.list_url, place, earlier.token, evidence.list_leaf, evidence.changes)
    moved = StatusEvidence(evidence.list_url, place + 1, evidence.token, evidence.list_leaf, evidence.changes)
    for spoiled in (withheld, swapped, moved):
        with pytest.raises((InvalidArgument, Unavailable), match=r"STATUS_NOT_PROVED|STATUS_LIST_STALE"):
            verify_status(spoiled, at=known_at, known_at=known_at, find_key={key.key_id: key}.get, policy=policy)
    # A suspension that had ended is not left out, nor cut at either end: the list of then told of it.
    _, evidence = await ask(2, 4)
    assert evidence.then is not None
    during, known_at = instants[2] + timedelta(seconds=30), instants[4] + timedelta(minutes=1)
    _, of_before = await ask(1, 4)
    for spoiled in (
        replace(evidence, changes=evidence.changes[2:]),
        replace(evidence, changes=evidence.changes[1:]),
        replace(evidence, changes=[evidence.changes[2], evidence.changes[2]]),
        replace(evidence, changes=evidence.changes[2:], then=None),
        replace(evidence, then=None),
        replace(evidence, changes=evidence.changes[2:], then=LoggedList(evidence.token, evidence.list_leaf)),
        replace(evidence, then=LoggedList(of_before.then.token, evidence.then.leaf) if of_before.then else None),
    ):
        with pytest.raises((InvalidArgument, Unavailable), match=r"STATUS_NOT_PROVED|STATUS_LIST_FUTURE"):
            verify_status(spoiled, at=during, known_at=known_at, find_key={key.key_id: key}.get, policy=policy)
    for at, known, reason in (
        (5, 0, "AT_IN_FUTURE"),
        (-5, -6, "AT_AFTER_KNOWN"),
        (-5, 60, "KNOWN_IN_FUTURE"),
        (-60, -30, "STATUS_NOT_KEPT"),
    ):
        now = ledger.clock.now()
        with pytest.raises((InvalidArgument, NotFound), match=reason):
            await ledger.history.status_at(
                lease.list, place, at=now + timedelta(minutes=at), known_at=now + timedelta(minutes=known)
            )


async def test_what_a_clock_recorded_that_was_ahead_is_proved_once_that_time_is_past(ledger: Ledger) -> None:
    assert isinstance(ledger.clock, ManualClock)
    sequencer = ledger.sequencer()
    await sequencer.claim()
    lease = await ledger.lease()
    place, other = lease.indexes[:2]
    ledger.clock.advance(timedelta(hours=1))
    await ledger.set(request(lease.list, place, Change.REVOKE))
    ahead = ledger.clock.now()
    ledger.clock.advance(-timedelta(hours=1) + timedelta(minutes=2))
    await ledger.publisher.publish_due()
    await sequencer.integrate()
    with pytest.raises(Unavailable, match=f"RECORDED_AHEAD.* {instant_text(ahead)}") as refused:
        await ledger.history.status_at(lease.list, place)
    assert refused.value.remedy == f"ask for {instant_text(ahead)} or later, once it is past"
    assert (await ledger.history.status_at(lease.list, other)).status is Status.VALID
    ledger.clock.advance(timedelta(hours=1))
    await ledger.publisher.publish_due()
    await sequencer.integrate()
    assert (await ledger.history.status_at(lease.list, place)).status is Status.REVOKED


async def test_of_a_list_that_began_while_a_clock_was_ahead_nobody_is_told_that_it_stays_without_history(
    ledger: Ledger,
) -> None:
    assert isinstance(ledger.clock, ManualClock)
    sequencer = ledger.sequencer()
    await sequencer.claim()
    ledger.clock.advance(timedelta(hours=1))
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    ledger.clock.advance(-timedelta(hours=1))
    await sequencer.integrate()
    began = ledger.clock.now()
    with pytest.raises(Unavailable, match="STATUS_NOT_PROVABLE"):
        await ledger.history.status_at(lease.list, lease.indexes[0])
    ledger.clock.advance(timedelta(minutes=2))
    await ledger.publisher.publish_due()
    await sequencer.integrate()
    assert (await ledger.history.status_at(lease.list, lease.indexes[0])).status is Status.VALID
    with pytest.raises(NotFound, match="STATUS_NOT_KEPT"):
        await ledger.history.status_at(lease.list, lease.indexes[0], at=began)


async def test_a_list_in_the_forms_of_others(ledger: Ledger) -> None:
    lease = await ledger.lease()
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    await ledger.set(request(lease.list, lease.indexes[1], Change.SUSPEND))
    await ledger.publisher.publish_due()
    key = parse_public_jwk(ledger.keys.status_list.public_jwk)
    async with served(ledger.pages()) as site, aiohttp.ClientSession() as session:
        url = f"{site}/2026/no-1"
        async with session.get(url, headers={"Accept": f"{CWT}, application/statuslist+jwt;q=0.5"}) as answer:
            assert (answer.content_type, answer.headers["Vary"]) == (CWT, "Accept, Accept-Encoding")
            cwt, etag = await answer.read(), answer.headers["ETag"]
        listed = verify_cwt(cwt, uri=lease.list, find_key={key.key_id: key}.get, now=ledger.clock.now())
        assert [listed.status_at(index) for index in lease.indexes[:3]] == [1, 2, 0]
        async with session.get(f"{url}.cwt", headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
        for purpose, expected in (("revocation", [True, False, False]), ("suspension", [True, True, False])):
            async with session.get(f"{url}.{purpose}") as answer:
                assert answer.content_type == "application/vc+jwt"
                token = (await answer.read()).decode()
            claims = strict_json(from_b64url(token.split(".")[1]))
            subject = claims["credentialSubject"]
            assert (claims["id"], subject["statusPurpose"]) == (f"{lease.list}.{purpose}", purpose)
            assert subject["ttl"] == 10_000
            bits = decode(subject["encodedList"])
            assert [is_set(bits, index) for index in lease.indexes[:3]] == expected
        async with session.get(f"{url}.other") as answer:
            assert answer.status == 404
