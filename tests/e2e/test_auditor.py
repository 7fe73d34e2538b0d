"""The auditor's command over a running stack: what it says, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import sys

import asyncpg
import pytest

from vitne.clock import SystemClock
from vitne.dev.demo import Demo
from vitne.dev.observation import observe
from vitne.dev.stack import Stack
from vitne.inspection.installation import settle


async def audit(stack: Stack, *arguments: str, **settings: str) -> tuple[int | None, str, str]:
    """Exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.auditor", *arguments),
        env=stack.environment("auditor") | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_it_ends_with_0_when_all_agrees_and_says_what_it_compared(stack: Stack, world: Demo) -> None:
    code, out, err = await audit(stack, "--settle", "90", "--json")
    report = json.loads(out)
    assert (code, report["agrees"], report["disagreements"]) == (0, True, []), err
    assert report["compared"]["credentials"] >= 500
    assert report["compared"]["leaves"] > report["compared"]["credentials"]
    assert report["compared"]["portals"] == 1
    # It says meanwhile what it has read.
    assert re.search(r"^issuer: \d+ credentials$", err, re.MULTILINE)
    assert re.search(r"^ledger: \d+ leaves$", err, re.MULTILINE)
    # Identifiers and numbers, and nobody's name or number.
    assert world.learner.value not in out + err
    assert world.learner.family_name not in out + err


async def test_with_what_is_public_it_holds_a_list_to_the_version_that_the_log_has(stack: Stack, world: Demo) -> None:
    assert world.issued
    compared, *_, agree = (await stack.audit_publicly()).splitlines()
    assert agree == "the log, its lists and its witnesses agree"
    found = re.search(r", (\d+) lists compared, of (\d+) of them the version that was logged last$", compared)
    assert found is not None, compared
    lists, logged = (int(number) for number in found.groups())
    assert 1 <= logged <= lists, compared


async def test_it_ends_with_1_and_names_what_does_not(stack: Stack, world: Demo) -> None:
    assert world.issued
    connection = await asyncpg.connect(stack.dsn("portal"))
    try:
        handle, status = await connection.fetchrow("SELECT handle, status FROM credential ORDER BY handle LIMIT 1")
        change = "UPDATE credential SET status = $2 WHERE handle = $1"
        await connection.execute(change, handle, "revoked" if status == "valid" else "valid")
        try:
            code, out, _err = await audit(stack, "--settle", "0")
        finally:
            await connection.execute(change, handle, status)
    finally:
        await connection.close()
    assert code == 1
    assert f"portal.status {handle}" in out


async def test_small_pages_have_all_that_large_ones_have(
    stack: Stack, world: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.issued

    async def looked() -> list[int]:
        found = await settle(lambda: observe(stack), 90, SystemClock())
        assert (found.world is not None, found.disagreements) == (True, [])
        assert found.world is not None
        issuer, ledger = found.world.issuer, found.world.ledger
        parts = [issuer.credentials, issuer.handles, issuer.registrations, issuer.messaging.aggregates, ledger.lists]
        return [*map(len, parts), sum(len(each.versions) for each in ledger.lists), len(ledger.log.leaves)]

    large = await looked()
    monkeypatch.setattr("vitne.inspection.snapshots.CHUNK", 3)
    small = await looked()
    assert large[:5] == small[:5]
    assert all(count > 3 for count in (small[0], small[1], small[3], small[6]))
    assert small[5] >= large[5]  # versions and their leaves go on being published


async def test_it_may_read_what_it_compares_and_nothing_else(stack: Stack, world: Demo) -> None:
    assert world.issued
    settings = stack.environment("auditor")
    refused = {
        "issuer": ["SELECT prepared FROM credential", "SELECT * FROM learner", "DELETE FROM credential"],
        "ledger": ["SELECT on_behalf_of FROM status_change", "UPDATE log SET size = 0"],
        "registry": ["SELECT subject FROM officer", "SELECT value FROM outbox"],
        "portal": ["SELECT content FROM credential", "SELECT lookup FROM subscriber"],
    }
    dsns = {name: settings[f"VITNE_{name.upper()}_DSN"] for name in ("issuer", "ledger", "registry")}
    (dsns["portal"],) = json.loads(settings["VITNE_PORTALS"]).values()
    for name, statements in refused.items():
        connection = await asyncpg.connect(dsns[name])
        try:
            for statement in statements:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()


async def test_it_ends_with_2_when_it_can_not_look(stack: Stack) -> None:
    dsn = "postgresql://nobody:sesame@127.0.0.1:1/issuer"
    code, out, err = await audit(stack, "--settle", "0", VITNE_ISSUER_DSN=dsn)
    assert code == 2
    assert "out.of_reach" in out
    assert "sesame" not in out + err
    code, _out, err = await audit(stack, VITNE_ENVIRONMENT="production")
    assert code == 2
    assert "VITNE_ISSUER_DSN: must say sslmode=verify-full" in err
    code, _out, err = await audit(stack, VITNE_LEDGER_DSN="")
    assert (code, "VITNE_LEDGER_DSN" in err) == (2, True)
