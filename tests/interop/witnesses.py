"""Tessera's witness client has a log of its own, in Go, cosigned by our witnesses, each a process.

Usage: ``python -m tests.interop.witnesses`` from the project's root. Without Go on the PATH it only says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from services.witness.memory import origin_hash
from vitne.dev.foreign import run_foreign
from vitne.dev.ports import LOOPBACK, free_port
from vitne.dev.processes import ManagedProcess, run_module
from vitne.errors import PermissionDenied
from vitne.merkle.cosignatures import CosignerKey
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.notes import Checkpoint, keep_signatures
from vitne.merkle.policy import Policy
from vitne.merkle.tree import CompactTree

MODULE: Final = Path(__file__).parent / "tiles"
ORIGIN: Final = "tessera.example/log"
#: What may be used to compile for the first time, the modules fetched.
GO_SECONDS: Final = 600
#: What the program gets, and how long it waits for a checkpoint itself.
RUN_SECONDS: Final = 90
PATIENCE: Final = "60s"
READY_SECONDS: Final = 60
#: After so many refusals nothing is waited for any more.
REFUSALS: Final = 3
OK, CONFLICT, UNPROCESSABLE = 200, 409, 422


class Witness:
    """A process of ours: its key, its memory, its address, which stay when it is started again."""

    def __init__(self, name: str, folder: Path, log: str) -> None:
        self.name = name
        self.key = ""
        self.address = f"{LOOPBACK}:{free_port()}"
        self.url = f"http://{self.address}"
        self._own = ["--name", f"{name}.example", "--folder", str(folder / name)]
        serve = ["serve", *self._own, "--log", log, "--listen", self.address]
        command = [sys.executable, "-m", "services.witness", *serve]
        self.process = ManagedProcess(name, command, log_path=folder / f"{name}.log")

    async def start(self) -> None:
        if not self.key:
            code, key, errors = await run_module("services.witness", ["key", *self._own], os.environ)
            assert code == 0, errors
            self.key = key.decode().strip()
        self.process.start()
        await self.process.wait_ready(self._ready, READY_SECONDS)

    async def remembers(self) -> str:
        """What it cosigned last of the log, as it tells monitors."""
        return await self._get(f"/{origin_hash(ORIGIN)}/checkpoint")

    async def _ready(self) -> bool:
        try:
            return f"witness {self.key}\n" in await self._get("/")
        except (aiohttp.ClientError, OSError):
            return False

    async def _get(self, path: str) -> str:
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(self.url + path) as response:
            return await response.text()


class Log:
    """A log that Tessera keeps in a folder. Its process ends with each run.

    Args:
        program: the Go program.
        folder: where the log is.
        keys: file with the log's keys.
    """

    def __init__(self, program: Path, folder: Path, keys: Path) -> None:
        self._program = program
        self._folder = folder
        self._keys = keys
        self._tree = CompactTree()

    async def run(self, text: str, leaves: int, policy: Path | None, *, refused: bool = False) -> dict[str, Any]:
        """Add leaves, publish; answer what came of it.

        Args:
            text: of the leaves, before their number.
            leaves: how many.
            policy: what a checkpoint has to have to be published; None: nothing.
            refused: whether none of all leaves is expected to be published.
        """
        own = ["-folder", str(self._folder), "-key", str(self._keys), "-patience", PATIENCE]
        own += ["-text", text, "-leaves", str(leaves), "-refusals", str(REFUSALS if refused else 0)]
        own += ["-policy", str(policy)] if policy is not None else []
        written = await run_foreign("the Go program", RUN_SECONDS, str(self._program), *own, read=True)
        for number in range(leaves):
            self._tree.append(leaf_hash(f"{text} {number}".encode()))
        report: dict[str, Any] = json.loads(written)
        assert report["leaves"] == self._tree.size, report
        assert report["published"] is not refused, report
        return report

    @property
    def checkpoint(self) -> Checkpoint:
        """What has to be published of all leaves, by our own tree."""
        return Checkpoint(ORIGIN, self._tree.size, self._tree.root())

    def forget(self) -> None:
        """Take away what Tessera published, by which it knows how much witnesses have seen."""
        (self._folder / "checkpoint").unlink()


class World:
    """Two witnesses, one log, and the policy that wants both.

    Args:
        program: the Go program.
        folder: where all is kept.
        exits: ends what is started.
    """

    def __init__(self, program: Path, folder: Path, exits: AsyncExitStack) -> None:
        self._program = program
        self._folder = folder
        self._exits = exits
        self._keys = folder / "keys"
        self._log_key = ""

    async def start(self) -> None:
        made = json.loads(
            await run_foreign("the Go program", RUN_SECONDS, str(self._program), "-new-key", ORIGIN, read=True)
        )
        self._keys.write_text(f"{made['private']}\n{made['public']}\n")
        self._log_key = made["public"]
        self.log = self.another_log("log")
        self.one, self.two = await self.witness("one"), await self.witness("two")
        self.policy = self.wanting(self.one, self.two)

    def another_log(self, name: str) -> Log:
        """A log in a folder of its own, with the same keys."""
        return Log(self._program, self._folder / name, self._keys)

    async def witness(self, name: str) -> Witness:
        """Another witness, which runs."""
        made = Witness(name, self._folder, self._log_key)
        self._exits.push_async_callback(made.process.stop)
        await made.start()
        return made

    def wanting(self, *witnesses: Witness) -> Path:
        """A policy that wants all of them."""
        names = [each.name for each in witnesses]
        lines = [f"log {self._log_key}", *(f"witness {each.name} {each.key} {each.url}" for each in witnesses)]
        lines += [f"group wanted {len(names)} {' '.join(names)}", "quorum wanted", ""]
        file = self._folder / f"policy-{'-'.join(names)}"
        file.write_text("\n".join(lines))
        return file


def check_published(report: dict[str, Any], log: Log, file: Path) -> None:
    """All leaves are published as both sides' policies want it, by each witness, with the root that we compute."""
    assert report["satisfied"], report
    policy = Policy.parse(file.read_text())
    witnessed = policy.open(report["checkpoint"])
    assert witnessed.checkpoint == log.checkpoint
    assert set(witnessed.cosigned) == set(policy.witnesses)
    for missing in policy.witnesses.values():
        check_quorum(policy, report["checkpoint"], missing)


def check_quorum(policy: Policy, note: str, missing: CosignerKey) -> None:
    """Our policy wants the cosignature, too."""
    others = [*policy.logs, *(key for key in policy.witnesses.values() if key != missing)]
    with pytest.raises(PermissionDenied, match="QUORUM_MISSING"):
        policy.open(keep_signatures(note, others))


def answers(report: dict[str, Any], witness: Witness) -> list[tuple[int, int]]:
    """What a witness was told to have seen, and its answer's status, in their order."""
    return [(int(each["old"]), each["status"]) for each in report["answers"] if each["witness"] == witness.address]


def said(report: dict[str, Any], words: str) -> bool:
    """Whether Tessera gives that as its reason to publish nothing."""
    return any("witness policy was not satisfied" in line and words in line for line in report["said"])


async def grows(world: World) -> None:
    """From the empty tree on."""
    report = await world.log.run("first", 5, world.policy)
    check_published(report, world.log, world.policy)
    for witness in (world.one, world.two):
        assert {status for _, status in answers(report, witness)} == {OK}, report


async def survives_a_restart(world: World) -> None:
    """A witness is killed; nothing is published without it; then it knows what it saw, and the other one more."""
    world.two.process.kill()
    without = await world.log.run("second", 300, world.policy, refused=True)
    assert "\n5\n" in without["checkpoint"], "what was published before is no longer"
    assert said(without, f'failed to post to witness at "{world.two.url}'), without
    await world.two.start()
    report = await world.log.run("second", 0, world.policy)
    check_published(report, world.log, world.policy)
    # Tessera begins where it published last, which is not what the first witness saw last.
    assert answers(report, world.one)[:2] == [(5, CONFLICT), (305, OK)], report
    assert answers(report, world.two)[:1] == [(5, OK)], report


async def recovers_from_conflicts(world: World) -> None:
    """Tessera knows less than witnesses do, and more than one does that never saw the log."""
    world.log.forget()
    report = await world.log.run("third", 7, world.policy)
    check_published(report, world.log, world.policy)
    for witness in (world.one, world.two):
        first, second, *_ = answers(report, witness)
        assert (first, second) == ((0, CONFLICT), (305, OK)), report
    newcomer = await world.witness("three")
    policy = world.wanting(world.one, world.two, newcomer)
    report = await world.log.run("fourth", 1, policy)
    check_published(report, world.log, policy)
    assert answers(report, newcomer)[:2] == [(312, CONFLICT), (0, OK)], report


async def refuses_forks(world: World) -> int:
    """Logs of the same key with other leaves, fewer, as many and more: none gets a cosignature, and no harm is done."""
    size = world.log.checkpoint.size
    before = [await witness.remembers() for witness in (world.one, world.two)]
    reasons = {
        size - 100: (CONFLICT, f"larger than log size {size - 100}"),
        size: (UNPROCESSABLE, "consistency proof is bad"),
        size + 100: (UNPROCESSABLE, "consistency proof is bad"),
    }
    for leaves, (status, words) in reasons.items():
        fork = world.another_log(f"fork-{leaves}")
        await fork.run("fork", leaves, None)
        fork.forget()
        report = await fork.run("fork", 0, world.policy, refused=True)
        assert report["checkpoint"] == "", report
        assert said(report, words), report
        for witness in (world.one, world.two):
            assert {each for _, each in answers(report, witness)} == {CONFLICT, status}, report
    assert before == [await witness.remembers() for witness in (world.one, world.two)]
    check_published(await world.log.run("fifth", 1, world.policy), world.log, world.policy)
    return len(reasons)


async def main() -> None:
    go = shutil.which("go")
    if go is None:
        print("go is not on the PATH: our witnesses were asked by nobody else")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = folder / "witnessed"
        build = [go, "build", "-C", str(MODULE), "-o", str(program), "./witnessed"]
        await run_foreign("the Go compiler", GO_SECONDS, *build)
        async with AsyncExitStack() as exits:
            world = World(program, folder, exits)
            await world.start()
            await grows(world)
            await survives_a_restart(world)
            await recovers_from_conflicts(world)
            forks = await refuses_forks(world)
        print(
            json.dumps({"witnesses": "cosign for Tessera", "leaves": world.log.checkpoint.size, "forks refused": forks})
        )


if __name__ == "__main__":
    asyncio.run(main())
