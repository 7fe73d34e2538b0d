"""A log ends with its year and another goes on, a key follows another: nothing is lost, and everybody can follow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from services.ledger import closing as closing_module
from services.ledger.__main__ import main
from services.ledger.closing import BOTH_SIGN, Closing
from services.ledger.keys import LedgerKeys, ensure_checkpoint
from services.ledger.retention import Retention
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from services.ledger.witnesses import Cosigning
from services.ledger.witnesses import Witness as AskedWitness
from services.witness.memory import Memory
from services.witness.pages import build_pages as build_witness_pages
from services.witness.witness import Witness
from tests.integration.ledger_harness import ORIGIN, Ledger, eventually, make_ledger, request, served
from tests.integration.test_ledger_log import claimed, integrated, issued, queue
from tests.integration.test_ledger_restore import reconciliation, restored, told
from tests.unit.log_samples import cosigner
from vitne.clock import ManualClock, SystemClock
from vitne.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from vitne.inspection.published_log import witness_marks
from vitne.merkle.leaves import Closed, ListPublished, parse_leaf
from vitne.merkle.notes import NoteKey, open_note, split_note
from vitne.merkle.policy import Policy, Witnessed
from vitne.merkle.proofs import verify_consistency, verify_inclusion
from vitne.merkle.succession import Lineage, Succession, succession_leaf
from vitne.merkle.tree import CompactTree
from vitne.messaging import topics
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.objects.folder import FolderObjects

pytestmark = pytest.mark.schema(MIGRATIONS)

NEXT = "log.vitne.example/2027"
AFTER = "log.vitne.example/2028"

__all__ = ["restored"]


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    made = await make_ledger(database_dsn, pool, clock, tmp_path)
    for number in (2, 3):
        ensure_checkpoint(made.keys.custody, number)
    return made


def closing(ledger: Ledger) -> Closing:
    return Closing(ledger.pool, ledger.keys.note_signer, ledger.clock, uuid4)


async def integrate(ledger: Ledger) -> None:
    sequencer = await claimed(ledger)
    while await sequencer.integrate():
        pass


async def grown(ledger: Ledger, first: int, count: int) -> None:
    await queue(ledger, issued(first, count))
    await integrate(ledger)


async def policy(ledger: Ledger) -> Policy:
    """What somebody has who knows the first log's key and reads the statements."""
    return Policy.of_log(ledger.note_signer.key).following(await ledger.store.statements())


async def test_a_log_ends_with_its_last_leaf_and_the_next_begins_with_the_statement(ledger: Ledger) -> None:
    await grown(ledger, 0, 600)
    done = await closing(ledger).close(NEXT)
    (statement,) = await ledger.store.statements()
    stated = Succession.parse(split_note(statement)[0])
    assert (done.origin, done.size, done.next_origin, done.before) == (ORIGIN, 601, NEXT, False)
    assert done.verifier_key == stated.key.text
    last, growing = await ledger.store.logs()
    known = await policy(ledger)
    assert known.open(last.note).checkpoint == stated.ended
    assert (growing.size, known.open(growing.note).before) == (1, 601)
    # The first leaf binds the statement, the last one says that the log is closed.
    binding, end = succession_leaf(statement), Closed(ORIGIN, 600)
    assert (await ledger.store.prove_inclusion(binding.leaf_hash())).shard.origin == NEXT
    assert (await ledger.store.prove_inclusion(end.leaf_hash())).leaf_index == 600
    # Leaves that come late, and again, go on in the next log; each is in one log only.
    await grown(ledger, 590, 300)
    assert [(each.shard.origin, each.size) for each in await ledger.store.logs()] == [(ORIGIN, 601), (NEXT, 291)]
    for number in (0, 255, 256, 599, 600, 889):
        (leaf,) = issued(number, 1)
        proof = await ledger.store.prove_inclusion(leaf.leaf_hash())
        checkpoint = known.open(proof.checkpoint).checkpoint
        assert checkpoint.origin == (ORIGIN if number < 600 else NEXT)
        assert proof.leaf_index == (number if number < 600 else number - 599)
        verify_inclusion(
            leaf=leaf.leaf_hash(), index=proof.leaf_index, size=checkpoint.size, path=proof.path, root=checkpoint.root
        )


async def test_each_log_is_consistent_in_itself(ledger: Ledger) -> None:
    await grown(ledger, 0, 300)
    before = await ledger.checkpoint()
    await closing(ledger).close(NEXT)
    await grown(ledger, 300, 700)
    known = await policy(ledger)
    for origin, earlier in ((ORIGIN, before), (NEXT, None)):
        later = known.open((await ledger.store.checkpoint(origin)).note).checkpoint
        size = earlier.size if earlier else 256
        proof = await ledger.store.prove_consistency(size, 0, origin)
        root = earlier.root if earlier else _root(await ledger.pool.fetch(_HASHES, 301, size))
        verify_consistency(from_size=size, to_size=later.size, from_root=root, to_root=later.root, path=proof.path)
    with pytest.raises(NotFound, match="LOG_UNKNOWN"):
        await ledger.store.prove_consistency(1, 2, AFTER)
    with pytest.raises(InvalidArgument, match="TREE_SIZE_UNKNOWN"):
        await ledger.store.prove_consistency(1, 302, ORIGIN)


async def test_closing_again_is_answered_as_the_first_time(ledger: Ledger) -> None:
    await grown(ledger, 0, 3)
    done = await closing(ledger).close(NEXT)
    again = await closing(ledger.replica()).close(NEXT)
    assert again.before
    assert (again.number, again.verifier_key, again.size) == (done.number, done.verifier_key, done.size)
    assert len(await integrated(ledger)) == 5
    await closing(ledger).close(AFTER)
    assert [each.shard.origin for each in await ledger.store.logs()] == [ORIGIN, NEXT, AFTER]
    lineage = Lineage.follow([ledger.note_signer.key], await ledger.store.statements())
    assert lineage.before == {NEXT: 4, AFTER: 6}
    assert [key.name for key in lineage.keys] == [ORIGIN, NEXT, AFTER]


async def test_an_origin_that_can_not_follow_is_refused(ledger: Ledger) -> None:
    await grown(ledger, 0, 3)
    for origin, reason in {
        "https://log.vitne.example/2027": "BAD_LOG_ORIGIN",
        "log.vitne.example/": "BAD_LOG_ORIGIN",
        "2027": "BAD_LOG_ORIGIN",
        ORIGIN: "LOG_ORIGIN_TAKEN",
        "log.other.example/2026": "LOG_ORIGIN_TAKEN",
    }.items():
        with pytest.raises((InvalidArgument, AlreadyExists), match=reason):
            await closing(ledger).close(origin)
    assert [each.size for each in await ledger.store.logs()] == [3]


async def test_without_the_next_key_nothing_happens(
    database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path
) -> None:
    ledger = await make_ledger(database_dsn, pool, clock, tmp_path)
    with pytest.raises(Unavailable, match="LOG_NOT_STARTED"):
        await closing(ledger).close(NEXT)
    await grown(ledger, 0, 3)
    for attempt in (closing(ledger).close(NEXT), closing(ledger).rotate(2, compromised=True)):
        with pytest.raises(Unavailable, match="LOG_KEY_MISSING"):
            await attempt
    assert await ledger.store.statements() == []
    assert [each.size for each in await ledger.store.logs()] == [3]


class Killed(BaseException):
    pass


#: Every step of a closing, with how often it takes it.
STEPS = {
    "extend_log": 2,
    "write_journal": 2,
    "sign_tree": 2,
    "state_succession": 1,
    "keep_statement": 1,
    "end_log": 1,
    "succession_leaf": 1,
}


async def test_with_another_custody_than_the_logs_nothing_happens(ledger: Ledger, tmp_path: Path) -> None:
    """As where next-key was run: nobody could follow a statement of that place's first key."""
    await grown(ledger, 0, 3)
    custody = FileKeyCustody(tmp_path / "other")
    ensure_checkpoint(custody, 2)
    elsewhere = Closing(ledger.pool, LedgerKeys.ensure(custody).note_signer, ledger.clock, uuid4)
    before = await ledger.store.checkpoint()
    for work in (elsewhere.close(NEXT), elsewhere.rotate(2, compromised=False)):
        with pytest.raises(Unavailable, match="LOG_KEY_CHANGED"):
            await work
    await closing(ledger).rotate(2, compromised=False)
    rotated = await ledger.store.checkpoint()
    with pytest.raises(Unavailable, match="LOG_KEY_CHANGED"):
        await elsewhere.rotate(2, compromised=True)
    assert before != rotated == await ledger.store.checkpoint()
    assert len(await ledger.store.statements()) == 1


async def test_whoever_dies_while_closing_has_changed_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    await grown(ledger, 0, 300)
    before = await ledger.store.logs()
    await queue(ledger, issued(300, 5))
    for step, times in STEPS.items():
        for call in range(1, times + 1):
            with monkeypatch.context() as patched:
                patched.setattr(closing_module, step, dies(getattr(closing_module, step), call))
                with pytest.raises(Killed):
                    await closing(ledger).close(NEXT)
            assert await ledger.replica().store.logs() == before
            assert await ledger.store.statements() == []
            assert len(await told(ledger, topics.LEDGER_LOG)) == 1
    assert not (await closing(ledger.replica()).close(NEXT)).before
    await integrate(ledger)
    assert [each.size for each in await ledger.store.logs()] == [301, 6]
    assert (await integrated(ledger))[:300] == [leaf.leaf_hash() for leaf in issued(0, 300)]


def dies(real: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The same, but its n-th call ends as a process does that is killed."""
    calls = count(1)

    def die(*given: Any, **named: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return real(*given, **named)

    return die


async def test_a_sequencer_that_runs_meanwhile_is_fenced_out_and_goes_on_in_the_next_log(ledger: Ledger) -> None:
    sequencer = await claimed(ledger)
    await queue(ledger, issued(0, 10))
    await sequencer.integrate()
    await closing(ledger.replica()).close(NEXT)
    await queue(ledger, issued(10, 10))
    with pytest.raises(Aborted, match="SEQUENCER_FENCED"):
        await sequencer.integrate()
    await sequencer.claim()
    assert await sequencer.integrate() == 10
    assert [each.size for each in await ledger.store.logs()] == [11, 11]


async def test_logs_that_grow_and_end_at_once_lose_and_double_nothing(
    database_dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    ledger = await make_ledger(database_dsn, pool, SystemClock(), tmp_path)
    for number in (2, 3):
        ensure_checkpoint(ledger.keys.custody, number)
    running = [asyncio.create_task(each.sequencer(max_batch=16).run()) for each in (ledger, ledger.replica())]
    try:
        await eventually(lambda: pool.fetchval("SELECT epoch FROM log"))

        async def send() -> None:
            for first in range(0, 400, 20):
                await queue(ledger, issued(first, 20))

        async def end() -> None:
            for origin in (NEXT, AFTER):
                await asyncio.gather(closing(ledger).close(origin), closing(ledger.replica()).close(origin))

        await asyncio.gather(send(), end())
        await eventually(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM queued_leaf)"))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    hashes = await integrated(ledger)
    assert {leaf.leaf_hash() for leaf in issued(0, 400)} <= set(hashes)
    assert len(hashes) == len(set(hashes)) == 400 + 4
    known = await policy(ledger)
    place = 0
    for log in await ledger.store.logs():
        opened = known.open(log.note)
        assert opened.before == place
        assert _root(await pool.fetch(_HASHES, place, log.size)) == opened.checkpoint.root
        place += log.size


async def test_a_list_says_how_many_leaves_of_all_logs_it_shows(ledger: Ledger) -> None:
    await integrate(ledger)
    lease = await ledger.lease(3)
    await ledger.publisher.publish_due()
    await ledger.set(request(lease.list, lease.indexes[0], Change.SUSPEND))
    await integrate(ledger)
    await closing(ledger).close(NEXT)
    assert isinstance(ledger.clock, ManualClock)
    ledger.clock.advance(timedelta(minutes=2))
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    await integrate(ledger)
    await ledger.publisher.publish_due()
    await integrate(ledger)
    records = await ledger.pool.fetch("SELECT record, leaf_index FROM leaf ORDER BY leaf_index")
    leaves = [(row["leaf_index"], parse_leaf(row["record"])) for row in records]
    versions = [(place, leaf.tree_size) for place, leaf in leaves if isinstance(leaf, ListPublished)]
    assert len(versions) == 2
    assert versions[1][1] == versions[1][0] == len(leaves) - 1
    found = await ledger.history.status_at(lease.list, lease.indexes[0])
    assert [proof.proof.split("\n\n")[1].partition("\n")[0] for proof in found.changes] == [ORIGIN, NEXT]


async def test_a_key_follows_another_and_both_sign_for_a_while(ledger: Ledger) -> None:
    await grown(ledger, 0, 10)
    old, new = ledger.note_signer.key, ledger.keys.note_signer(ORIGIN, 2).key
    done = await closing(ledger).rotate(2, compromised=False)
    assert (done.origin, done.next_origin, done.size, done.verifier_key) == (ORIGIN, ORIGIN, 10, new.text)
    assert (await closing(ledger).rotate(2, compromised=False)).before
    await grown(ledger, 10, 10)
    note = (await ledger.store.checkpoint()).note
    assert [set(open_note(note, [key]).signers) for key in (old, new)] == [{old}, {new}]
    assert isinstance(ledger.clock, ManualClock)
    ledger.clock.advance(BOTH_SIGN)
    await grown(ledger, 20, 10)
    note = (await ledger.store.checkpoint()).note
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        open_note(note, [old])
    # Whoever has the old key alone takes the new one by the statement.
    assert (await policy(ledger)).open(note).log == new
    await closing(ledger).close(NEXT)
    assert [each.log.name for each in await _opened(ledger)] == [ORIGIN, NEXT]
    with pytest.raises(FailedPrecondition, match="LOG_KEY_NOT_NEXT"):
        await closing(ledger).rotate(5, compromised=False)


async def test_a_key_that_others_may_know_signs_nothing_more(ledger: Ledger) -> None:
    await grown(ledger, 0, 10)
    old = ledger.note_signer
    await closing(ledger).rotate(2, compromised=False)
    assert open_note((await ledger.store.checkpoint()).note, [old.key])
    await closing(ledger).rotate(2, compromised=True)
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        open_note((await ledger.store.checkpoint()).note, [old.key])
    await grown(ledger, 10, 1)
    await closing(ledger).rotate(3, compromised=True)
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        open_note((await ledger.store.checkpoint()).note, [ledger.keys.note_signer(ORIGIN, 2).key])
    assert len(await _opened(ledger)) == 1


async def test_an_operator_ends_a_log_and_a_key_by_commands(
    ledger: Ledger,
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"VITNE_ENVIRONMENT": "development", "VITNE_DATABASE_DSN": database_dsn}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VITNE_STATE_DIR", str(tmp_path))
    await grown(ledger, 0, 3)

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, list(arguments))
        return code, capsys.readouterr().out

    code, printed = await run("next-key", "--number", "4")
    assert (code, json.loads(printed)[0]["use"]) == (0, "KEY_USE_CHECKPOINT")
    code, printed = await run("rotate-key", "--number", "2")
    assert (code, json.loads(printed)["verifier_key"]) == (0, ledger.keys.note_signer(ORIGIN, 2).key.text)
    for before in (False, True):
        code, printed = await run("close", "--next", NEXT)
        assert (code, json.loads(printed)["next_origin"], json.loads(printed)["before"]) == (0, NEXT, before)
    assert (await run("close", "--next", "https://nowhere.example"))[0] == 1
    assert (await run("rotate-key", "--number", "9"))[0] == 1
    assert [log.shard.origin for log in await ledger.store.logs()] == [ORIGIN, NEXT]


async def test_a_restored_database_gets_the_same_logs_again(ledger: Ledger, restored: Ledger) -> None:
    await grown(ledger, 0, 30)
    await closing(ledger).rotate(2, compromised=False)
    await grown(ledger, 30, 300)
    await closing(ledger).close(NEXT)
    await grown(ledger, 330, 10)
    await reconciliation(restored).run(await told(ledger, topics.LEDGER_STATUS), await told(ledger, topics.LEDGER_LOG))
    assert await restored.store.statements() == await ledger.store.statements()
    assert await integrated(restored) == await integrated(ledger)
    known = await policy(ledger)
    for one, other in zip(await restored.store.logs(), await ledger.store.logs(), strict=True):
        assert (one.shard, one.size) == (other.shard, other.size)
        assert known.open(one.note).checkpoint == known.open(other.note).checkpoint
    await grown(restored, 340, 10)
    assert (await restored.store.checkpoint()).size == 21


async def test_every_log_is_served_under_its_name_and_stays_as_it_was(ledger: Ledger) -> None:
    await grown(ledger, 0, 300)
    async with served(ledger.pages()) as site, aiohttp.ClientSession() as session:

        async def fetched(path: str) -> bytes | None:
            async with session.get(site + path) as answer:
                return await answer.read() if answer.status == 200 else None

        before = [await fetched(path) for path in ("/tile/0/000", "/tile/0/001.p/44")]
        await closing(ledger).close(NEXT)
        await grown(ledger, 300, 300)
        assert [await fetched(path) for path in ("/tile/0/000", "/tile/0/001.p/44")] == before
        known = await policy(ledger)
        sizes = {
            path: known.open(note).checkpoint.size
            for path in ("/checkpoint", "/log/2027/checkpoint")
            if (note := await fetched(path))
        }
        assert sizes == {"/checkpoint": 301, "/log/2027/checkpoint": 301}
        assert await fetched("/succession/1") == (await ledger.store.statements())[0].encode()
        assert len(await fetched("/log/2027/tile/entries/001.p/45") or b"") > 45 * 32
        for path in ("/tile/0/002.p/1", "/log/2026/checkpoint", "/log/2027/tile/0/002.p/1", "/succession/2"):
            assert await fetched(path) is None, path


async def test_the_copies_go_on_with_the_next_log(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    copier = ledger.publication(FolderObjects(folder))
    await grown(ledger, 0, 300)
    await copier.publish()
    await closing(ledger).rotate(2, compromised=True)
    await closing(ledger).close(NEXT)
    await grown(ledger, 300, 10)
    for each in (copier, ledger.replica().publication(FolderObjects(folder))):
        await each.publish()
        known = await policy(ledger)
        assert known.open((folder / "checkpoint").read_bytes()).checkpoint.size == 302
        assert known.open((folder / "log/2027/checkpoint").read_bytes()).checkpoint.size == 11
    assert (folder / "log/2027/tile/0/000.p/11").is_file()
    assert [(folder / f"succession/{number}").read_text() for number in (1, 2)] == await ledger.store.statements()
    await grown(ledger, 310, 1)
    await copier.publish()
    assert known.open((folder / "log/2027/checkpoint").read_bytes()).checkpoint.size == 12


async def test_what_witnesses_cosign_late_takes_nothing_back_that_was_copied(ledger: Ledger, tmp_path: Path) -> None:
    copies = ledger.publication(objects := FolderObjects(tmp_path / "copies"))
    await grown(ledger, 0, 5)
    earlier = await ledger.store.checkpoint()
    await grown(ledger, 5, 5)
    await copies.publish()
    newest = await objects.get("checkpoint")
    await ledger.checkpoints.add(earlier, earlier.note)
    assert (await ledger.checkpoints.shown()).size == 10
    # As a copier of the release before leaves it, while that runs beside this one.
    await ledger.pool.execute("UPDATE shown_checkpoint SET size = 5, note = $1", earlier.note)
    assert (await ledger.checkpoints.shown()).size == 5
    await copies.publish()
    assert await objects.get("checkpoint") == newest


async def test_witnesses_cosign_the_end_of_a_log_and_the_next_once_they_were_given_its_key(
    ledger: Ledger, tmp_path: Path
) -> None:
    first, second = ledger.note_signer.key, ledger.keys.note_signer(NEXT, 2).key
    (leaf,) = issued(0, 1)

    @asynccontextmanager
    async def witness(*keys: NoteKey) -> AsyncIterator[Cosigning]:
        with Memory(tmp_path / "w") as memory:
            async with served(build_witness_pages(Witness(cosigner(0), keys, memory, ledger.clock))) as url:
                asked = [AskedWitness(cosigner(0).key, url)]
                yield Cosigning(ledger.store, ledger.checkpoints, asked, 1, ledger.clock)

    await grown(ledger, 0, 10)
    async with witness(first) as cosigning:
        assert await cosigning.cosign_due()
        await closing(ledger).close(NEXT)
        assert not await cosigning.cosign_due()  # it takes the end of the old log, and does not know the next one
        proof = await ledger.history.prove_witnessed(leaf.leaf_hash())
        assert (proof.tree_size, proof.shard.origin) == (11, ORIGIN)
        with pytest.raises(Unavailable, match="NOT_WITNESSED"):
            await ledger.history.newest_witnessed()
        assert (await ledger.history.newest_witnessed(ORIGIN)).size == 11
    async with witness(first, second) as cosigning:
        assert await cosigning.cosign_due()
        assert (await ledger.history.newest_witnessed()).size == 1
        assert await cosigning.cosign_due()
    assert await ledger.pool.fetchval("SELECT count(*) FROM witnessed_checkpoint") == 3
    # What is old is thinned out, but for what alone has all of a log.
    assert isinstance(ledger.clock, ManualClock)
    ledger.clock.advance(timedelta(hours=2))
    await Retention(ledger.pool, ledger.clock).drop_due()
    kept = await ledger.pool.fetch("SELECT shard, size FROM witnessed_checkpoint ORDER BY cosigned")
    assert [tuple(row) for row in kept] == [(1, 10), (1, 11), (2, 1)]


async def test_a_witness_that_was_not_told_of_the_new_key_is_named_with_what_it_has_to_be_told(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = ledger.note_signer.key, ledger.keys.note_signer(ORIGIN, 2).key

    @asynccontextmanager
    async def witness(*keys: NoteKey) -> AsyncIterator[tuple[Cosigning, Callable[[], Awaitable[list[str]]]]]:
        """What has it cosign, and why an auditor says that it is silent."""
        statements = await ledger.store.statements() if len(keys) > 1 else ()
        with Memory(tmp_path / "w") as memory:
            pages = build_witness_pages(Witness(cosigner(0), keys, memory, ledger.clock, statements))
            async with served(pages) as url, aiohttp.ClientSession() as session:
                own = Policy.parse(f"log {first.text}\nwitness w {cosigner(0).key.text} {url}\nquorum w\n")

                async def silent() -> list[str]:
                    known = own.following(await ledger.store.statements())
                    return list((await witness_marks(session, known))[1].values())

                asked = [AskedWitness(cosigner(0).key, url)]
                yield Cosigning(ledger.store, ledger.checkpoints, asked, 1, ledger.clock), silent

    await grown(ledger, 0, 10)
    async with witness(first) as (cosigning, silent):
        assert await cosigning.cosign_due()
        assert await silent() == []
        await closing(ledger).rotate(2, compromised=True)
        assert not await cosigning.cosign_due()
        assert "--succession" in caplog.text, "the ledger's own log says what to do"
        (why,) = await silent()
        assert "LOG_KEY_ENDED" in why
        assert f"--log {second.text}" in why
    async with witness(first, second) as (cosigning, silent):
        assert await cosigning.cosign_due()
        assert await silent() == []


async def _opened(ledger: Ledger) -> list[Witnessed]:
    known = await policy(ledger)
    return [known.open(log.note) for log in await ledger.store.logs()]


_HASHES = "SELECT hash FROM leaf WHERE leaf_index >= $1 AND leaf_index < $1::bigint + $2::bigint ORDER BY leaf_index"


def _root(rows: list[Any]) -> bytes:
    tree = CompactTree()
    for row in rows:
        tree.append(row["hash"])
    return tree.root()
