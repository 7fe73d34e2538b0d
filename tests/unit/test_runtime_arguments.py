"""Commands' arguments: thumbprints of which one in 64 begins with a hyphen, and options that no command has."""

import argparse
import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor import log_command
from services.verifier import bundles, collect, command, status_command, verify_command
from vitne.runtime.arguments import host_and_port, parsed, served_elsewhere, some_seconds, web_address

HYPHENATED = base64.urlsafe_b64encode(b"\xfb" + bytes(31)).decode().rstrip("=")
NOWHERE = ["--trust-list", "http://127.0.0.1:1/v1/trust-list"]
LEDGER = ["--ledger", "127.0.0.1:1"]


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(exit_on_error=False)
    made.add_argument("--registry-key", required=True)
    made.add_argument("--verbose", action="store_true")
    made.add_argument("file")
    return made


@given(st.binary(min_size=31, max_size=31), st.booleans())
def test_each_thumbprint_is_a_value(rest: bytes, first: bool) -> None:
    key = base64.urlsafe_b64encode(b"\xfb" + rest).decode().rstrip("=")
    assert key.startswith("-")
    given_key = ["--registry-key", key]
    arguments = [*given_key, "--verbose", "-"] if first else ["-", "--verbose", *given_key]
    asked = parsed(_parser(), arguments)
    assert (asked.registry_key, asked.file, asked.verbose) == (key, "-", True)


@pytest.mark.parametrize(
    "arguments", [["--registry-key", "--verbose", "-"], ["-", "--registry-key"], [HYPHENATED, "-"]], ids=str
)
def test_what_is_missing_is_still_told(arguments: list[str]) -> None:
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parsed(_parser(), arguments)


each_command = pytest.mark.parametrize(
    ("run", "arguments"),
    [
        (command.main, [*NOWHERE, *LEDGER]),
        (collect.main, [*NOWHERE, *LEDGER, "--out", "/dev/null"]),
        (bundles.bundle_command, []),
        (verify_command.main, []),
        (status_command.main, [*NOWHERE, *LEDGER]),
        (status_command.verify_main, []),
        (log_command.main, [*NOWHERE, "--url", "http://127.0.0.1:1", "--policy", "/nowhere"]),
    ],
    ids=["check", "collect", "bundle", "verify-bundle", "status", "verify-status", "audit"],
)


@each_command
def test_each_command_takes_it(
    run: Callable[[Sequence[str]], int],
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That there is nothing to be had, or to be read, is what it says; not that its usage is wrong."""
    file = tmp_path / "credential"
    file.write_text("nothing that could be read")
    named = [] if run is log_command.main else [str(file)]
    assert run([*arguments, "--registry-key", HYPHENATED, *named]) > 0
    shown = capsys.readouterr()
    assert shown.out or shown.err
    assert "usage:" not in shown.err


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        HYPHENATED[:-1],
        f"{HYPHENATED}A",
        f"{HYPHENATED}=",
        HYPHENATED.replace("-", "+"),
        f"{HYPHENATED[:-1]}\n",
    ],
    ids=["empty", "short", "a character less", "a character more", "padded", "base64", "a line's end"],
)
@each_command
def test_what_is_no_thumbprint_is_wrong_usage(
    run: Callable[[Sequence[str]], int], arguments: list[str], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [] if run is log_command.main else ["-"]
    with pytest.raises(SystemExit) as ended:
        run([*arguments, f"--registry-key={key}", *named])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    said = shown.err.splitlines()[-1]
    assert "argument --registry-key: this is no thumbprint; rule: an RFC 7638 thumbprint" in said
    assert f"43 characters of base64url without padding, and this has {len(key)}; remedy: copy" in said
    assert shown.out == ""


@each_command
def test_a_thumbprint_that_lost_a_character_is_told_of_its_option(
    run: Callable[[Sequence[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    named = [] if run is log_command.main else ["-"]
    for lost in (HYPHENATED[:-1], f"-n{HYPHENATED}"):
        with pytest.raises(SystemExit):
            run([*arguments, "--registry-key", lost, *named])
        assert "argument --registry-key: this is no thumbprint; rule: " in capsys.readouterr().err


@pytest.mark.parametrize("unknown", ["--nonsense", "--nonsense=1", "-n", "--registry-kay=x"])
@pytest.mark.parametrize(
    "run",
    [
        command.main,
        collect.main,
        bundles.gather_command,
        bundles.bundle_command,
        verify_command.main,
        status_command.main,
        status_command.verify_main,
        log_command.main,
    ],
    ids=["check", "collect", "gather", "bundle", "verify-bundle", "status", "verify-status", "audit"],
)
def test_an_unknown_option_is_named_before_what_is_missing(
    run: Callable[[Sequence[str]], int], unknown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run([unknown])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"unrecognized arguments: {unknown} (--help" in said
    assert "required" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--registry-key", "k", "--verbose", "-"],
        ["--registry-key=k", "--verb", "-"],
        ["--reg", "k", "--verbose", "-1"],
        ["--verbose", "--registry-key", "k", "--", "--no-option"],
        ["--verbose", "--registry-key", "k", "--no option"],
        ["--verbose", "--registry-key", HYPHENATED, "-"],
    ],
    ids=str,
)
def test_what_argparse_takes_is_taken(arguments: list[str]) -> None:
    written_so = [f"--registry-key={HYPHENATED}" if each == HYPHENATED else each for each in arguments]
    asked = [each for each in written_so if each != "--registry-key" or HYPHENATED not in arguments]
    assert parsed(_parser(), arguments) == _parser().parse_args(asked)


def test_what_comes_after_the_options_is_left_as_it_is() -> None:
    asked = parsed(_parser(), ["--registry-key", "k", "--", HYPHENATED])
    assert (asked.registry_key, asked.file) == ("k", HYPHENATED)


def test_a_flag_takes_no_thumbprint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(_parser(), ["--registry-key", "k", "-", "--verbose", HYPHENATED])
    assert f"unrecognized arguments: {HYPHENATED}" in capsys.readouterr().err


def test_what_is_missing_is_told_where_nothing_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(log_command.parser(), ["--json"])
    assert "the following arguments are required: --url" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "log.example", "/srv/log", "ftp://log.example/", "https://", "https://a b/"])
def test_what_is_no_address_of_the_web_is_wrong_usage(text: str) -> None:
    assert web_address("https://log.example/2026") == "https://log.example/2026"
    with pytest.raises(argparse.ArgumentTypeError, match=r"no address of the web; rule: .*; remedy: copy"):
        web_address(text)


@pytest.mark.parametrize(
    "text", ["", "ledger", "https://ledger.example:443", "ledger:443/", "ledger:", ":443", "a b:1"]
)
def test_what_is_no_address_of_grpc_is_wrong_usage(text: str) -> None:
    for good in ("ledger.example:443", "127.0.0.1:7101", "[::1]:7101", "vitne_ledger-1:1"):
        assert host_and_port(good) == good
    with pytest.raises(argparse.ArgumentTypeError, match=r"no address of gRPC; rule: HOST:PORT.*; remedy: give"):
        host_and_port(text)


@pytest.mark.parametrize(
    "text", ["x", "https://a/", "https://a/=b", "https://a=https://b/", "=https://b/", "https://a/="]
)
def test_what_is_no_pair_of_addresses_is_wrong_usage(text: str) -> None:
    assert served_elsewhere("https://a/=http://127.0.0.1:1/b/") == ("https://a/", "http://127.0.0.1:1/b/")
    with pytest.raises(argparse.ArgumentTypeError, match=r"no pair of addresses; rule: PREFIX=BASE.*; remedy: https"):
        served_elsewhere(text)


@pytest.mark.parametrize("text", ["", "-5", "nan", "inf", "soon"])
def test_what_is_no_time_is_wrong_usage(text: str) -> None:
    assert (some_seconds("0"), some_seconds("2.5")) == (0.0, 2.5)
    with pytest.raises(argparse.ArgumentTypeError, match=r"no time; rule: seconds, 0 or more; remedy"):
        some_seconds(text)
