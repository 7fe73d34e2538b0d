"""Databases are lost, restored to an instant before the loss, and put in step; then everything agrees.

What follows the instant is everything that is hard about it: credentials that were answered, places that were given
out, statuses, registrations and erasures, events in Kafka and checkpoints of the log that the restored database knows
nothing of. The commands are those of docs/operating/restore.md.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.operate.clerk import PATIENCE, Clerk, Visitor, erase
from vitne.audit.snapshots import WorldSnapshot
from vitne.clock import SystemClock
from vitne.dev.actors import Actors
from vitne.dev.cases import synthetic_learners
from vitne.dev.demo import Demo
from vitne.dev.load import Load
from vitne.dev.narrator import Narrator
from vitne.dev.observation import observe
from vitne.dev.recovery import Archive
from vitne.dev.stack import DATABASES, LEARNERS, Stack
from vitne.inspection.installation import Findings, settle
from vitne.merkle.proofs import verify_consistency
from vitne_api.ledger.v1 import ledger_pb2

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating" / "restore.md"
#: The page's commands, by service, in the order of the page; where their output goes is the reader's.
COMMANDS = {
    service: arguments.split()
    for service, arguments in re.findall(r"^ +python -m services\.(\w+) ([^>\n]+)", PAGE.read_text(), re.MULTILINE)
}
#: Not a service: the issuer's second database, which is restored to the end of its archive and never to an instant.
KEYS = "learner-keys"
#: Learners who can log in and whom the load leaves alone.
OWN = 5
#: Seconds of load around the instant, and after the restore.
LOAD = 1.5


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await look():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.2)


async def value(dsn: str, query: str, *arguments: Any) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


def checkpoint(note: str) -> tuple[int, bytes]:
    """Size and root, as a relying party keeps them."""
    lines = note.splitlines()
    return int(lines[1]), base64.b64decode(lines[2])


class Case:
    """One loss: what comes before, between and after."""

    def __init__(self, stack: Stack, actors: Actors, archive: Archive, exits: AsyncExitStack) -> None:
        self.stack = stack
        self.actors = actors
        self.archive = archive
        self.exits = exits
        self.demo = Demo(stack, actors, Narrator(quiet=True), exits)
        self.clerk = Clerk(self.demo)
        self.load = Load(stack, actors, seed=7, visitors=LEARNERS - OWN)
        self.more = Load(stack, actors, seed=8, visitors=LEARNERS - OWN)
        people = synthetic_learners(60)
        self.known, self.joins, self.leaves, self.erased, self.late = (
            Visitor(stack, each) for each in people[LEARNERS - OWN : LEARNERS]
        )
        self.stranger = people[50]

    async def settled(self) -> Findings:
        async def look() -> WorldSnapshot:
            loads = (self.load.journal, self.more.journal)
            return await observe(
                self.stack,
                [*self.clerk.issued, *(each for journal in loads for each in journal.issued)],
                [*self.clerk.changed, *(each for journal in loads for each in journal.changed)],
            )

        return await settle(look, PATIENCE, SystemClock())

    async def prepare(self) -> None:
        """A load, a backup under it, and learners of each sort."""
        await self.demo.accredit()
        await self.demo.publish()
        await self.load.start(self.demo)
        self.exits.callback(self.load.abandon)
        await self.archive.back_up(self.stack.postgres)
        for visitor in (self.known, self.joins, self.leaves, self.erased):
            await self.clerk.issue(visitor.learner)
        self.early = await self.clerk.issue(self.known.learner)
        for visitor in (self.known, self.leaves, self.erased):
            await visitor.register()
        await asyncio.sleep(LOAD)

    async def go_on(self) -> None:
        """All that the restore will not know of."""
        self.after: list[Any] = []
        for learner in (self.known.learner, self.joins.learner, self.late.learner, self.stranger, self.erased.learner):
            self.after.append(await self.clerk.issue(learner))
        await self.clerk.change(self.early, "REVOKE", "ISSUED_IN_ERROR")
        await self.clerk.change(self.after[0], "SUSPEND", "UNDER_REVIEW")
        await self.joins.register()
        await self.late.register()
        await self.leaves.withdraw()
        self.erased_id = await erase(self.stack, self.erased.learner)
        await self.clerk.publish()
        await asyncio.sleep(LOAD)
        await self.load.finish()
        assert not self.load.journal.findings
        found = await self.settled()
        assert not found.disagreements, found.disagreements[:5]
        note = await self.demo.actors.organisation(self.stack.cases.operator).ledger.GetCheckpoint(
            ledger_pb2.GetCheckpointRequest()
        )
        self.signed = checkpoint(note.checkpoint)
        self.facts = await facts(self.stack)

    async def lose_and_restore(self, services: tuple[str, ...], instant: Any, folder: Path) -> dict[str, Any]:
        stack = self.stack
        await self.archive.flush(stack.postgres)
        if KEYS in services:
            stack.kill("issuer")
            await self._restore([DATABASES["issuer"][1]], None, folder / "keys")
            await stack.start_service("issuer")
        lost = [service for service in services if service != KEYS]
        for service in lost:
            stack.kill(service)
        await self._restore([DATABASES[service][0] for service in lost], instant, folder)
        reports = {}
        for service, arguments in COMMANDS.items():
            if service in services and service != "portal":
                first, *_lists = (await stack.command(service, *arguments)).splitlines()
                reports[service] = json.loads(first)
                await stack.start_service(service)
        if "portal" in services:
            reports["portal"] = json.loads(await stack.command("portal", *COMMANDS["portal"]))
            await stack.start_service("portal")
        return reports

    async def _restore(self, names: Sequence[str], instant: Any, folder: Path) -> None:
        for name in names:
            await self.stack.postgres.drop_database(name)
        server = await self.archive.restore(self.stack.postgres, folder, instant)
        self.exits.push_async_callback(server.stop)
        self.stack.restored |= {name: server.dsn(name) for name in names}


@pytest.mark.parametrize(
    "services", [("issuer",), ("ledger", "registry", KEYS), ("issuer", "ledger", "portal", "registry")], ids="+".join
)
async def test_after_a_restore_everything_agrees(stack_folder: Path, services: tuple[str, ...]) -> None:
    home = stack_folder / f"restore-{'-'.join(services)}"
    archive = Archive(home / "postgres" / "archive")
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(Stack(home, postgres=archive.settings))
        actors = await exits.enter_async_context(Actors(stack))
        case = Case(stack, actors, archive, exits)
        await case.prepare()
        instant = await value(stack.postgres.dsn("postgres"), "SELECT clock_timestamp()")
        await case.go_on()
        reports = await case.lose_and_restore(services, instant, home / "restored")

        if "issuer" in services:
            await check_losses(case, reports["issuer"])
        if "ledger" in services:
            assert reports["ledger"]["leaves"] > 0
            assert reports["ledger"]["changes"] >= 2
            assert reports["ledger"]["lists_closed"] > 0
        if "registry" in services:
            assert reports["registry"]["facts"] > 0
            assert (await facts(stack))[: len(case.facts)] == case.facts

        # Institutions repeat what they asked for since; whose content is lost is issued anew, and the lost one ended.
        for kept in case.after:
            if kept.request.issuance.learner == case.erased.learner and "issuer" not in services:
                continue
            again = await case.clerk.repeat(kept)
            assert (again.credential.id == kept.credential.id) is ("issuer" not in services)
            if again.credential.id != kept.credential.id:
                await case.clerk.change(kept, "REVOKE", "SUPERSEDED")
        await check_learners(case, services)

        # Life goes on.
        await case.more.start(case.demo)
        exits.callback(case.more.abandon)
        await asyncio.sleep(LOAD)
        await case.more.finish()
        found = await case.settled()
        assert not found.disagreements, "\n".join(str(each) for each in found.disagreements[:20])
        assert not case.more.journal.findings
        audited = json.loads(await stack.command("auditor", *COMMANDS["auditor"], "--json"))
        assert audited["agrees"]
        assert audited["compared"]["restores"] == len({"issuer", "ledger"} & set(services))
        await check_log(case)
        await check_erasure(case)


async def check_losses(case: Case, report: dict[str, Any]) -> None:
    """What the issuer can't bring back is named, each to whom it was issued, and nothing else is."""
    named = {each["credential"]: each for each in report["lost"]}
    answered = {str(each.credential) for each in (*case.load.journal.issued, *case.clerk.issued)}
    assert named.keys() <= answered
    for kept in case.after:
        assert named[kept.credential.id]["provider"] == kept.provider.id
        assert named[kept.credential.id]["request_id"] == kept.request.request_id
    assert case.early.credential.id not in named
    assert report["erased"] >= 1
    assert report["registrations_ended"] >= 1
    assert report["registrations_taken_up"] >= 1
    assert report["learners_without_key"] == 0


async def check_learners(case: Case, services: tuple[str, ...]) -> None:
    """Who had registered is registered, or can see that she is not; who had left is not."""
    if "issuer" in services:
        await until(lambda: settled_outbox(case))
        await case.stack.command("portal", *COMMANDS["portal"])
        # Her registration, and the learner that she was there, came after the instant: she registers again.
        assert not (await case.late.sees())[0]
        await case.late.register()
    if "portal" in services:
        # That she had registered, only the portal's row said: the issuer has taken it up, under the same name.
        assert not (await case.joins.sees())[0]
        await case.joins.register()
    for visitor in (case.known, case.joins, case.late):
        await until(lambda visitor=visitor: registered(visitor))  # type: ignore[misc]
    assert (await case.leaves.sees())[1] == set()


async def facts(stack: Stack) -> list[tuple[int, bytes]]:
    """What the registry has recorded: number and digest."""
    connection = await asyncpg.connect(stack.dsn("registry"))
    try:
        rows = await connection.fetch("SELECT registry_revision, digest FROM fact ORDER BY 1")
    finally:
        await connection.close()
    return [tuple(row) for row in rows]


async def settled_outbox(case: Case) -> bool:
    waiting = "SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL"
    return bool(await value(case.stack.dsn("issuer"), waiting))


async def registered(visitor: Visitor) -> bool:
    is_registered, shown = await visitor.sees()
    return is_registered and bool(shown)


async def check_log(case: Case) -> None:
    """The checkpoint that was signed before the loss is a prefix of today's log."""
    size, root = case.signed
    ledger = case.demo.actors.organisation(case.stack.cases.operator).ledger
    proof = await ledger.GetConsistencyProof(ledger_pb2.GetConsistencyProofRequest(from_size=size))
    now_size, now_root = checkpoint(proof.checkpoint)
    assert now_size >= size
    verify_consistency(from_size=size, from_root=root, to_size=now_size, to_root=now_root, path=list(proof.path))


async def check_erasure(case: Case) -> None:
    """The erased learner is nobody: neither row nor key came back, and what was issued to her is unreadable."""
    issuer, keys = case.stack.dsn("issuer"), case.stack.dsn("issuer_keys")
    assert await value(issuer, "SELECT count(*) FROM learner WHERE id = $1", case.erased_id) == 0
    assert await value(issuer, "SELECT count(*) FROM registration WHERE learner = $1", case.erased_id) == 0
    assert await value(keys, "SELECT count(*) FROM learner_key WHERE learner = $1", case.erased_id) == 0
