"""A batch whose issuer is killed among the answers: sent again, it is completed, and nothing is issued twice."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from vitne.dev.demo import Demo
from vitne.dev.stack import Stack
from vitne.errors import Unavailable, VitneError
from vitne_api.issuer.v1 import issuer_pb2

ITEMS = 300


async def test_a_batch_whose_issuer_is_killed_is_resumed(world: Demo, stack: Stack) -> None:
    case = world.cases.achievements["minikvalifikasjon"]
    provider = world.actors.organisation(case.message.provider)
    items = [
        issuer_pb2.BatchItem(item_id=f"row-{row}", issuance=world.issuance(learner, case))
        for row, learner in enumerate(world.others[:ITEMS])
    ]
    request_id = str(uuid4())
    seen: dict[str, issuer_pb2.BatchResult] = {}

    async def send_and_kill() -> None:
        async for result in provider.issue_batch(request_id, items):
            seen[result.item_id] = result
            if len(seen) == 1:
                stack.kill("issuer")

    with pytest.raises(VitneError):
        await send_and_kill()
    await stack.restart("issuer")

    async def send_again() -> dict[str, issuer_pb2.BatchResult]:
        async with asyncio.timeout(30):
            while True:  # as a client does: its connection has yet to notice that the issuer is back
                try:
                    return {result.item_id: result async for result in provider.issue_batch(request_id, items)}
                except Unavailable:
                    await asyncio.sleep(0.1)

    again = await send_again()
    assert len(again) == ITEMS
    assert {item_id: again[item_id] for item_id in seen} == seen
    issued = [result.credential for result in again.values()]
    assert all(result.WhichOneof("outcome") == "credential" for result in again.values())
    places = {(one.status_reference.list, one.status_reference.index) for one in issued}
    assert len({one.id for one in issued}) == len({one.digest for one in issued}) == len(places) == ITEMS
