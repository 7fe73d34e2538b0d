"""What machines go by: how ``vitne-audit`` ends where a log was tampered with, over HTTP; and the auditor beside it."""

from __future__ import annotations

import asyncio
import importlib
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from services.auditor import __main__ as auditor
from services.auditor import log_command
from services.auditor.exit_codes import AGREES, DISAGREES, NOT_LOOKED
from services.auditor.log_look import Looked
from tests.unit.log_samples import SampleLog, note_signer
from tests.unit.test_auditor_exit import SETTINGS
from tests.unit.test_published_logs import FIRST, Site, issuances, reopened, site, stated
from vitne.audit.agreement import Disagreement
from vitne.audit.snapshots import WorldSnapshot
from vitne.errors import DataLoss, Unavailable, VitneError
from vitne.inspection.installation import Findings
from vitne.inspection.log_memory import LogMemory

ROOT = Path(__file__).resolve().parents[2]
Fetch = Callable[[str], Awaitable[bytes | None]]


@asynccontextmanager
async def served(fetch: Fetch) -> AsyncIterator[str]:
    """A log's files over HTTP; answers their prefix."""

    async def answer(request: web.Request) -> web.Response:
        body = await fetch(request.match_info["path"])
        return web.Response(status=404) if body is None else web.Response(body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ends_with(found: Site | SampleLog, *arguments: str) -> int:
    """The exit code of ``vitne-audit``."""
    async with served(found.fetch) as url:
        given = ["--url", url, "--key", FIRST.key.text, "--settle", "0", *arguments]
        return await asyncio.to_thread(log_command.main, given)


def changed() -> Site:
    """An entry is another than the tile has the hash of."""
    found, other = site(), Site(issuances(0, 7) + issuances(9_000, 393), issuances(400, 300))
    path = next(path for path in found.old.files if path.startswith("tile/entries/"))
    found.old.files[path] = other.old.files[path]
    return found


def told_twice() -> Site:
    """Two statements say how the first log goes on."""
    found = site()
    found.statements = [found.statement, stated(found.old, note_signer(3, "log.vitne.example/2028"))]
    return found


@pytest.mark.parametrize(
    ("plant", "code", "says"),
    [
        (site, AGREES, ""),
        (changed, DISAGREES, "leaf.differs"),
        (reopened, DISAGREES, "log.reopened"),
        (told_twice, DISAGREES, "LOG_FORKED"),
        (lambda: SampleLog(FIRST), NOT_LOOKED, "LOG_UNREACHABLE"),
    ],
    ids=["nothing", "changed", "reopened", "told twice", "no log"],
)
async def test_the_exit_code_tells_what_was_planted(
    plant: Callable[[], Site | SampleLog], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await ends_with(plant()) == code
    shown = capsys.readouterr()
    assert says in shown.out + shown.err


def test_where_nobody_answers_it_is_the_address_that_was_given_that_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert auditor.main(["log", "--url", "http://127.0.0.1:9/logs/", "--key", FIRST.key.text]) == NOT_LOOKED
    assert capsys.readouterr().err.startswith("LOG_UNREACHABLE: http://127.0.0.1:9/logs: ")


@pytest.mark.parametrize(
    "given",
    [
        "localhost:8080",
        ".vitne/log-copy",
        "http://",
        "http://[::1",
        "http://127.0.0.1:x",
        "https://log.example/?size=1",
    ],
)
def test_what_is_no_address_is_refused_with_the_options_name(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        log_command.main(["--url", given, "--key", FIRST.key.text])
    assert ended.value.code == NOT_LOOKED
    told = capsys.readouterr().err
    assert f"argument --url: {given} is no address" in told
    assert "rule: http:// or https://" in told
    assert "remedy: give the address" in told


@pytest.mark.parametrize(
    ("answer", "place"),
    [(None, "/checkpoint: there is no checkpoint where the log is to be"), (b"<html>\n", ": not a signed note")],
    ids=["nothing", "a page"],
)
async def test_an_address_where_no_log_is_served_is_named_with_its_option(
    answer: bytes | None, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fetch(_path: str) -> bytes | None:
        return answer

    async with served(fetch) as url:
        code = await asyncio.to_thread(log_command.main, ["--url", url, "--key", FIRST.key.text])
    assert code == NOT_LOOKED
    told = capsys.readouterr().err
    assert f"{url}{place}" in told
    assert "field: --url; rule: the first log's prefix" in told
    assert "remedy: if the log is served elsewhere, give --url that address" in told


async def test_a_log_that_went_back_is_told_by_what_was_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remember = ["--remember", str(tmp_path / "seen")]
    log = SampleLog(FIRST).append(issuances(0, 300)).publish()
    assert await ends_with(log, *remember) == AGREES
    back = SampleLog(FIRST).append(issuances(0, 200)).publish()
    assert await ends_with(back, *remember) == DISAGREES
    assert "log.rolled_back" in capsys.readouterr().out
    # What it would remember now is what it must not: it still knows better.
    assert await ends_with(back, *remember) == DISAGREES
    assert await ends_with(log, *remember) == AGREES


@pytest.mark.parametrize(
    ("option", "value", "reason", "says"),
    [
        ("--remember", "no/file", "FOLDER_MISSING", "there is no folder"),
        ("--remember", "", "FILE_UNREADABLE", "can't be read: Is a directory"),
        ("--remember", "page.html", "LOG_MEMORY_UNREADABLE", "page.html is not what was remembered"),
        ("--mirror", "page.html", "FOLDER_MISSING", "page.html is no folder"),
        ("--mirror", "no/folder", "FOLDER_MISSING", "can't be made: No such file or directory"),
    ],
)
async def test_what_can_not_be_kept_is_told_before_anything_is_looked_at(
    option: str, value: str, reason: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").write_text("<p>")
    # Nobody is there: who looked would say so.
    given = ["--url", "http://127.0.0.1:9", "--key", FIRST.key.text, option, str(tmp_path / value)]
    assert await asyncio.to_thread(log_command.main, given) == NOT_LOOKED
    told = capsys.readouterr().err
    assert told.startswith(f"{reason}: ")
    assert says in told
    assert f"field: {option}; rule: " in told
    assert "; remedy: " in told


@pytest.mark.parametrize("key", ["", "log.example+1234+abc"])
async def test_a_key_that_is_none_is_wrong_usage_and_no_disagreement(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        log_command.main(["--url", "http://127.0.0.1:9", f"--key={key}"])
    assert ended.value.code == NOT_LOOKED
    assert "argument --key: not a note's Ed25519 key" in capsys.readouterr().err


async def test_a_policy_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy"
    file.write_text("log\n")
    assert log_command.main(["--url", "http://127.0.0.1:9", "--policy", str(file)]) == NOT_LOOKED
    told = capsys.readouterr().err
    assert told.startswith(f"BAD_LOG_POLICY: {file}: ")
    assert "field: --policy" in told


async def test_a_policy_that_is_still_to_be_filled_in_is_told_as_that(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = ROOT / "deploy/k8s/overlays/production/log-policy"
    assert log_command.main(["--url", "http://127.0.0.1:9", "--policy", str(file)]) == NOT_LOOKED
    told = capsys.readouterr().err
    assert told.startswith(f"BAD_LOG_POLICY: {file}: keys are still to be filled in: line 4 says +REPLACE+ME")


async def test_one_command_has_both_walks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is installed: ``vitne-audit``, by an installation's settings, and ``vitne-audit log``, by none."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["vitne-audit"].partition(":")
    command = getattr(importlib.import_module(module), function)

    def ends(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["vitne-audit", *arguments])
        with pytest.raises(SystemExit) as ended:
            command()
        return cast(int, ended.value.code)

    assert ends("--help") == AGREES
    told = capsys.readouterr().out
    for each in ("vitne-audit log", "--settle", "VITNE_LEDGER_DSN", "VITNE_LOG_POLICY_FILE"):
        assert each in told
    assert ends("log", "--help") == AGREES
    assert "--remember" in capsys.readouterr().out
    assert ends() == NOT_LOOKED
    assert "VITNE_LEDGER_DSN: must be set" in capsys.readouterr().err
    async with served(site().fetch) as url:
        for word in ([], ["log"]):
            for named in (["--url", url], [f"--url={url}"]):
                given = [*word, "--key", FIRST.key.text, "--settle", "0", *named]
                assert await asyncio.to_thread(ends, *given) == AGREES
                assert "702 leaves" in capsys.readouterr().out


FOUND = Disagreement("issuance.lost", "a credential", "the portal lacks it")


@pytest.mark.parametrize(
    ("found", "met", "code", "says"),
    [
        ([FOUND], Unavailable("LOG_UNREACHABLE", "it is away"), DISAGREES, "issuance.lost"),
        ([], Unavailable("LOG_UNREACHABLE", "it is away"), NOT_LOOKED, "LOG_UNREACHABLE"),
        ([], DataLoss("LOG_FORKED", "it says two things"), DISAGREES, "log.forked"),
        ([FOUND], DataLoss("LOG_FORKED", "it says two things"), DISAGREES, "issuance.lost"),
    ],
)
def test_what_the_databases_told_is_not_lost_where_the_log_cannot_be_walked(
    found: list[Disagreement],
    met: VitneError,
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    policy = tmp_path / "policy"
    policy.write_text(f"log {FIRST.key.text}\nquorum none\n")
    values = SETTINGS | {"LOG_URL": "http://127.0.0.1:1", "LOG_POLICY_FILE": str(policy)}
    for name, value in values.items():
        monkeypatch.setenv(f"VITNE_{name}", value)
    issuer, ledger = SimpleNamespace(credentials=[], lost=[], artefacts={}), SimpleNamespace(lists=[])
    world = cast(WorldSnapshot, SimpleNamespace(issuer=issuer, topics={}, ledger=ledger))

    async def settled(*_arguments: Any) -> Findings:
        return Findings(world, found, 0.0)

    async def walked(*_arguments: Any, **_named: Any) -> None:
        raise met

    monkeypatch.setattr(auditor, "settle", settled)
    monkeypatch.setattr(auditor, "look", walked)
    monkeypatch.setattr(auditor, "as_text", lambda findings: [str(each) for each in findings.disagreements])
    assert auditor.main(["--settle", "0"]) == code
    shown = capsys.readouterr()
    assert says in shown.out + shown.err


@pytest.mark.parametrize(
    ("found", "of_the_log", "code"),
    [([], [], NOT_LOOKED), ([FOUND], [], DISAGREES), ([], [FOUND], DISAGREES)],
)
def test_the_whole_audit_is_not_at_its_end_where_lists_cannot_be_fetched(
    found: list[Disagreement],
    of_the_log: list[Disagreement],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What else was found is told; where nothing was, nobody looked."""
    policy, memory = tmp_path / "policy", tmp_path / "seen"
    policy.write_text(f"log {FIRST.key.text}\nquorum none\n")
    values = {"LOG_URL": "http://127.0.0.1:1", "LOG_POLICY_FILE": str(policy), "LOG_MEMORY_FILE": str(memory)}
    for name, value in (SETTINGS | values).items():
        monkeypatch.setenv(f"VITNE_{name}", value)
    issuer, ledger = SimpleNamespace(credentials=[], lost=[], artefacts={}), SimpleNamespace(lists=[])
    world = cast(WorldSnapshot, SimpleNamespace(issuer=issuer, topics={}, ledger=ledger))
    away = Unavailable("LISTS_UNREACHABLE", "nobody answers there")

    async def settled(*_arguments: Any) -> Findings:
        return Findings(world, found, 0.0)

    async def walked(*_arguments: Any, **_named: Any) -> Looked:
        unreachable = {"https://status.example/1": away, "https://status.example/2": away}
        return Looked(LogMemory(), 9, 4, 0, 0, True, {}, of_the_log, unreachable)

    monkeypatch.setattr(auditor, "settle", settled)
    monkeypatch.setattr(auditor, "look", walked)
    monkeypatch.setattr(auditor, "as_text", lambda findings: [str(each) for each in findings.disagreements])
    assert auditor.main(["--settle", "0"]) == code
    shown = capsys.readouterr()
    assert ("issuance.lost" in shown.out) is (code == DISAGREES)
    assert shown.err.count("LISTS_UNREACHABLE") == 1
    assert "published log: 9 leaves, 4 issuances, 0 lists compared" in shown.err
    assert not memory.exists()


@pytest.mark.parametrize(
    ("name", "content"), [("", None), ("seen", b"\xff"), ("seen", b"no note"), ("absent/seen", None)]
)
def test_the_whole_audit_says_which_setting_names_a_memory_that_is_none(
    name: str,
    content: bytes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    policy, memory = tmp_path / "policy", tmp_path / name
    policy.write_text(f"log {FIRST.key.text}\nquorum none\n")
    if content is not None:
        memory.write_bytes(content)
    values = {"LOG_URL": "http://127.0.0.1:1", "LOG_POLICY_FILE": str(policy), "LOG_MEMORY_FILE": str(memory)}
    for setting, value in (SETTINGS | values).items():
        monkeypatch.setenv(f"VITNE_{setting}", value)
    issuer, ledger = SimpleNamespace(credentials=[], lost=[], artefacts={}), SimpleNamespace(lists=[])
    world = cast(WorldSnapshot, SimpleNamespace(issuer=issuer, topics={}, ledger=ledger))

    async def settled(*_arguments: Any) -> Findings:
        return Findings(world, [], 0.0)

    monkeypatch.setattr(auditor, "settle", settled)
    assert auditor.main(["--settle", "0"]) == NOT_LOOKED
    told = capsys.readouterr().err
    assert "field: VITNE_LOG_MEMORY_FILE" in told
    assert str(memory.parent) in told
