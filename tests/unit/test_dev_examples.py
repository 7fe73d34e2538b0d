"""The examples of docs/ where no stack runs, and where a call is refused: one line that says so, no traceback."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from joserfc.jwk import RSAKey

from tests.docs.pages import ROOT
from vitne.dev.broker import EmbeddedBroker, TopicSpec
from vitne.dev.examples import run_example
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.errors import PermissionDenied

EXAMPLES = sorted(path.name for path in (ROOT / "docs" / "examples").glob("*.py"))


def run(example: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VITNE_")}
    return subprocess.run(
        [sys.executable, ROOT / "docs" / "examples" / example, *arguments],
        env=kept | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def ended(example: str, environment: dict[str, str], argument: Path) -> str:
    """What an example writes that does not come through."""
    process = run(example, *([str(argument)] if example == "emrex.py" else []), **environment)
    assert process.returncode == 1
    assert process.stdout == ""
    return process.stderr


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """The environment of a stack that has ended: nobody is at its addresses."""
    [port] = free_ports(1)
    key = tmp_path / "client.jwk"
    key.write_text(json.dumps(RSAKey.generate_key(2048, private=True, auto_kid=True).as_dict(private=True)))
    places = dict.fromkeys(("VITNE_REGISTRY", "VITNE_ISSUER", "VITNE_KAFKA"), f"{LOOPBACK}:{port}")
    pages = dict.fromkeys(("VITNE_PORTAL_URL", "VITNE_IDENTITY_URL"), f"http://{LOOPBACK}:{port}")
    clients = {"VITNE_PROVIDER_CLIENT": "a", "VITNE_HUB_CLIENT": "b"}
    keys = dict.fromkeys(("VITNE_PROVIDER_KEY_FILE", "VITNE_HUB_KEY_FILE"), str(key))
    names = {"VITNE_AUDIENCE": "https://api.example", "VITNE_PROVIDER": "0192:1", "VITNE_HUB_TOPIC": "vitne.hub.x.v1"}
    return {**places, **pages, **clients, **keys, **names}


@pytest.mark.parametrize("example", EXAMPLES)
def test_help_needs_no_stack_and_what_is_no_argument_is_refused(
    example: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = str(ROOT / "docs" / "examples" / example)
    monkeypatch.delenv("VITNE_PORTAL_URL", raising=False)
    for given, code in (["--help"], 0), ([*(["a.pem"] if example == "emrex.py" else []), "--hlep"], 2):
        monkeypatch.setattr(sys, "argv", [program, *given])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(program, run_name="__main__")
        assert end.value.code == code
    told = capsys.readouterr()
    assert "usage:" in told.out
    assert "unrecognized arguments: --hlep" in told.err


async def test_a_topic_that_is_not_there_is_named_and_not_made(nobody: dict[str, str], tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.create_topics([TopicSpec("vitne.hub.y.v1")])
        environment = nobody | {"VITNE_KAFKA": broker.bootstrap_servers}
        process = await asyncio.to_thread(run, "subscribe.py", **environment)
        assert process.returncode == 1
        assert "no topic vitne.hub.x.v1 (VITNE_HUB_TOPIC); rule: " in process.stderr
        assert "remedy: . .vitne/up/environment" in process.stderr
        async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
            assert "vitne.hub.x.v1" not in await consumer.topics()


async def test_of_a_topic_with_nothing_in_it_nothing_is_fetched(nobody: dict[str, str], tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.create_topics([TopicSpec("vitne.hub.x.v1")])
        environment = nobody | {"VITNE_KAFKA": broker.bootstrap_servers}
        # The issuer is away: it is not asked.
        process = await asyncio.to_thread(run, "subscribe.py", **environment)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == "0 credentials are there to fetch\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_without_a_stack_it_says_how_to_start_one(example: str, nobody: dict[str, str], tmp_path: Path) -> None:
    for environment, remedy in ((nobody, "remedy if the stack ended or was started anew: "), ({}, "remedy: ")):
        told = ended(example, environment, tmp_path / "emrex.pem")
        assert told.count("\n") == 1
        assert f"{remedy}`make up` in another shell" in told
        assert ". .vitne/up/environment" in told


@pytest.mark.parametrize(
    ("example", "name"),
    [("issue.py", "VITNE_ISSUER"), ("issue.py", "VITNE_PROVIDER_CLIENT"), ("subscribe.py", "VITNE_KAFKA")],
)
def test_one_variable_that_is_not_set_is_named(example: str, name: str, nobody: dict[str, str], tmp_path: Path) -> None:
    del nobody[name]
    told = ended(example, nobody, tmp_path)
    assert told.count("\n") == 1
    assert told.startswith(f"{name} is not set in this shell; remedy: ")
    assert ". .vitne/up/environment" in told


def test_what_is_no_variable_is_a_fault_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    async def faulty() -> None:
        raise KeyError("VITNE_PORTAL_URL")

    monkeypatch.setenv("VITNE_PORTAL_URL", "http://portal.example")
    monkeypatch.setattr(sys, "argv", ["example.py"])
    with pytest.raises(KeyError):
        run_example(faulty)


def test_what_a_service_refuses_keeps_its_own_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused() -> None:
        raise PermissionDenied("NO_ACCREDITATION", "it may not\nissue this", remedy="apply for it")

    monkeypatch.setenv("VITNE_PORTAL_URL", "http://portal.example")
    monkeypatch.setattr(sys, "argv", ["example.py"])
    with pytest.raises(SystemExit) as end:
        run_example(refused)
    assert end.value.code == "NO_ACCREDITATION: it may not issue this; remedy: apply for it"
