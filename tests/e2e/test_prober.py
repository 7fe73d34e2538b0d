"""The prober on the whole stack, a hub included: through, then told where it is blocked, then through again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import pytest

from services.prober.road import STEPS
from services.prober.settings import ProberSettings
from services.prober.wiring import rounds
from services.prober.world import World
from vitne.clock import SystemClock
from vitne.dev.cases import synthetic_learners
from vitne.dev.demo import Demo
from vitne.dev.stack import AUDIENCE, LEARNERS, Stack

#: One who can log in, and another than those whom the demonstration follows.
LEARNER = synthetic_learners(LEARNERS)[LEARNERS - 3]
#: Far beyond what a step takes on a machine that is busy.
STEP_SECONDS = 90


@pytest.fixture
async def probing(world: Demo, stack: Stack) -> dict[str, Any]:
    """Settings of a prober that acts for the university, with an achievement of its own, and watches the hub."""
    async with stack.browser() as browser:
        await browser.log_in(LEARNER.value)
        if not await browser.registered():
            await browser.register()
    case = next(case for case in world.cases.achievements.values() if case.key == "kompetanseattest")
    client, hub = stack.clients[case.message.provider], stack.clients[stack.cases.hub]
    return {
        "environment": "development",
        "identity_issuer": stack.identity_url,
        "audience": AUDIENCE,
        "operator": stack.cases.operator,
        "client_id": client.client_id,
        "client_key_file": str(client.key_file),
        "issuer_address": stack.grpc_address("issuer"),
        "ledger_address": stack.grpc_address("ledger"),
        "verifier_url": stack.http_url("verifier"),
        "trust_list_url": f"{stack.http_url('registry')}/v1/trust-list",
        "registry_key": await stack.registry_key(),
        "allow": [stack.allow_rule()],
        "achievement": world.published[case.key],
        "learner": LEARNER.value,
        "hub": stack.cases.hub,
        "hub_client_id": hub.client_id,
        "hub_client_key_file": str(hub.key_file),
        "kafka_bootstrap_servers": stack.kafka,
        "step_seconds": STEP_SECONDS,
    }


async def test_once_as_a_command(probing: dict[str, Any]) -> None:
    environment = {
        f"VITNE_{name.upper()}": json.dumps(value) if isinstance(value, list) else str(value)
        for name, value in probing.items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.prober", "once"),
        env={name: value for name, value in os.environ.items() if not name.startswith("VITNE_")} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()
    told = json.loads(output)
    assert told["success"] is True
    assert list(told["seconds"]) == [step for step in STEPS if step != "clean_up"]
    assert probing["learner"].encode() not in output + errors


async def test_without_the_ledger_it_says_which_step_failed_and_recovers(stack: Stack, probing: dict[str, Any]) -> None:
    settings, clock = ProberSettings(**probing), SystemClock()
    async with World(settings, clock) as public:
        prober = rounds(settings, public, clock)
        assert (await prober.once()).failed == ""
        stack.kill("ledger")
        try:
            first, second = await prober.once(), await prober.once()
        finally:
            await stack.restart("ledger")
        assert first.failed == "inclusion"
        assert first.error is not None
        assert first.error.reason == "UNREACHABLE"
        # What it issued could not be revoked: it issues nothing more until it could.
        assert second.failed == "clean_up"
        last = await prober.once()
        assert last.failed == "", last.error
        assert next(iter(last.seconds)) == "clean_up"
