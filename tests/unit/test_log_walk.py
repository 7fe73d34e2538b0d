"""An auditor finds what was planted in a published log (issue: changed, dropped, reordered, rolled back, forked)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.unit.log_samples import ORIGIN, T0, SampleLog, note_signer
from vitne.audit.agreement import Disagreement
from vitne.audit.log_contents import SeenList
from vitne.audit.log_walk import LogWalk, Mark
from vitne.canonical import sha256
from vitne.errors import Unavailable
from vitne.inspection.published_log import walk_on
from vitne.merkle.leaves import Closed, Issued, ListPublished, StatusChanged, StatusName
from vitne.merkle.notes import Checkpoint
from vitne.merkle.resources import CHECKPOINT_PATH, Resource

LIST = "https://status.vitne.example/2026/no-1"


def issuances(first: int, count: int) -> list[bytes]:
    return [Issued(sha256(b"%d" % number)).to_bytes() for number in range(first, first + count)]


def change(index: int, status: StatusName, seconds: float = 0) -> StatusChanged:
    moment = T0 + timedelta(seconds=seconds)
    return StatusChanged(LIST, index, status, moment, moment)


def published(entries: list[bytes] | None = None) -> SampleLog:
    return SampleLog().append(issuances(0, 700) if entries is None else entries).publish()


async def walk(log: SampleLog, *marks: Mark) -> list[Disagreement]:
    walked = LogWalk(marks)
    await walk_on(log.fetch, log.policy, walked)
    return [*walked.finish(), *walked.behind(), *walked.contents.finish()]


async def kinds(log: SampleLog, *marks: Mark) -> set[str]:
    return {each.kind for each in await walk(log, *marks)}


async def test_a_log_in_order_gives_no_cause() -> None:
    log = published()
    assert await walk(log, Mark("remembered", log.checkpoint(123)), Mark("witness w0", log.checkpoint())) == []
    assert await walk(SampleLog().publish()) == []


async def test_a_walk_goes_on_where_it_was() -> None:
    log = published(issuances(0, 300))
    walked = LogWalk([Mark("later", SampleLog().append(issuances(0, 900)).checkpoint(700))])
    await walk_on(log.fetch, log.policy, walked)
    assert walked.size == 300
    log.append(issuances(300, 600)).publish()
    await walk_on(log.fetch, log.policy, walked)
    assert (walked.size, walked.finish()) == (900, [])


async def test_a_changed_leaf_is_found() -> None:
    log = published()
    path = Resource(None, 1).path
    log.files[path] = log.files[path].replace(log.entries[300], issuances(5000, 1)[0])
    assert await kinds(log) == {"leaf.differs", "tile.differs", "log.root"}


async def test_a_changed_leaf_whose_tile_was_changed_too_is_found() -> None:
    log, other = published(), published([*issuances(0, 300), *issuances(5000, 1), *issuances(301, 399)])
    for path in (Resource(None, 1).path, Resource(0, 1).path):
        log.files[path] = other.files[path]
    assert await kinds(log) == {"log.root", "tile.differs"}
    log.files[Resource(1, 0, 2).path] = other.files[Resource(1, 0, 2).path]
    assert await kinds(log) == {"log.root"}


async def test_a_changed_leaf_under_a_checkpoint_that_was_signed_anew_is_a_fork() -> None:
    honest, other = published(), published([*issuances(0, 300), *issuances(5000, 1), *issuances(301, 399)])
    assert await walk(other) == []  # by itself it is a log as good as any: that is what memory and witnesses are for
    assert await kinds(other, Mark("remembered", honest.checkpoint(301))) == {"log.forked"}
    assert await kinds(other, Mark("witness w0", honest.checkpoint())) == {"log.forked"}
    assert await kinds(other, Mark("remembered", honest.checkpoint(300))) == set()  # it was the same until then


async def test_a_dropped_leaf_is_found() -> None:
    log, without = published(), published([*issuances(0, 300), *issuances(301, 399)])
    assert await kinds(without, Mark("remembered", log.checkpoint(400))) == {"log.forked"}
    assert await kinds(without, Mark("remembered", log.checkpoint())) == {"log.rolled_back"}
    path = Resource(None, 1).path
    log.files[path] = without.files[path]
    assert await kinds(log) >= {"leaf.differs", "tile.differs", "log.root"}


async def test_a_reordered_batch_is_found() -> None:
    log = published()
    batch = issuances(600, 100)
    reordered = published([*issuances(0, 600), *reversed(batch)])
    assert await kinds(reordered, Mark("witness w0", log.checkpoint(650))) == {"log.forked"}


async def test_a_log_that_was_rolled_back_is_found() -> None:
    log, earlier = published(), published(issuances(0, 650))
    found = await walk(earlier, Mark("witness w0", log.checkpoint()))
    assert [(each.kind, each.subject) for each in found] == [("log.rolled_back", "witness w0")]
    walked = LogWalk()
    await walk_on(log.fetch, log.policy, walked)
    await walk_on(earlier.fetch, earlier.policy, walked)
    assert [each.kind for each in walked.finish()] == ["log.rolled_back"]


async def test_a_log_that_is_shown_differently_to_two_is_found_when_they_meet() -> None:
    one, other = published(), published([*issuances(0, 650), *issuances(5000, 50)])
    for log, memory in ((one, other), (other, one)):
        assert await walk(log) == []
        assert await kinds(log, Mark("remembered", memory.checkpoint())) == {"log.forked"}


@pytest.mark.parametrize("resource", [Resource(None, 0), Resource(0, 0), Resource(1, 0, 2), Resource(0, 2, 188)])
async def test_what_is_missing_is_found(resource: Resource) -> None:
    log = published()
    del log.files[resource.path]
    assert "log.missing" in await kinds(log)


@pytest.mark.parametrize(
    ("resource", "spoil", "kind"),
    [
        (Resource(None, 0), lambda data: data[:-1], "bundle.malformed"),
        (Resource(0, 0), lambda data: data[:-1], "tile.malformed"),
        (Resource(1, 0, 2), lambda data: data[::-1], "tile.differs"),
    ],
)
async def test_what_is_spoiled_is_found(resource: Resource, spoil: Callable[[bytes], bytes], kind: str) -> None:
    log = published()
    log.files[resource.path] = spoil(log.files[resource.path])
    assert kind in await kinds(log)


async def test_leaves_that_may_not_be_are_found() -> None:
    entries = [
        *issuances(0, 2),
        *issuances(0, 1),
        b"{}",
        change(7, "revoked").to_bytes(),
        change(7, "valid", 1).to_bytes(),
        ListPublished(LIST, 2, sha256(b"2"), 5).to_bytes(),
        ListPublished(LIST, 1, sha256(b"1"), 6).to_bytes(),
        ListPublished(LIST, 3, sha256(b"3"), 99).to_bytes(),
        Closed(ORIGIN, 9).to_bytes(),
        *issuances(2, 1),
    ]
    assert await kinds(published(entries)) == {
        "leaf.twice",
        "leaf.malformed",
        "status.revived",
        "version.backwards",
        "version.wrong",
        "log.reopened",
    }
    assert await kinds(published([*issuances(0, 2), Closed(ORIGIN, 2).to_bytes()])) == set()
    assert await kinds(published([*issuances(0, 2), Closed(ORIGIN, 3).to_bytes()])) == {"leaf.wrong"}


async def test_an_issuance_that_is_not_in_the_log_is_found() -> None:
    walked = LogWalk()
    log = published(issuances(0, 3))
    await walk_on(log.fetch, log.policy, walked)
    known = {sha256(b"%d" % number): f"credential {number}" for number in range(4)}
    assert [(each.kind, each.subject) for each in walked.contents.check_issued(known)] == [
        ("issuance.unpublished", "credential 3")
    ]


async def test_lists_are_held_to_the_log() -> None:
    changes = [
        change(1, "revoked"),
        change(2, "suspended"),
        change(2, "valid", 10),
        change(3, "suspended"),
        change(4, "revoked", 60),
    ]
    walked = LogWalk()
    log = published([each.to_bytes() for each in changes])
    await walk_on(log.fetch, log.policy, walked)

    def told(seconds: float, **statuses: str) -> set[tuple[str, str]]:
        places = {int(name.removeprefix("at_")): status for name, status in statuses.items()}
        issued = T0 + timedelta(seconds=seconds)
        seen = SeenList(issued, issued + timedelta(minutes=15), places, b"", 100)
        found = walked.contents.check_lists({LIST: {"": seen}}, seen.issued_at)
        return {(each.kind, each.subject.partition("#")[2]) for each in found}

    assert told(70, at_1="revoked", at_3="suspended", at_4="revoked") == set()
    # What was recorded in the second of the list's date, or later, may be in it or not.
    assert told(60, at_1="revoked", at_3="suspended") == set()
    assert told(60, at_1="revoked", at_3="suspended", at_4="revoked") == set()
    assert told(70, at_1="revoked", at_3="suspended") == {("status.list", "4")}
    assert told(70, at_3="suspended", at_4="revoked") == {("status.list", "1")}
    assert told(70, at_1="revoked", at_2="suspended", at_3="suspended", at_4="revoked") == {("status.list", "2")}
    unexplained = told(70, at_1="revoked", at_3="suspended", at_4="revoked", at_9="revoked")
    assert unexplained == {("list.unexplained", "9")}
    assert [each.kind for each in walked.contents.check_lists({LIST: {"": "gone"}}, T0)] == ["list.unpublished"]


async def test_a_checkpoint_of_somebody_else_is_not_walked_to() -> None:
    log = published()
    log.files[CHECKPOINT_PATH] = SampleLog(note_signer(2)).publish().files[CHECKPOINT_PATH]
    with pytest.raises(Exception, match="NOTE_UNTRUSTED"):
        await walk(log)
    del log.files[CHECKPOINT_PATH]
    with pytest.raises(Unavailable, match="LOG_UNREACHABLE"):
        await walk(log)


def test_marks_of_the_empty_log() -> None:
    forged = Mark("remembered", Checkpoint(ORIGIN, 0, bytes(32)))
    assert [each.kind for each in LogWalk([forged]).finish()] == ["log.forked"]
