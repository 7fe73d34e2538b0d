"""Programs that are imported once and forked off: to who starts them, processes like any other."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.portal_world import until
from vitne.dev import nursery as nurseries
from vitne.dev.nursery import SUPPORTED, Nursery, shared_nursery
from vitne.dev.processes import ManagedProcess, run_module
from vitne.errors import Unavailable

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="this system has no descriptors of processes")

PROGRAM = "tests.integration.forked_program"
ENVIRONMENT = {"PATH": "/nowhere", "ÆRE": "være"}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def process(nursery: Nursery, tmp_path: Path, *arguments: str) -> ManagedProcess:
    argv = [sys.executable, "-m", PROGRAM, *arguments]
    return ManagedProcess("the program", argv, ENVIRONMENT, tmp_path / "log", cwd=tmp_path, nursery=nursery)


async def told(running: ManagedProcess) -> dict[str, Any]:
    async def complete() -> bool:
        return running.log_path.exists() and running.log_path.read_text().endswith("\n")

    await until(complete)
    answer: dict[str, Any] = json.loads(running.log_path.read_text().splitlines()[0])
    return answer


async def test_it_has_arguments_environment_folder_and_output_of_its_own(nursery: Nursery, tmp_path: Path) -> None:
    running = process(nursery, tmp_path, "tell", "7")
    running.start()
    assert await running.wait() == 7
    own = await told(running)
    assert own["arguments"] == ["tell", "7"]
    assert own["environment"] == ENVIRONMENT
    assert own["folder"] == str(tmp_path)
    assert own["pid"] == own["group"] == running.pid
    assert "this goes wrong" in running.log_tail(), "standard error goes to the log, too"


async def test_it_is_imported_once(nursery: Nursery, tmp_path: Path) -> None:
    answers = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        running = process(nursery, folder, "tell", "0")
        running.start()
        assert await running.wait() == 0
        answers.append(await told(running))
    first, second = answers
    assert first["imported_by"] == second["imported_by"] == first["parent"]
    assert len({first["imported_by"], first["pid"], second["pid"]}) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_signal_ends_it_and_it_can_be_started_again(
    nursery: Nursery, tmp_path: Path, number: signal.Signals
) -> None:
    running = process(nursery, tmp_path, "wait")
    running.start()
    pid = (await told(running))["pid"]
    assert running.running
    if number == signal.SIGKILL:
        running.kill()
    else:
        await running.stop()
    assert (running.running, running.returncode) == (False, -number)
    running.start()
    assert running.running
    assert running.pid != pid
    running.kill()


async def test_it_ends_with_the_nursery(tmp_path: Path) -> None:
    nursery = Nursery()
    running = process(nursery, tmp_path, "wait")
    running.start()
    await told(running)
    nursery.close()
    assert await running.wait() == -signal.SIGKILL


def test_one_is_shared_by_all_who_need_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nurseries, "_shared", {})
    first = shared_nursery()
    assert first is not None
    assert shared_nursery({}) is first
    other = shared_nursery({"SSL_CERT_FILE": "/nowhere"})
    assert other not in (None, first)
    first.close()
    again = shared_nursery()
    assert again not in (None, first, other), "one that ended is replaced"
    for each in (other, again):
        assert each is not None
        each.close()


def test_what_can_not_be_imported_is_refused_and_others_are_not(nursery: Nursery) -> None:
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            nursery.start("tests.integration.nobody", [], {}, (0, 1, 2))
        assert refused.value.reason == "NURSERY_ENDED"
    nursery.open(PROGRAM)


@pytest.mark.parametrize("forked", [True, False])
async def test_a_command_reads_and_answers(nursery: Nursery, forked: bool) -> None:
    at = nursery if forked else None
    text = "æøå\n" * 50_000
    assert await run_module(PROGRAM, ["echo"], ENVIRONMENT, text.encode(), nursery=at) == (0, text.encode(), b"")
    code, output, errors = await run_module(PROGRAM, ["tell", "3"], ENVIRONMENT, nursery=at)
    assert (code, errors) == (3, b"this goes wrong\n")
    assert json.loads(output)["arguments"] == ["tell", "3"]
