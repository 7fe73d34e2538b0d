"""Who runs a witness is told that it runs, what it cosigned and refused, and which argument is wrong."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.witness import __main__ as command
from tests.unit.log_samples import SampleLog, note_signer
from vitne.merkle.witnessing import AddCheckpoint

NAME = "witness.example/w1"


@pytest.fixture
def taken() -> Iterator[str]:
    """A place where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def arguments(folder: Path, log: SampleLog, place: str, name: str = NAME) -> list[str]:
    return ["serve", "--name", name, "--folder", str(folder), "--log", log.signer.key.text, "--listen", place]


@pytest.mark.parametrize("host", ["127.0.0.1", *(["[::]"] if socket.has_dualstack_ipv6() else [])])
def test_it_says_what_it_does(host: str, tmp_path: Path) -> None:
    """Also where it listens, when the system chose the port; at [::] for all."""
    log = SampleLog(note_signer(1)).append([b"a"])
    process = subprocess.Popen(
        [sys.executable, "-m", "services.witness", *arguments(tmp_path, log, f"{host}:0")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        says = [json.loads(process.stdout.readline())]
        listens = re.search(rf" listens at {re.escape(host)}:(\d+), for {re.escape(log.signer.key.text)}", str(says[0]))
        assert listens is not None
        asked = AddCheckpoint(0, (), log.note()).text().encode()
        for body in (asked, b"old 0\n\nno checkpoint"):
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{listens[1]}/add-checkpoint", body, timeout=20).close()
            says.append(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.communicate(timeout=20)
    texts = [each["message"] for each in says]
    assert texts[0].startswith(f"{NAME}+")
    assert texts[1] == f"{log.signer.key.name}: 1 leaves are cosigned"
    assert texts[2].startswith("nothing is cosigned: BAD_")


def test_an_argument_that_is_wrong_is_named(tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]) -> None:
    log = SampleLog(note_signer(1))
    assert command.main(arguments(tmp_path, log, taken)) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"PLACE_UNAVAILABLE: nothing can listen at {taken}: ")
    assert "; field: --listen; rule: " in said
    assert command.main(["key", "--name", "bad name+x", "--folder", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("BAD_NOTE_KEY: ")
    assert "; field: --name; " in said
    assert "as witness.example/w1" in said


def test_its_name_stays_with_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under another name the same key would be a witness that nobody knows."""
    asked = ["key", "--folder", str(tmp_path), "--name"]
    assert command.main([*asked, NAME]) == 0
    first = capsys.readouterr().out
    log = SampleLog(note_signer(1)).append([b"a"])
    for other in ([*asked, "witness.example/w2"], arguments(tmp_path, log, "127.0.0.1:0", "witness.example/w2")):
        assert command.main(other) == command.EXIT_USAGE
        told = capsys.readouterr()
        assert told.err.startswith("WITNESS_NAMED_ALREADY: ")
        assert f"remedy: give --name {NAME}; " in told.err
        assert told.out == ""
    assert command.main([*asked, NAME]) == 0
    assert capsys.readouterr().out == first
