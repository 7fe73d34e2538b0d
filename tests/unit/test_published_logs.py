"""An auditor walks logs that follow each other, remembers each, and finds what was planted between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.log_samples import ORIGIN, T0, SampleLog, cosigner, note_signer, policy_text
from vitne.audit.digests import DigestPile
from vitne.audit.log_walk import Mark
from vitne.canonical import sha256
from vitne.errors import DataLoss, InvalidArgument, PermissionDenied
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.published_logs import PublishedLogs
from vitne.merkle.leaves import Closed, Issued, ListPublished, StatusChanged
from vitne.merkle.notes import Checkpoint, NoteSigner, sign_note, split_note
from vitne.merkle.policy import Policy
from vitne.merkle.resources import CHECKPOINT_PATH, Resource
from vitne.merkle.succession import Succession, state_succession, succession_leaf

NEXT = "log.vitne.example/2027"
LIST = "https://status.vitne.example/2026/no-1"
FIRST, SECOND = note_signer(1), note_signer(2, NEXT)


def issuances(first: int, count: int) -> list[bytes]:
    return [Issued(sha256(b"%d" % number)).to_bytes() for number in range(first, first + count)]


class Site:
    """Two logs, one after the other, as they are published."""

    def __init__(self, old: list[bytes], new: list[bytes], *, bound: bool = True, closed: bool = True) -> None:
        last = [Closed(ORIGIN, len(old)).to_bytes()] if closed else issuances(99_999, 1)
        self.old = SampleLog(FIRST).append([*old, *last]).publish()
        self.statement = stated(self.old, SECOND)
        begin = [succession_leaf(self.statement).to_bytes()] if bound else issuances(88_888, 1)
        self.new = SampleLog(SECOND).append([*begin, *new]).publish()
        self.statements = [self.statement]

    async def fetch(self, path: str) -> bytes | None:
        kind, _, rest = path.partition("/")
        if kind == "succession":
            number = int(rest)
            return self.statements[number - 1].encode() if number <= len(self.statements) else None
        if kind == "log":
            return self.new.files.get(rest.partition("/")[2]) if self.statements else None
        return self.old.files.get(path)


def stated(old: SampleLog, new: NoteSigner, size: int | None = None) -> str:
    ended = old.checkpoint(size)
    closes = new.key.name != ended.origin
    return state_succession(Succession(ended, new.key, ended.size if closes else 0), old.signer, new)


def site() -> Site:
    return Site(issuances(0, 400), issuances(400, 300))


async def walked(found: Site, *marks: Mark, policy: Policy | None = None) -> PublishedLogs:
    logs = PublishedLogs(found.fetch, policy or Policy.of_log(FIRST.key))
    logs.hold_to(marks)
    await logs.walk_on()
    return logs


async def kinds(found: Site, *marks: Mark) -> set[str]:
    logs = await walked(found, *marks)
    return {each.kind for each in (*logs.finish(), *logs.behind())}


async def test_logs_in_order_give_no_cause() -> None:
    found = site()
    marks = [
        Mark("w", found.old.checkpoint(123)),
        Mark("w", found.old.checkpoint()),
        Mark("w", found.new.checkpoint(7)),
    ]
    logs = await walked(found, *marks)
    assert logs.finish() == []
    assert (logs.contents.leaves, logs.contents.issued) == (702, 700)
    assert list(logs.contents.check_issued({sha256(b"650"): "it"})) == []
    assert [each.kind for each in logs.contents.check_issued({sha256(b"700"): "it"})] == ["issuance.unpublished"]


async def test_a_log_that_ends_while_it_is_walked_is_followed() -> None:
    found = site()
    statements, found.statements = found.statements, []
    logs = await walked(found)
    assert logs.contents.leaves == 401
    found.statements = statements
    await logs.walk_on()
    assert (logs.contents.leaves, logs.finish()) == (702, [])


def reopened() -> Site:
    found = site()
    found.old.append(issuances(5000, 1)).publish()
    return found


def cut() -> Site:
    found = site()
    found.old = SampleLog(FIRST).append(issuances(0, 300)).publish()
    return found


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        pytest.param(lambda: Site(issuances(0, 9), [], closed=False), "leaf.wrong", id="no last leaf"),
        pytest.param(lambda: Site(issuances(0, 9), [], bound=False), "log.unbound", id="no first leaf"),
        pytest.param(lambda: Site(issuances(0, 9), issuances(3, 1)), "leaf.twice", id="a leaf in both"),
        pytest.param(reopened, "log.reopened", id="the old log goes on"),
        pytest.param(cut, "log.rolled_back", id="the old log lacks its end"),
    ],
)
async def test_what_was_planted_between_them_is_found(plant: Callable[[], Site], kind: str) -> None:
    assert kind in await kinds(plant())


@pytest.mark.parametrize("lost", [1, 0])
@pytest.mark.parametrize("hashes", [True, False])
async def test_what_is_missing_of_a_log_that_ended_is_told_as_that(lost: int, hashes: bool) -> None:
    """What was signed is held to what was said of its end; what its last leaf says, nobody knows without it."""
    found, other = site(), Site(issuances(1, 400), [])
    for each in (found, other):
        width = 256 if lost == 0 else len(each.old.entries) - 256
        del each.old.files[Resource(None, lost, width).path]
        if not hashes:
            del each.old.files[Resource(0, lost, width).path]
    assert await kinds(found) == {"log.missing"}
    other.statements = []
    logs = await walked(other)
    other.statements, other.new = found.statements, found.new
    await logs.walk_on()
    assert "log.forked" in {each.kind for each in logs.finish()}


async def test_of_a_checkpoint_that_is_not_believed_nothing_else_is_said() -> None:
    """It is kept as evidence; how much there is of the log, nobody knows."""
    found, other = site(), Site(issuances(1, 400), [])
    other.statements, other.new = found.statements, found.new
    assert await kinds(other, Mark("w", found.old.checkpoint(7))) == {"log.reopened"}
    assert await kinds(reopened(), Mark("w", found.old.checkpoint(7))) == {"log.reopened"}


async def test_each_log_is_held_to_its_own_marks() -> None:
    found, other = site(), Site(issuances(0, 400), issuances(1400, 300))
    assert await kinds(found, Mark("w", other.new.checkpoint())) == {"log.forked"}
    assert await kinds(found, Mark("w", other.new.append(issuances(9000, 1)).checkpoint())) == {"log.rolled_back"}
    found.statements = []
    assert await kinds(found, Mark("w", site().new.checkpoint())) == {"log.missing", "succession.withheld"}


async def test_a_log_that_stands_in_the_place_of_the_one_that_it_followed_does_not_hide_it() -> None:
    found = site()

    async def second_for_first(path: str) -> bytes | None:
        return await (found.fetch if path.startswith("succession/") else found.new.fetch)(path)

    logs = PublishedLogs(second_for_first, Policy.of_log(FIRST.key))
    await logs.walk_on()
    assert [(each.kind, each.subject) for each in logs.finish()] == [("log.missing", ORIGIN)]
    # Whoever trusts the second log alone has never heard of another.
    logs = PublishedLogs(second_for_first, Policy.of_log(SECOND.key))
    await logs.walk_on()
    assert logs.finish() == []


async def test_a_list_counts_the_leaves_of_all_logs() -> None:
    changes = [StatusChanged(LIST, 1, "suspended", T0, T0).to_bytes()]
    later = T0 + timedelta(days=50)
    more = [StatusChanged(LIST, 1, "revoked", later, later).to_bytes()]
    # Two leaves of the old log; then the statement's and the change.
    old, new = ListPublished(LIST, 1, sha256(b"1"), 1), ListPublished(LIST, 2, sha256(b"2"), 5)
    assert await kinds(Site([*changes, old.to_bytes()], [*more, new.to_bytes()])) == set()
    back = ListPublished(LIST, 2, sha256(b"2"), 0).to_bytes()
    assert await kinds(Site([*changes, old.to_bytes()], [*more, back])) == {"version.backwards"}
    ahead = ListPublished(LIST, 2, sha256(b"2"), 6).to_bytes()
    assert await kinds(Site([*changes, old.to_bytes()], [*more, ahead])) == {"version.wrong"}


async def test_without_a_statement_another_logs_checkpoint_is_not_believed() -> None:
    found = site()
    logs = PublishedLogs(found.new.fetch, Policy.of_log(FIRST.key))
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        await logs.walk_on()
    found.statements = [found.statement, stated(found.old, note_signer(3, "log.vitne.example/2028"))]
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        await walked(found)


async def test_another_logs_checkpoint_is_not_taken_for_the_logs_own() -> None:
    found = site()
    served = SampleLog(FIRST).publish().files[CHECKPOINT_PATH]  # of the same year's log: signed, and empty

    async def fetch(path: str) -> bytes | None:
        return served if path == f"log/2027/{CHECKPOINT_PATH}" else await found.fetch(path)

    logs = PublishedLogs(fetch, Policy.of_log(FIRST.key))
    await logs.walk_on()
    assert [(each.kind, each.subject) for each in logs.finish()] == [("log.another", NEXT)]
    assert not any(note.startswith(NEXT) for note in logs.shown.notes)


async def test_another_logs_checkpoint_is_named_though_nobody_cosigns_it() -> None:
    found = site()
    found.old.publish(cosigner(0), cosigner(1))
    found.new.files[CHECKPOINT_PATH] = SampleLog(FIRST).publish().files[CHECKPOINT_PATH]
    logs = await walked(found, policy=Policy.parse(policy_text(FIRST, 2, "all")))
    assert [(each.kind, each.subject) for each in logs.finish()] == [("log.another", NEXT)]


async def test_a_log_that_went_back_is_named_though_nobody_cosigns_it() -> None:
    policy = Policy.parse(policy_text(FIRST, 2, "all"))
    whole = SampleLog(FIRST).append(issuances(0, 300))
    saw = policy.open(whole.note(None, cosigner(0), cosigner(1))).checkpoint
    back = SampleLog(FIRST).append(issuances(0, 200)).publish()
    logs = PublishedLogs(back.fetch, policy)
    logs.hold_to([Mark("witness", saw)])
    await logs.walk_on()
    assert [(each.kind, each.subject) for each in logs.behind()] == [("log.rolled_back", "witness")]
    # Where nothing contradicts it, their silence is what is wrong.
    with pytest.raises(PermissionDenied, match="QUORUM_MISSING"):
        await PublishedLogs(back.fetch, policy).walk_on()


async def test_a_statement_that_is_not_served_is_named() -> None:
    # The log is closed, and nobody says what follows.
    found = site()
    found.statements = []
    (told,) = (await walked(found)).finish()
    assert (told.kind, told.subject) == ("succession.withheld", ORIGIN)
    assert "/succession/1" in told.detail
    # One is left out in the middle.
    found = site()
    found.statements = [found.statement, stated(found.new, note_signer(3, "log.vitne.example/2028"))]

    async def without_the_first(path: str) -> bytes | None:
        return None if path == "succession/1" else await found.fetch(path)

    logs = PublishedLogs(without_the_first, Policy.of_log(FIRST.key))
    await logs.walk_on()
    assert ("succession.withheld", "succession 1") in {(each.kind, each.subject) for each in logs.finish()}
    # By the next look it is served.
    withheld = ["succession/1"]

    async def late(path: str) -> bytes | None:
        return None if path in withheld else await found.fetch(path)

    rotated = note_signer(5, NEXT)
    rotates = Succession(found.new.checkpoint(), rotated.key, found.old.size)
    found.statements = [found.statement, state_succession(rotates, SECOND, rotated)]
    logs = PublishedLogs(late, Policy.of_log(FIRST.key))
    await logs.walk_on()
    withheld.clear()
    await logs.walk_on()
    assert logs.finish() == []
    # The key was replaced within the log.
    log = SampleLog(FIRST).append(issuances(0, 20))
    log.signer = note_signer(4)
    logs = PublishedLogs(log.publish().fetch, Policy.of_log(FIRST.key))
    with pytest.raises(InvalidArgument, match=r"NOTE_UNTRUSTED.*0 statements.*/succession/1"):
        await logs.walk_on()


async def test_a_log_that_ends_between_its_statements_and_its_checkpoint_is_no_cause() -> None:
    found = site()
    asked = 0

    async def ending(path: str) -> bytes | None:
        nonlocal asked
        asked += path == "succession/1"
        return None if path.startswith("succession/") and asked == 1 else await found.fetch(path)

    logs = PublishedLogs(ending, Policy.of_log(FIRST.key))
    await logs.walk_on()
    assert (logs.contents.leaves, logs.finish()) == (702, [])


async def test_what_is_remembered_is_a_checkpoint_of_each_log_and_the_statements(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    assert LogMemory.read(file) == LogMemory.read(None) == LogMemory()
    found = site()
    logs = await walked(found)
    file.write_bytes(logs.shown.to_bytes())
    known = LogMemory.read(file)
    assert known == logs.shown
    assert {mark.checkpoint.origin: mark.checkpoint.size for mark in known.marks(logs.policy)} == {
        ORIGIN: 401,
        NEXT: 301,
    }
    assert list(known.compare(logs.shown, logs.policy)) == []
    # A file of before there was more than one log is a note.
    file.write_text(found.old.note(5), "utf-8")
    assert [mark.checkpoint.size for mark in LogMemory.read(file).marks(logs.policy)] == [5]


async def test_a_statement_that_was_seen_stays() -> None:
    logs = await walked(site())
    other = stated(SampleLog(FIRST).append(issuances(0, 5)), SECOND)
    for statements, kind in ([other], "log.forked"), ([], "log.rolled_back"):
        now = LogMemory(logs.shown.notes, statements)
        assert {each.kind for each in logs.shown.compare(now, logs.policy)} == {kind}
    gone = LogMemory(logs.shown.notes[:1], logs.shown.statements)
    assert {each.kind for each in logs.shown.compare(gone, logs.policy)} == {"log.missing"}


async def test_what_strangers_say_is_not_remembered_against_a_log() -> None:
    """One false answer makes no alarm of every honest one after it."""
    logs = await walked(site())
    strangers = [note_signer(number, f"log.other.example/{number}") for number in (8, 9)]
    ended = Checkpoint(strangers[0].key.name, 3, bytes(32))
    other = state_succession(Succession(ended, strangers[1].key, 3), *strangers)
    [own] = logs.shown.statements
    text, _ = split_note(own)
    signed_once_more = own + sign_note(text, [note_signer(9, ORIGIN)]).removeprefix(f"{text}\n")
    for told in ([own, other], [other, own], [signed_once_more]):
        assert list(LogMemory(logs.shown.notes, told).compare(logs.shown, logs.policy)) == []


async def test_whoever_remembers_a_log_takes_its_new_key_by_the_statement_alone() -> None:
    rotated = note_signer(4)
    log = SampleLog(FIRST).append(issuances(0, 20))
    before = LogMemory((log.note(10),))
    statement = stated(log, rotated, 15)
    log.signer = rotated
    now = LogMemory([log.note()], [statement])
    followed = Policy.of_log(FIRST.key).following([statement])
    assert list(before.compare(now, followed)) == []
    named = Policy([FIRST.key, rotated.key], {}, {}, "none", {})
    assert {each.kind for each in before.compare(LogMemory([log.note()]), named)} == {"log.key_changed"}


def test_a_pile_of_digests() -> None:
    pile = DigestPile()
    digests = [sha256(b"%d" % number) for number in range(1000)]
    for place, digest in enumerate([*digests, digests[7]]):
        pile.add(digest, place)
    assert len(pile) == 1001
    assert list(pile.twice()) == [(digests[7], 7, 1000)]
    absent = [sha256(b"absent %d" % number) for number in range(3)]
    assert set(pile.lacks([*digests[::10], *absent])) == set(absent)


async def test_a_checkpoint_that_is_gone_is_told() -> None:
    found = site()
    del found.old.files[CHECKPOINT_PATH]
    with pytest.raises(Exception, match="LOG_UNREACHABLE"):
        await walked(found)
