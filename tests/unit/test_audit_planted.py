"""Each thing that an audit has to find is planted, and the command that meets it ends with 1 and names it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web

from services.auditor import __main__ as auditor
from services.auditor.exit_codes import AGREES, DISAGREES, NOT_LOOKED
from services.auditor.log_look import Beside, look
from tests.unit.log_samples import SampleLog, cosigner, note_signer
from tests.unit.test_audit_command import served
from tests.unit.test_auditor_exit import SETTINGS
from tests.unit.test_published_logs import FIRST, SECOND, Site, issuances
from tests.unit.verifier_world import FOREIGN_KEY, LIST_KEY
from vitne.audit.snapshots import WorldSnapshot
from vitne.canonical import sha256
from vitne.clock import ManualClock
from vitne.credentials.bitstring_status_list import Purpose, sign_credential
from vitne.credentials.jose import ES256, Signer, parse_jws, parse_public_jwk, strict_json
from vitne.credentials.list_forms import ListForm
from vitne.credentials.status_list import JWT_TYPE, decode, pack, sign_token, unpack
from vitne.credentials.status_list_cwt import sign_cwt
from vitne.inspection.installation import Findings
from vitne.inspection.log_memory import LogMemory
from vitne.merkle.leaves import ListPublished, StatusChanged, StatusName
from vitne.merkle.notes import Checkpoint, sign_checkpoint
from vitne.merkle.policy import Policy
from vitne.merkle.resources import Resource

PREFIX = "https://status.vitne.example/"
LIST = f"{PREFIX}2026/no-1"
NAMES = ("valid", "revoked", "suspended")
NUMBERS = {name: number for number, name in enumerate(NAMES)}
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def this_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts from now: what was loaded long before a test, in a run of half an hour, would be overdue."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", datetime.now(UTC).replace(microsecond=0))


of_this_moment = pytest.mark.usefixtures("this_moment")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def change(index: int, status: StatusName, seconds: float) -> bytes:
    return StatusChanged(LIST, index, status, at(seconds), at(seconds)).to_bytes()


def token(
    seconds: float,
    statuses: Mapping[int, str] = MappingProxyType({}),
    form: ListForm = ListForm.JWT,
    *,
    purpose: Purpose | None = None,
    places: int = 100,
    signer: Signer = LIST_KEY,
    lifetime: timedelta = timedelta(hours=12),
) -> bytes:
    """A signed list; ``statuses``: of the places that are not valid."""
    numbers = [0] * places
    for index, status in statuses.items():
        numbers[index] = NUMBERS[status]
    issued = at(seconds)
    common: dict[str, Any] = {
        "uri": form.names(LIST),
        "packed": pack(numbers, 2),
        "issued_at": issued,
        "expires_at": issued + lifetime,
        "ttl": timedelta(seconds=10),
        "signer": signer,
    }
    if form is ListForm.JWT:
        return sign_token(**common, bits=2).encode()
    if form is ListForm.CWT:
        return sign_cwt(**common, bits=2)
    assert form.purpose is not None
    return sign_credential(**common, purpose=purpose or form.purpose, issuer=PREFIX).encode()


def in_form(jwt: bytes, form: ListForm) -> bytes:
    """The same list in another form, as the ledger makes it."""
    claims = strict_json(parse_jws(jwt.decode(), algorithms=(ES256,), types=(JWT_TYPE,)).payload)
    assert isinstance(claims, dict)
    numbers = unpack(decode(claims["status_list"]["lst"]), 2)
    shown = {index: NAMES[number] for index, number in enumerate(numbers) if number}
    return token(claims["iat"] - NOW.timestamp(), shown, form)


@dataclass
class Lists:
    """A server of one status list: the newest, in all forms, and at ``?time=`` what was in force, where it keeps that.

    ``planted``: what is served instead, by what the address ends in, or by ``Accept``; nothing where it is empty.
    """

    tokens: dict[float, bytes]
    keeps: bool = True
    planted: dict[str, bytes] = field(default_factory=dict)
    #: Statuses that are answered, by what the address ends in.
    refused: dict[str, int] = field(default_factory=dict)
    #: What addresses end in at which connections are cut; and of how many requests all are.
    cut: frozenset[str] = frozenset()
    cut_at_first: int = 0
    #: Whether connections are cut at all other addresses.
    others_are_cut: bool = False
    asked: list[str] = field(default_factory=list)
    served: int = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        async def answer(request: web.Request) -> web.Response:
            self.served += 1
            moment = request.query.get("time")
            dates = sorted(self.tokens)
            if moment is not None:
                self.asked.append(moment)
                if self.keeps:
                    dates = [each for each in dates if at(each).timestamp() <= int(moment)]
            form = ListForm(request.path.removeprefix("/2026/no-1"))
            accept = request.headers["Accept"]
            planted = self.planted.get(accept if accept in self.planted and form is ListForm.JWT else form.value)
            body = planted if planted is not None else in_form(self.tokens[dates[-1]], form) if dates else b""
            if (form.value in self.cut or self.served <= self.cut_at_first) and request.transport is not None:
                request.transport.close()
            if form.value in self.refused:
                return web.Response(status=self.refused[form.value], body=body, headers={"Location": "/elsewhere"})
            return web.Response(body=body) if body else web.Response(status=404)

        async def cut(request: web.Request) -> web.Response:
            if self.others_are_cut and request.transport is not None:
                request.transport.close()
            return web.Response(status=404)

        app = web.Application()
        for form in ListForm:
            app.router.add_get(f"/2026/no-1{form.value}", answer)
        app.router.add_get("/{path:.*}", cut)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
        finally:
            await runner.cleanup()


def published(entries: list[bytes] | None = None) -> SampleLog:
    return SampleLog().append(issuances(0, 700) if entries is None else entries).publish()


async def audit(
    log: SampleLog, *arguments: str, policy: str = "", lists: Lists | None = None, folder: Path | None = None
) -> int:
    """The exit code of ``vitne-audit log``."""
    async with AsyncExitStack() as exits:
        url = await exits.enter_async_context(served(log.fetch))
        given = ["log", "--url", url, "--settle", "0", *arguments]
        given += ["--policy", policy] if policy else ["--key", log.signer.key.text]
        if lists is not None and folder is not None:
            key = folder / "status-list.jwk"
            key.write_text(json.dumps(dict(LIST_KEY.public_jwk)))
            base = await exits.enter_async_context(lists.serve())
            given += ["--list-key", str(key), "--served-at", f"{PREFIX}={base}"]
        return await asyncio.to_thread(auditor.main, given)


def a_changed_leaf() -> SampleLog:
    log, path = published(), Resource(None, 1).path
    log.files[path] = log.files[path].replace(log.entries[300], issuances(5000, 1)[0])
    return log


def a_dropped_leaf() -> SampleLog:
    """The bundle goes on with the entry after it; so do all that are behind."""
    log, without = published(), published([*issuances(0, 300), *issuances(301, 400)])
    for number, width in ((1, 256), (2, 188)):
        path = Resource(None, number, width).path
        log.files[path] = without.files[path]
    return log


def a_reordered_batch() -> SampleLog:
    log, reordered = published(), published([*issuances(0, 600), *reversed(issuances(600, 100))])
    path = Resource(None, 2, 188).path
    log.files[path] = reordered.files[path]
    return log


@pytest.mark.parametrize("plant", [a_changed_leaf, a_dropped_leaf, a_reordered_batch], ids=lambda plant: plant.__name__)
async def test_entries_that_are_not_those_of_the_tree_are_found(
    plant: Callable[[], SampleLog], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await audit(published()) == AGREES
    assert await audit(plant()) == DISAGREES
    assert "leaf.differs leaf " in capsys.readouterr().out


@pytest.mark.parametrize(
    "other",
    [
        [*issuances(0, 300), *issuances(5000, 1), *issuances(301, 399)],
        [*issuances(0, 300), *issuances(301, 400)],
        [*issuances(0, 600), *reversed(issuances(600, 100))],
    ],
    ids=["a changed leaf", "a dropped leaf", "a reordered batch"],
)
async def test_a_tree_that_was_made_and_signed_anew_is_found_by_who_remembers(
    other: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remember = ["--remember", str(tmp_path / "seen")]
    assert await audit(published(), *remember) == AGREES
    assert await audit(published(other), *remember) == DISAGREES
    assert "log.forked" in capsys.readouterr().out


async def test_a_database_that_went_back_is_found_by_a_witness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _beside_witness(published(), published(issuances(0, 650)), tmp_path) == DISAGREES
    assert "log.rolled_back witness w0" in capsys.readouterr().out


async def test_a_forked_log_that_is_shown_to_two_clients_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each alone sees a log as good as any; what one has seen, or a witness, tells the other."""
    one, other = published(), published([*issuances(0, 650), *issuances(5000, 50)])
    memories = [["--remember", str(tmp_path / name)] for name in ("one", "other")]
    for log, memory in zip((one, other), memories, strict=True):
        assert await audit(log, *memory) == AGREES
    for log, memory in zip((other, one), memories, strict=True):
        assert await audit(log, *memory) == DISAGREES
        assert "log.forked" in capsys.readouterr().out
    assert await _beside_witness(one, other, tmp_path) == DISAGREES
    told = capsys.readouterr().out
    assert "log.forked witness w0" in told
    assert "witness w0: saw another log\n" in told


@asynccontextmanager
async def witnessed(seen: SampleLog, folder: Path) -> AsyncIterator[str]:
    """A policy's file, with the address of a witness that saw a log."""
    witness, note = cosigner(0), seen.note(None, cosigner(0), at=NOW)
    place = f"{hashlib.sha256(seen.signer.key.name.encode()).hexdigest()}/checkpoint"

    async def fetch(path: str) -> bytes | None:
        return note.encode() if path == place else None

    async with served(fetch) as url:
        policy = folder / "policy"
        policy.write_text(f"log {note_signer().key.text}\nwitness w0 {witness.key.text} {url}\nquorum none\n")
        yield str(policy)


async def _beside_witness(seen: SampleLog, shown: SampleLog, folder: Path) -> int:
    """Audit a log, with a witness that saw another."""
    async with witnessed(seen, folder) as policy:
        assert await audit(seen, policy=policy) == AGREES
        return await audit(shown, policy=policy)


LOGGED = token(-300, {1: "revoked"})
#: A revocation, the list that showed it, and what came after.
ENTRIES = [change(1, "revoked", -310), ListPublished(LIST, 1, sha256(LOGGED), 1).to_bytes(), *issuances(0, 9)]


@pytest.mark.parametrize(
    ("tokens", "code", "says"),
    [
        ({-300.0: LOGGED}, AGREES, "1 lists compared, of 1 of them the version that was logged last"),
        ({-300.0: LOGGED, -5.0: token(-5, {1: "revoked"})}, AGREES, "of 1 of them the version that was logged last"),
        ({-5.0: token(-5, {1: "revoked", 9: "revoked"})}, DISAGREES, f"list.unexplained {LIST}#9"),
        ({-5.0: token(-5)}, DISAGREES, f"status.list {LIST}#1"),
    ],
    ids=["the logged one", "a newer one", "a bit that the log does not explain", "a bit that it lacks"],
)
async def test_a_bit_that_the_log_does_not_explain_is_found(
    tokens: dict[float, bytes], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await audit(published(ENTRIES), lists=Lists(tokens), folder=tmp_path) == code
    assert says in capsys.readouterr().out


SHOWN = {1: "revoked", 2: "suspended"}


def changes() -> list[bytes]:
    """A revocation, a suspension, one that ended, and a revocation of what had been suspended."""
    return [
        change(1, "revoked", -310),
        change(2, "suspended", -310),
        change(3, "suspended", -310),
        change(3, "valid", -250),
        change(4, "suspended", -310),
        change(4, "revoked", -200),
    ]


#: Of before the first change. Nothing was logged after it, so no list that is served is overdue.
VERSION = ListPublished(LIST, 1, sha256(b"of before"), 0).to_bytes()
AFTER = SHOWN | {4: "revoked"}
ASKED = ListForm.CWT.media_type


@pytest.mark.parametrize(
    ("where", "planted", "says"),
    [
        ("", b"", "list.unpublished {}: nobody can fetch it"),
        (".cwt", token(-5, AFTER | {9: "revoked"}, ListForm.CWT), "list.unexplained {}.cwt#9"),
        (".cwt", token(-5, SHOWN, ListForm.CWT), "status.list {}.cwt#4"),
        (".cwt", token(-5, AFTER, ListForm.CWT, places=60), "list.differs {}.cwt: it has 60 places"),
        (".cwt", token(-5, AFTER, ListForm.CWT, signer=FOREIGN_KEY), "STATUS_LIST_KEY_UNKNOWN"),
        (".cwt", b"", "list.unpublished {}.cwt: nobody can fetch it"),
        (".cwt", token(-5, AFTER), "list.unpublished {}.cwt: what is served is none: BAD_CBOR"),
        (ASKED, token(-5, AFTER | {9: "revoked"}, ListForm.CWT), "list.unexplained {} (Accept: " + ASKED + ")#9"),
        (ASKED, token(-5, SHOWN), "status.list {} (Accept: " + ASKED + ")#4"),
        (ASKED, b"", "list.unpublished {} (Accept: " + ASKED + ")"),
        ("application/statuslist+jwt", token(-5, SHOWN), "status.list {} (Accept: application/statuslist+jwt)#4"),
        (".revocation", token(-5, AFTER | {9: "revoked"}, ListForm.REVOCATION), "list.unexplained {}.revocation#9"),
        (".revocation", token(-5, SHOWN, ListForm.REVOCATION), "status.list {}.revocation#4"),
        (
            ".revocation",
            token(-5, AFTER | {2: "revoked"}, ListForm.REVOCATION),
            "list.unexplained {}.revocation#2",
        ),
        (".revocation", token(-5, AFTER, ListForm.REVOCATION, purpose="suspension"), "STATUS_LIST_PURPOSE"),
        (".revocation", token(-5, AFTER, ListForm.SUSPENSION), "STATUS_LIST_SUBJECT"),
        (".revocation", token(-5, AFTER, ListForm.REVOCATION)[:-2] + b"AA", "STATUS_LIST_SIGNATURE"),
        (".revocation", token(-90_000, {}, ListForm.REVOCATION), "STATUS_LIST_STALE"),
        (".revocation", b"", "list.unpublished {}.revocation: nobody can fetch it"),
        (".suspension", token(-5, AFTER | {3: "suspended"}, ListForm.SUSPENSION), "status.list {}.suspension#3"),
        (".suspension", token(-5, AFTER | {4: "valid"}, ListForm.SUSPENSION), "status.list {}.suspension#4"),
        (".suspension", token(-5, AFTER | {9: "suspended"}, ListForm.SUSPENSION), "list.unexplained {}.suspension#9"),
        (".suspension", b"\xff", "list.unpublished {}.suspension: what is served is none: it is no JWT"),
    ],
)
async def test_what_a_form_says_otherwise_is_found(
    where: str, planted: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each form is signed for itself: what one says wrongly, readers of that form alone would believe."""
    log, tokens = published([*changes(), VERSION, *issuances(0, 9)]), {-5.0: token(-5, AFTER)}
    assert await audit(log, lists=Lists(tokens), folder=tmp_path) == AGREES
    capsys.readouterr()
    assert await audit(log, lists=Lists(tokens, planted={where: planted}), folder=tmp_path) == DISAGREES
    assert says.format(LIST) in capsys.readouterr().out


@of_this_moment
async def test_each_form_is_held_to_the_log_by_its_own_date(tmp_path: Path) -> None:
    """Caches, and a copy that is under way, have forms of different versions for a while."""
    planted = {
        ".cwt": token(-240, SHOWN | {4: "suspended"}, ListForm.CWT),
        ASKED: token(-205, SHOWN | {4: "suspended"}),  # a static copy's, of before, by another cache
        ".revocation": token(-240, SHOWN | {4: "suspended"}, ListForm.REVOCATION),
        ".suspension": token(-300, SHOWN | {3: "suspended", 4: "suspended"}, ListForm.SUSPENSION),
    }
    lists = Lists({-5.0: token(-5, AFTER)}, planted=planted)
    assert await audit(published([*changes(), VERSION, *issuances(0, 9)]), lists=lists, folder=tmp_path) == AGREES


async def test_the_logged_version_is_held_to_its_leaf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is served now is right; the one whose digest is in the log was not."""
    wrong = token(-300, {9: "revoked"})
    entries = [change(1, "revoked", -310), ListPublished(LIST, 1, sha256(wrong), 1).to_bytes(), *issuances(0, 9)]
    lists = Lists({-300.0: wrong, -5.0: token(-5, {1: "revoked"})})
    assert await audit(published(entries), lists=lists, folder=tmp_path) == DISAGREES
    told = capsys.readouterr().out
    assert f"list.differs {LIST}#1" in told
    assert f"list.unexplained {LIST}#9" in told
    assert len(lists.asked) <= 4


@of_this_moment
async def test_a_version_reflects_what_its_leaf_says_whatever_its_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dated back before a change that its leaf counts: by the date alone the list would be right."""
    early = token(-320)
    entries = [change(1, "revoked", -310), ListPublished(LIST, 1, sha256(early), 1).to_bytes(), *issuances(0, 9)]
    assert await audit(published(entries), lists=Lists({-320.0: early}), folder=tmp_path) == DISAGREES
    assert f"list.differs {LIST}#1" in capsys.readouterr().out
    behind = [change(1, "revoked", -310), ListPublished(LIST, 1, sha256(early), 0).to_bytes(), *issuances(0, 9)]
    assert await audit(published(behind), lists=Lists({-320.0: early}), folder=tmp_path) == AGREES


async def test_a_copy_that_answers_no_lists_of_the_past_is_no_disagreement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = Lists({-300.0: LOGGED, -5.0: token(-5, {1: "revoked"})}, keeps=False)
    assert await audit(published(ENTRIES), lists=lists, folder=tmp_path) == AGREES
    assert "1 lists compared, of 0 of them the version that was logged last" in capsys.readouterr().out


@of_this_moment
@pytest.mark.parametrize(
    ("signed", "logged_by", "code"),
    [
        (-1800, -5400, DISAGREES),
        (-90, -5400, DISAGREES),  # signed anew every five minutes, and never logged
        (-50, -5400, AGREES),  # on its way
        (-300, -850, AGREES),  # clocks may differ by so much
        (-1100, -1000, AGREES),  # a copy that is behind
        (-1800, None, AGREES),  # nothing was logged since: when the version was, nobody can tell
    ],
)
async def test_a_list_that_never_comes_into_the_log_is_found(
    signed: float,
    logged_by: float | None,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    after = [change(2, "revoked", logged_by)] if logged_by else []
    shown = {1: "revoked"} | ({2: "revoked"} if logged_by and logged_by < signed else {})
    first = token(-6000, {1: "revoked"})
    entries = [change(1, "revoked", -6010), ListPublished(LIST, 1, sha256(first), 1).to_bytes(), *after]
    lists = Lists({signed: token(signed, shown)})
    assert await audit(published(entries), lists=lists, folder=tmp_path) == code
    assert ("list.unlogged" in capsys.readouterr().out) is (code == DISAGREES)


DAY, CENTURY = timedelta(days=1), timedelta(days=36_500)


@of_this_moment
@pytest.mark.parametrize("form", ListForm)
@pytest.mark.parametrize(
    ("signed", "lifetime", "says"),
    [
        (-86_400, CENTURY, "3 changes were recorded since, the first"),  # frozen before the revocations
        (-300, CENTURY, "says no end within 7 days"),
        (-300, 8 * DAY, "says no end within 7 days"),
        (-300, 7 * DAY, None),
        (-1500, DAY, None),  # a copy that is behind
    ],
)
async def test_a_list_that_is_shown_for_ever_is_found(
    form: ListForm,
    signed: float,
    lifetime: timedelta,
    says: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says nothing wrong of its date, and would be believed on."""
    revoked = [change(index, "revoked", -7200 + index) for index in range(3)]
    recent = change(9, "revoked", -1400)
    version = ListPublished(LIST, 1, sha256(b"of before"), 0).to_bytes()
    shown = dict.fromkeys(range(3), "revoked") if signed > -7200 else {}
    lists = Lists({-5.0: token(-5, {0: "revoked", 1: "revoked", 2: "revoked", 9: "revoked"})})
    lists.planted[form.value] = token(
        signed, shown | ({9: "revoked"} if signed > -1400 else {}), form, lifetime=lifetime
    )
    log = published([*revoked, recent, version, *issuances(0, 9)])
    assert await audit(log, lists=lists, folder=tmp_path) == (DISAGREES if says else AGREES)
    told = capsys.readouterr().out
    assert (f"list.stale {LIST}{form.value}: " in told) is (says is not None)
    assert (says or "") in told


async def test_lists_that_nobody_serves_are_not_blamed_on_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "status-list.jwk"
    key.write_text(json.dumps(dict(LIST_KEY.public_jwk)))
    nowhere = ["--list-key", str(key), "--served-at", f"{PREFIX}=http://127.0.0.1:9/"]
    assert await audit(published(ENTRIES), *nowhere) == NOT_LOOKED
    told = capsys.readouterr()
    assert "LISTS_UNREACHABLE: http://127.0.0.1:9/2026/no-1" in told.err
    assert "field: --served-at" in told.err
    # And what the walk came to.
    assert told.out.startswith("11 leaves, 9 issuances, 0 lists compared\n")
    assert "the log agrees with itself; its lists could not be looked at; no witness was asked (" in told.out
    assert f"not looked at: {LIST}: http://127.0.0.1:9/2026/no-1: " in told.out
    assert await audit(published(ENTRIES), *nowhere, "--json", "--remember", str(tmp_path / "seen")) == NOT_LOOKED
    report = json.loads(capsys.readouterr().out)
    assert (report["agrees"], report["leaves"], report["disagreements"]) == (False, 11, [])
    assert list(report["unreachable"]) == [LIST]
    assert not (tmp_path / "seen").exists()


async def test_what_is_wrong_with_the_log_is_told_though_nobody_serves_its_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "status-list.jwk"
    key.write_text(json.dumps(dict(LIST_KEY.public_jwk)))
    nowhere = ["--list-key", str(key), "--served-at", f"{PREFIX}=http://127.0.0.1:9/", "--json"]
    log = published(ENTRIES)
    log.files[Resource(0, 0, 11).path] = bytes(352)
    assert await audit(log, *nowhere) == DISAGREES
    told = json.loads(capsys.readouterr().out)
    # That nobody answers is no disagreement: what is served there, nobody knows.
    assert {each["kind"] for each in told["disagreements"]} == {"leaf.differs"}
    assert "http://127.0.0.1:9/2026/no-1" in told["unreachable"][LIST]


ELSEWHERE = "https://elsewhere.example/2026/no-1"


@pytest.mark.parametrize(
    ("shown", "code"), [({1: "revoked"}, NOT_LOOKED), ({1: "revoked", 9: "revoked"}, DISAGREES)], ids=["right", "wrong"]
)
async def test_lists_that_are_served_are_compared_though_others_are_not(
    shown: dict[int, str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can keep one list from being fetched hides nothing of the others."""
    given = [
        "--list",
        ELSEWHERE,
        "--list",
        f"{ELSEWHERE}2",
        "--served-at",
        "https://elsewhere.example/=http://127.0.0.1:9/",
    ]
    lists = Lists({-5.0: token(-5, shown)})
    log = published([change(1, "revoked", -310), VERSION, *issuances(0, 9)])
    assert await audit(log, *given, lists=lists, folder=tmp_path) == code
    told = capsys.readouterr()
    assert (f"list.unexplained {LIST}#9" in told.out) is (code == DISAGREES)
    assert ("the log and those of its lists that answered agree; no witness was asked (" in told.out) is (
        code == NOT_LOOKED
    )
    assert "11 leaves, 9 issuances, 1 lists compared" in told.out
    assert f"not looked at: {ELSEWHERE}: http://127.0.0.1:9/2026/no-1: " in told.out
    assert "list.unpublished" not in told.out
    # Of a host where nobody answers, it is told once what helps.
    assert f"not looked at: {ELSEWHERE}2: http://127.0.0.1:9/2026/no-12: nobody answers at 127.0.0.1:9, " in told.out
    assert told.err.count("LISTS_UNREACHABLE") == 1


@pytest.mark.parametrize("form", ListForm)
async def test_one_form_that_is_not_answered_is_told_as_that(
    form: ListForm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The host is there: what is cut off is this form, and the others are compared."""
    lists = Lists({-5.0: token(-5, {1: "revoked"})}, cut=frozenset({form.value}))
    log = published([change(1, "revoked", -310), VERSION, *issuances(0, 9)])
    assert await audit(log, lists=lists, folder=tmp_path) == DISAGREES
    out = capsys.readouterr().out
    assert f"list.unpublished {LIST}{form.value}: nobody can fetch it: a file can't be fetched: " in out
    assert "1 lists compared" in out


#: For one list: each form as anything and by its media type, and the list itself as a CWT.
REQUESTS = 2 * len(ListForm) + 1


async def test_lists_that_are_away_for_a_moment_are_asked_for_again(tmp_path: Path) -> None:
    """Nothing of the first look is answered; the client asks twice where a connection is cut."""
    lists = Lists({-5.0: token(-5, {1: "revoked"})}, cut_at_first=2 * REQUESTS)
    log = published([change(1, "revoked", -310), VERSION, *issuances(0, 9)])
    assert await audit(log, "--settle", "5", lists=lists, folder=tmp_path) == AGREES
    assert lists.served - len(lists.asked) == 3 * REQUESTS


@pytest.mark.parametrize("form", ListForm)
@pytest.mark.parametrize("status", [301, 403, 500])
async def test_one_form_that_is_refused_is_told_as_that(
    form: ListForm, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = Lists({-300.0: LOGGED, -5.0: token(-5, {1: "revoked"})}, refused={form.value: status})
    assert await audit(published(ENTRIES), lists=lists, folder=tmp_path) == DISAGREES
    out = capsys.readouterr().out
    assert f"list.unpublished {LIST}{form.value}: nobody can fetch it: a file can't be fetched: it answered" in out
    assert f"it answered {status}" in out
    assert "1 lists compared" in out


@of_this_moment
async def test_how_long_the_walk_takes_makes_no_list_old(tmp_path: Path) -> None:
    """Minutes, of a large log: what was fetched before is held to the time of then."""
    clock = ManualClock(datetime.now(UTC))
    version = ListPublished(LIST, 1, sha256(b"of before"), 0).to_bytes()
    log = published([change(1, "revoked", -310), change(2, "revoked", -1200), version])
    lists = Lists({-1500.0: token(-1500)})

    async def slow(path: str) -> bytes | None:
        if lists.served and path == "checkpoint":
            clock.advance(timedelta(minutes=20))
        return await log.fetch(path)

    async with AsyncExitStack() as exits:
        url = await exits.enter_async_context(served(slow))
        base = await exits.enter_async_context(lists.serve())
        looked = await look(
            await exits.enter_async_context(ClientSession()),
            url,
            Policy.of_log(log.signer.key),
            Beside({LIST_KEY.key_id: parse_public_jwk(LIST_KEY.public_jwk)}, {PREFIX: base}, LogMemory()),
            seconds=0,
            clock=clock,
        )
    assert clock.now() > datetime.now(UTC) + timedelta(minutes=10)
    assert looked.disagreements == []


@of_this_moment
@pytest.mark.parametrize(
    ("recorded", "shows", "code"),
    [
        (-7199.5, True, AGREES),  # in the second of the list's date, which is cut
        (-7199.5, False, DISAGREES),  # and if it is not, another list has long been due
        (-7190.5, True, AGREES),  # by another replica, whose clock is ahead
        (-7190.5, False, DISAGREES),
        (-6500, True, DISAGREES),  # clocks do not differ by so much: the list is of before, whatever it shows
    ],
)
async def test_a_list_is_as_old_as_its_second(
    recorded: float,
    shows: bool,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of lists that are relied on for a day, and signed again after some hours."""
    lists = Lists({-7200.0: token(-7200, {1: "revoked"} if shows else {}, lifetime=DAY)})
    entries = [change(1, "revoked", recorded), ListPublished(LIST, 1, sha256(b"of before"), 0).to_bytes()]
    assert await audit(published(entries), lists=lists, folder=tmp_path) == code
    told = capsys.readouterr().out
    assert ("list.stale" in told) is (recorded > -6600)
    assert ("status.list" in told) is (code == DISAGREES and not shows)


@of_this_moment
@pytest.mark.parametrize(("signed", "code"), [(-5, AGREES), (-20, DISAGREES), (-1900, DISAGREES)])
async def test_what_was_on_its_way_when_a_list_was_signed_need_not_be_in_it_for_seconds(
    signed: float, code: int, tmp_path: Path
) -> None:
    """A change is dated when it is decided. Once it is half an hour old, that excuses nobody."""
    recorded = signed - (20 if signed == -20 else 2)
    lists = Lists({float(signed): token(signed, lifetime=DAY)})
    entries = [change(1, "revoked", recorded), ListPublished(LIST, 1, sha256(b"of before"), 0).to_bytes()]
    assert await audit(published(entries), lists=lists, folder=tmp_path) == code


YEARS: float = 10 * 365 * 86_400


@of_this_moment
@pytest.mark.parametrize(("recorded", "code"), [(YEARS, DISAGREES), (300, AGREES)])
async def test_a_change_that_is_dated_in_the_future_is_shown_all_the_same(
    recorded: float, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a revocation would be in the log, and never be due in the lists; some minutes a clock may be ahead."""
    entries = [change(1, "revoked", recorded), ListPublished(LIST, 1, sha256(b"of before"), 0).to_bytes()]
    assert await audit(published(entries), lists=Lists({-5.0: token(-5)}), folder=tmp_path) == code
    assert (f"status.list {LIST}#1" in capsys.readouterr().out) is (code == DISAGREES)
    shown = Lists({-5.0: token(-5, {1: "revoked"})})
    assert await audit(published(entries), lists=shown, folder=tmp_path) == AGREES


@of_this_moment
async def test_a_change_that_is_dated_in_the_future_does_not_say_when_a_list_was_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, shown = token(-6000), {1: "revoked", 2: "revoked"}
    recorded = [change(1, "revoked", YEARS), change(2, "revoked", -5400)]
    entries = [ListPublished(LIST, 1, sha256(first), 0).to_bytes(), *recorded]
    lists = Lists({-90.0: token(-90, shown)})
    assert await audit(published(entries), lists=lists, folder=tmp_path) == DISAGREES
    assert f"list.unlogged {LIST}: " in capsys.readouterr().out


@pytest.mark.parametrize("grows", [True, False])
async def test_a_fault_of_a_log_that_grows_is_not_told_as_a_rollback(
    grows: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a witness has just cosigned is waited for, whatever else is wrong; then it is known what is."""
    log, damaged = published(issuances(0, 700)), Resource(1, 0, 2).path
    log.files[damaged] = bytes(64)
    began = time.monotonic()

    async def fetch(path: str) -> bytes | None:
        if grows and log.size == 700 and time.monotonic() - began > 0.5:
            log.append(issuances(700, 20)).publish()
            log.files[damaged] = bytes(64)
        return await log.fetch(path)

    async with witnessed(published(issuances(0, 720)), tmp_path) as policy, served(fetch) as url:
        given = ["log", "--url", url, "--settle", "2", "--policy", policy]
        assert await asyncio.to_thread(auditor.main, given) == DISAGREES
    out = capsys.readouterr().out
    assert "tile.differs" in out
    assert ("log.rolled_back" in out) is not grows


async def test_a_gap_in_a_copy_hides_nothing_that_is_behind_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = published(issuances(0, 256 * 40))
    for number in range(16, 32):
        del log.files[Resource(None, number).path], log.files[Resource(0, number).path]
    behind = Resource(None, 35).path
    log.files[behind] = log.files[behind].replace(log.entries[35 * 256 + 7], issuances(90_000, 1)[0])
    assert await audit(log) == DISAGREES
    out = capsys.readouterr().out
    assert f"leaf.differs leaf {35 * 256 + 7}: " in out
    assert "log.rolled_back" not in out


async def test_a_file_that_is_missing_is_told_as_that_and_as_no_fork(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a witness saw is what was signed; without a file of it nobody knows more."""
    log = published(issuances(0, 700))
    del log.files[Resource(None, 1).path], log.files[Resource(0, 1).path]
    for seen, forked in ((log, False), (published(issuances(1, 700)), True)):
        async with witnessed(seen, tmp_path) as policy:
            assert await audit(log, policy=policy) == DISAGREES
        out = capsys.readouterr().out
        assert "log.missing tile/entries/001: it is not served" in out
        assert ("log.forked witness w0" in out) is forked
        assert not any(kind in out for kind in ("log.root", "tile.differs", "log.rolled_back"))


async def test_a_log_that_followed_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever copies puts the statement first, and then what it says that there is."""
    whole = Site(issuances(0, 400), issuances(400, 30))
    began = time.monotonic()

    async def fetch(path: str) -> bytes | None:
        if path.startswith("log/") and time.monotonic() - began < 0.5:
            return None
        return await whole.fetch(path)

    async with served(fetch) as url:
        given = ["log", "--url", url, "--key", FIRST.key.text]
        assert await asyncio.to_thread(auditor.main, [*given, "--settle", "0"]) == DISAGREES
        out = capsys.readouterr().out
        assert f"log.missing {SECOND.key.name}: a statement says that it follows" in out
        assert "leaves, 400 issuances" in out
        assert await asyncio.to_thread(auditor.main, [*given, "--settle", "30"]) == AGREES


async def test_a_list_that_is_cut_off_hides_no_other_of_its_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is refused by its path alone is refused by who looks at paths."""
    other = f"{LIST}0"
    lists = Lists({-5.0: token(-5, {1: "revoked", 9: "revoked"})}, others_are_cut=True)
    log = published([change(1, "revoked", -310), VERSION, *issuances(0, 9)])
    assert await audit(log, "--list", f"{PREFIX}2026/a", "--list", other, lists=lists, folder=tmp_path) == DISAGREES
    out = capsys.readouterr().out
    assert f"list.unexplained {LIST}#9" in out
    assert f"not looked at: {PREFIX}2026/a: " in out


async def test_a_checkpoint_of_a_size_that_nothing_is_behind_ends_the_walk(capsys: pytest.CaptureFixture[str]) -> None:
    """Signed, as all that the log's operator wants to be walked."""
    log = published()
    hostile = Checkpoint(log.signer.key.name, 1 << 40, bytes(32))
    log.files["checkpoint"] = sign_checkpoint(hostile, log.signer).encode()
    began = time.monotonic()
    assert await audit(log) == DISAGREES
    assert time.monotonic() - began < 60
    out = capsys.readouterr().out
    assert "log.missing tile/entries/003: it is not served" in out
    assert ": what comes from there on was not looked for" in out


async def test_what_is_not_compared_or_asked_is_not_said_to_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, lists = published(ENTRIES), Lists({-300.0: LOGGED})
    assert await audit(log, "--list", f"{PREFIX}2026/no-9", lists=lists, folder=tmp_path) == DISAGREES
    out = capsys.readouterr().out
    assert "9 issuances, 1 lists compared, of 1 of them" in out
    assert f"list.unpublished {PREFIX}2026/no-9: nobody can fetch it: " in out
    assert await audit(log, lists=lists, folder=tmp_path) == AGREES
    assert "\nthe log and its lists agree; no witness was asked (" in capsys.readouterr().out
    async with witnessed(log, tmp_path) as policy:
        assert await audit(log, policy=policy, lists=lists, folder=tmp_path) == AGREES
    assert "\nthe log, its lists and its witnesses agree\n" in capsys.readouterr().out
    away = tmp_path / "away"
    away.write_text((tmp_path / "policy").read_text().replace("http://127.0.0.1:", "http://127.0.0.2:"))
    assert await audit(log, policy=str(away), lists=lists, folder=tmp_path) == DISAGREES
    assert "\nwitness.silent w0: WITNESS_UNREACHABLE: http://127.0.0.2:" in capsys.readouterr().out


async def test_a_list_that_no_leaf_names_is_compared_where_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, lists = published(), Lists({-5.0: token(-5, {7: "revoked"})})
    assert await audit(log, lists=lists, folder=tmp_path) == AGREES
    assert "the log agrees with itself; it names no list; no witness was asked (" in capsys.readouterr().out
    assert await audit(log, "--list", LIST, lists=lists, folder=tmp_path) == DISAGREES
    assert f"list.unexplained {LIST}#7" in capsys.readouterr().out


@of_this_moment
@pytest.mark.parametrize(("signed", "code"), [(-1800, AGREES), (-1790, DISAGREES)])
async def test_another_form_of_what_is_logged_is_logged(
    signed: float, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though a clock that went back dates a change after it long before; a form of another version is not excused."""
    logged = token(-1800, {1: "revoked", 2: "revoked"})
    version = ListPublished(LIST, 1, sha256(logged), 1).to_bytes()
    entries = [change(1, "revoked", -6010), version, change(2, "revoked", -5400)]
    planted = {".cwt": token(signed, {1: "revoked", 2: "revoked"}, ListForm.CWT)}
    lists = Lists({-1800.0: logged}, planted=planted)
    assert await audit(published(entries), lists=lists, folder=tmp_path) == code
    assert (f"list.unlogged {LIST}.cwt" in capsys.readouterr().out) is (code == DISAGREES)


async def test_an_issuance_that_is_not_in_the_log_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the whole audit: what the issuer's database says is held against the log as it is published."""
    policy = tmp_path / "policy"
    policy.write_text(f"log {note_signer().key.text}\nquorum none\n")
    credentials: list[Any] = []
    artefacts = {sha256(b"%d" % 698): "one in another format"}
    issuer = SimpleNamespace(credentials=credentials, lost=[], artefacts=artefacts)
    world = cast(WorldSnapshot, SimpleNamespace(issuer=issuer, topics={}, ledger=SimpleNamespace(lists=[])))

    async def settled(*_arguments: Any) -> Findings:
        return Findings(world, [], 0.0)

    monkeypatch.setattr(auditor, "settle", settled)
    monkeypatch.setattr(auditor, "as_text", lambda findings: [str(each) for each in findings.disagreements])
    async with served(published().fetch) as url:
        for name, value in (SETTINGS | {"LOG_URL": url, "LOG_POLICY_FILE": str(policy)}).items():
            monkeypatch.setenv(f"VITNE_{name}", value)
        for number, code in ((699, AGREES), (700, DISAGREES)):
            credentials.append(SimpleNamespace(digest=sha256(b"%d" % number), id=f"credential {number}"))
            assert await asyncio.to_thread(auditor.main, ["--settle", "0"]) == code
        artefacts[sha256(b"701")] = "credential 699 in another format"
        assert await asyncio.to_thread(auditor.main, ["--settle", "0"]) == DISAGREES
    shown = capsys.readouterr()
    assert "issuance.unpublished credential 699 in another format" in shown.out
    assert "700 of 700 leaves\n" in shown.err
    assert "published log: 700 leaves, 700 issuances, 0 lists compared\n" in shown.err
    assert shown.out.startswith("issuance.unpublished credential 700: the published log lacks it\n")
