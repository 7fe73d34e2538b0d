"""Commands ``check`` and ``gather``: what is refused names the argument at fault, with a rule and a remedy."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from aiohttp import web

from services.verifier import bundles, collect, command, status_command, verify_command
from services.verifier.files import told_of_credential
from tests.unit.verifier_world import World
from vitne.clock import SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.errors import InvalidArgument, Unavailable
from vitne.runtime.argument_files import write_file
from vitne.runtime.arguments import told_of_argument

NOWHERE = "http://127.0.0.1:1/v1/trust-list"
PLACES = ["--ledger", "127.0.0.1:1", "--registry-key", "A" * 43]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a credential, an image without one and a file of something else are."""
    (tmp_path / "credential").write_text(World().issue())
    (tmp_path / "cut").write_text("eyJ.e30")
    (tmp_path / "image").write_bytes(b"\x89PNG")
    (tmp_path / "junk").write_text("hello")
    for name in ("VITNE_CHANNEL_AUTHORITY_FILE", "VITNE_CHANNEL_CERTIFICATE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Reason and field of the one refusal that was printed."""
    shown = capsys.readouterr()
    assert shown.out == ""
    # A server of the test may log beside it.
    told: list[tuple[str, str]] = re.findall(
        r"^(\w+): .+?; field: (.+?); rule: .+; remedy: .+$", shown.err, re.MULTILINE
    )
    assert len(told) == 1, shown.err
    return told[0]


@pytest.mark.parametrize(
    ("arguments", "reason", "argument"),
    [
        (["--allow", "everything"], "BAD_ALLOW_RULE", "--allow"),
        (["--allow", "https://[a/"], "BAD_ALLOW_RULE", "--allow"),
        (["--allow", "https://a.example/=http://b.example/"], "BAD_ALLOW_RULE", "--allow"),
        (["--trust-list", "https://r.example"], "BAD_URL", "--trust-list"),
        (["--trust-list", "http://r.example/v1/trust-list"], "BAD_ALLOW_RULE", "--trust-list"),
        (["--trust-list", "https://u:p@r.example/v1/trust-list"], "BAD_ALLOW_RULE", "--trust-list"),
        (["--log-policy", "junk"], "BAD_LOG_POLICY", "--log-policy"),
        (["--log-policy", "nowhere"], "FILE_UNREADABLE", "--log-policy"),
        (["--trust-anchors", "junk"], "BAD_TRUST_ANCHORS", "--trust-anchors"),
        (["--trust-anchors", "nowhere"], "FILE_UNREADABLE", "--trust-anchors"),
        (["--remember", "junk"], "LOG_MEMORY_UNREADABLE", "--remember"),
        (["--remember", "nowhere/memory"], "FILE_UNREADABLE", "--remember"),
        (["--ledger-certificate", "junk"], "LEDGER_CA_MISSING", "--ledger-ca"),
        (["--ledger-ca", "junk"], "TLS_FILE_MALFORMED", "--ledger-ca"),
        (["--ledger-ca", "nowhere"], "TLS_FILE_UNREADABLE", "--ledger-ca"),
    ],
    ids=str,
)
def test_check_names_the_option_at_fault(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str, argument: str
) -> None:
    assert command.main(["--trust-list", NOWHERE, *PLACES, *arguments, "credential"]) == 2
    assert refused(capsys) == (reason, argument)


@pytest.mark.parametrize(
    ("certificate", "authority", "argument"),
    [("own", "junk", "--ledger-ca"), ("junk", "own", "--ledger-certificate")],
)
def test_which_of_two_files_of_tls_is_at_fault_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], certificate: str, authority: str, argument: str
) -> None:
    made = CertificateAuthority(folder, SystemClock()).issue("own", server=False)
    (folder / "own").write_bytes(made.read_bytes())
    tls = ["--ledger-certificate", certificate, "--ledger-ca", authority]
    assert command.main(["--trust-list", NOWHERE, *PLACES, *tls, "credential"]) == 2
    assert refused(capsys) == ("TLS_FILE_MALFORMED", argument)


@pytest.mark.parametrize(
    ("name", "reason"), [("junk", "NOT_A_CREDENTIAL"), ("image", "BAD_IMAGE"), ("nowhere", "FILE_UNREADABLE")]
)
def test_both_name_the_credential_s_file(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    assert command.main(["--trust-list", NOWHERE, *PLACES, name]) == 2
    assert refused(capsys) == (reason, "CREDENTIAL_FILE")
    assert bundles.gather_command(["--registry", "http://127.0.0.1:1", name]) == 2
    assert refused(capsys) == (reason, "CREDENTIAL_FILE")


def test_gather_and_collect_name_the_file_of_a_bad_credential(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bundles.gather_command(["--registry", "http://127.0.0.1:1", "cut"]) == 1
    assert refused(capsys) == ("SD_JWT_MALFORMED", "CREDENTIAL_FILE")
    assert collect.main(["--trust-list", NOWHERE, *PLACES, "--out", "out", "cut"]) == 2
    assert refused(capsys)[1] == "CREDENTIAL_FILE"


def test_a_list_that_is_out_of_reach_is_told_of_its_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--trust-list", NOWHERE, *PLACES, "credential"]) == 1
    assert "the registry's trust list was not taken: FETCH_FAILED: " in (told := capsys.readouterr().err)
    assert "; field: --trust-list; rule: " in told
    assert collect.main(["--trust-list", NOWHERE, *PLACES, "--out", "out", "credential"]) == 2
    assert refused(capsys) == ("FETCH_FAILED", "--trust-list")
    assert not (folder / "out").exists()


def test_a_ledger_that_does_not_answer_is_told_of_its_option() -> None:
    asked = argparse.Namespace(ledger="127.0.0.1:1")
    with pytest.raises(Unavailable) as told, command.told_of_ledger(asked):
        raise Unavailable("UNREACHABLE", "a service that this depends on is out of reach")
    assert (told.value.reason, told.value.field) == ("UNREACHABLE", "--ledger")
    assert told.value.message == "no ledger answers at 127.0.0.1:1"
    other = Unavailable("STATUS_NOT_PROVABLE", "not yet")
    with pytest.raises(Unavailable) as told, command.told_of_ledger(asked):
        raise other
    assert told.value is other


@pytest.mark.parametrize("registry", ["", "r.example", "ftp://r.example", "https://[r"])
def test_what_is_no_address_of_a_registry_is_wrong_usage(
    folder: Path, capsys: pytest.CaptureFixture[str], registry: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        bundles.gather_command([f"--registry={registry}", "credential"])
    assert ended.value.code == 2
    assert "argument --registry: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("registry", "code", "reason"),
    [
        ("http://r.example", 2, "BAD_ALLOW_RULE"),
        ("https://u:p@r.example", 2, "BAD_ALLOW_RULE"),
        ("https://r.example/?a", 2, "BAD_ALLOW_RULE"),
        ("http://127.0.0.1:1", 1, "FETCH_FAILED"),
    ],
)
def test_gather_names_the_registry_s_option(
    folder: Path, capsys: pytest.CaptureFixture[str], registry: str, code: int, reason: str
) -> None:
    assert bundles.gather_command(["--registry", registry, "credential"]) == code
    assert refused(capsys) == (reason, "--registry")


async def test_gather_names_it_also_where_somebody_else_answers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        arguments = ["--registry", f"http://{host}:{port}", "credential"]
        assert await asyncio.to_thread(bundles.gather_command, arguments) == 1
    finally:
        await runner.cleanup()
    assert refused(capsys) == ("BAD_EXTRACT", "--registry")


#: What each command keeps that another one reads, as far as it is told by that.
KEPT = {
    "verify-bundle": b"PK\x03\x04",
    "bundle": b'{"accreditation": "", "credential": ""}',
    "verify-status": b'{"known_at": "2026-11-21T10:00:00Z", "trust_list": ""}',
}


@pytest.mark.parametrize(
    ("main", "reads", "argument"),
    [
        (verify_command.main, "verify-bundle", "BUNDLE_FILE"),
        (bundles.bundle_command, "bundle", "BUNDLE_FILE"),
        (status_command.verify_main, "verify-status", "STATUS_FILE"),
    ],
)
def test_what_another_command_keeps_is_told_as_that(
    main: Callable[[list[str]], int],
    reads: str,
    argument: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", str(folder / ".venv/bin/python"))
    for command_, data in KEPT.items():
        (folder / "kept").write_bytes(data)
        assert main(["--registry-key", "A" * 43, "kept"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("OTHER_BUNDLE: this is the ") is (command_ != reads)
        remedy = f"; field: {argument}; rule: the .*; remedy: .venv/bin/python -m services.verifier {command_}\n"
        assert bool(re.search(remedy, said.err)) is (command_ != reads)


def test_an_argument_takes_over_what_is_said_of_it_and_leaves_the_rest() -> None:
    error = InvalidArgument("R", "m", field="url", rule="r", remedy="do", metadata={"a": "b"})
    with pytest.raises(InvalidArgument) as caught, told_of_argument("--x", "url", rule="of x"):
        raise error
    told = caught.value
    assert (str(told), told.metadata) == ("R: m; field: --x; rule: of x; remedy: do", {"a": "b"})
    with pytest.raises(InvalidArgument) as caught, told_of_argument("--x", "other", remedy="no"):
        raise error
    assert caught.value is error
    with pytest.raises(InvalidArgument) as caught, told_of_argument("--x", remedy="mend x"):
        raise error
    assert (caught.value.field, caught.value.rule, caught.value.remedy) == ("--x", "r", "mend x")


@pytest.mark.parametrize(
    ("field", "told"), [("", ""), ("credential", ""), ("image", ""), ("elmo/report", ", elmo/report")]
)
def test_where_in_a_credential_something_is_wrong_is_still_told(field: str, told: str) -> None:
    with pytest.raises(InvalidArgument) as caught, told_of_credential():
        raise InvalidArgument("R", "m", field=field)
    assert caught.value.field == f"CREDENTIAL_FILE{told}"


def test_what_is_no_file_is_written_to_and_a_link_to_one_is_not(folder: Path) -> None:
    write_file(Path("/dev/null"), b"x", "--out")
    write_file(Path("/dev/null"), b"y", "--out")
    (folder / "link").symlink_to("junk")
    with pytest.raises(Exception, match="FILE_EXISTS"):
        write_file(folder / "link", b"x", "--out")
    assert (folder / "junk").read_text() == "hello"


def test_of_what_cannot_be_written_whole_nothing_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next try is not refused for what the first one left."""
    out = folder / "out"
    opened = Path.open

    class Full:
        def __init__(self, file: IO[Any]) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_error: object) -> None:
            self.file.close()

        def write(self, _content: bytes) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, *mode: Full(opened(path, *mode)))
    with pytest.raises(InvalidArgument, match=r"FILE_UNWRITABLE: .*No space left"):
        write_file(out, b"x", "--out")
    monkeypatch.undo()
    assert not out.exists()
