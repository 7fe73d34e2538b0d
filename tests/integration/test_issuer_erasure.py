"""Erasure: what stays of a learner names nobody, links nothing and can't be tested against a guess."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.issuer.admission import admit
from services.issuer.crypto import INDEX_KEY, IndexKey
from tests.integration.issuer_harness import (
    HUB,
    MINI,
    OTHER_HUB,
    World,
    issuance,
    item,
    make_world,
    pid_of,
    refusal,
    request,
)
from tests.unit.accreditation_samples import UCL, UIO
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import Unavailable
from vitne.identifiers import LearnerId, OrganisationId
from vitne.runtime.secret_files import read_secret
from vitne_api.issuer.v1 import issuer_pb2

PERSON = LearnerId("no.national_id", pid_of(1))


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock) as made:
        yield made


async def erase(world: World) -> UUID:
    index = IndexKey(read_secret(world.settings.state_dir, INDEX_KEY, create=False))
    learner: UUID = await world.pool.fetchval("SELECT id FROM learner WHERE lookup = $1", index.learner(PERSON))
    unary = world.issuer.unary
    await unary._learners.erase(world.pool, learner, unary._notices.forget)
    return learner


async def register(world: World, hub: str, client: str) -> str:
    answer = await world.caller(hub).RegisterLearner(
        issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), id_token=f"{PERSON.value} {client}")
    )
    return answer.pseudonym


async def contents(world: World, *tables: str) -> bytes:
    """Every value of the issuer's own tables, and of the keys'."""
    found = []
    for table in tables:
        for row in await world.pool.fetch(f'SELECT * FROM "{table}"'):
            found += [value if isinstance(value, bytes) else str(value).encode() for value in row.values()]
    for row in await world.keys_pool.fetch("SELECT * FROM learner_key"):
        found += [str(row["learner"]).encode(), row["wrapped"]]
    return b"\x00".join(found)


async def test_nothing_that_stays_can_be_linked_to_the_person_or_tested_against_a_guess(world: World) -> None:
    asked = request()
    issued = (await world.caller(UCL).Issue(asked)).credential
    telling = issuer_pb2.BatchItem(item_id=f"elev {PERSON.value}", issuance=issuance())
    batch_id = str(uuid4())
    results, _ = await world.batch([telling, item(2)], request_id=batch_id)
    names = [await register(world, HUB, "portal"), await register(world, OTHER_HUB, "other-portal")]
    told = await world.notices()

    # What somebody can compute who has the index key and knows, or guesses, who it was and what was asked for.
    index = IndexKey(read_secret(world.settings.state_dir, INDEX_KEY, create=False))
    guesses = {"learner": index.learner(PERSON), "item": index.digest("item", telling.item_id.encode())}
    state = ("credential", "learner", "registration", "hub_credential", "index_lease", "signing_key")
    before = await contents(world, *state)
    learner = str(await world.pool.fetchval("SELECT id FROM learner WHERE lookup = $1", guesses["learner"]))
    assert all(guess in before for guess in guesses.values())

    await erase(world)
    await erase_again(world, UUID(learner))
    after = await contents(world, *state)
    for name, guess in guesses.items():
        assert guess not in after, name
    handles = [handle for _, handle, _ in told]
    for text in (*names, *handles, PERSON.value):
        assert text.encode() not in after
    assert await world.keys_pool.fetchval("SELECT count(*) FROM learner_key WHERE learner = $1", UUID(learner)) == 0
    assert [what for what, _, _ in (await world.notices())[len(told) :]] == ["WITHDRAWN"] * 2

    # What proofs need is still there; the neighbour's is as it was.
    kept = await world.pool.fetch("SELECT id, digest, request_item FROM credential WHERE learner = $1", UUID(learner))
    assert {str(row["id"]) for row in kept} == {issued.id, results[telling.item_id].credential.id}
    again, _ = await world.batch([item(2)], request_id=batch_id)
    assert again["item-2"] == results["item-2"]
    # The same request is told that it is gone, whatever its body: nobody can compare any more.
    for values in ({}, {"grade": "B"}):
        error = await refusal(world.caller(UCL).Issue(request(asked.request_id, **values)))
        assert error.reason == "CREDENTIAL_ERASED"
    # The same item is another one now, and the same person another learner.
    fresh, _ = await world.batch([telling], request_id=batch_id)
    assert fresh[telling.item_id].credential.id not in {str(row["id"]) for row in kept}
    assert await register(world, HUB, "portal") not in names


async def erase_again(world: World, learner: UUID) -> None:
    """As after a crash: what is done is passed over."""
    unary = world.issuer.unary
    await unary._learners.erase(world.pool, learner, unary._notices.forget)


async def test_the_digest_of_a_request_is_made_under_the_learners_own_key(world: World) -> None:
    for number in (1, 2):
        await world.issue(learner={"value": pid_of(number)})
    first, second = await world.pool.fetch("SELECT learner, request_digest FROM credential ORDER BY id")
    keys = await world.issuer.keys.get([first["learner"], second["learner"]])
    body = admitted_body(world)
    assert first["request_digest"] == keys[first["learner"]].digest("issuance", body)
    assert first["request_digest"] != keys[second["learner"]].digest("issuance", body)


def admitted_body(world: World) -> bytes:
    order = admit(issuance(), provider=OrganisationId.parse(UCL), request_id=uuid4(), now=world.clock.now())
    return order.body()


async def test_an_issuance_that_has_found_the_learner_is_erased_with_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.issue()
    road, reached, go_on = world.issuer.bulk, asyncio.Event(), asyncio.Event()
    insert = road._insert

    async def slow(*arguments: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await insert(*arguments)

    monkeypatch.setattr(road, "_insert", slow)
    issuing = asyncio.create_task(world.batch([item(1)]))
    await reached.wait()
    erasing = asyncio.create_task(erase(world))
    await asyncio.wait([erasing], timeout=0.3)
    assert not erasing.done()
    go_on.set()
    learner = await erasing
    await issuing
    index = IndexKey(read_secret(world.settings.state_dir, INDEX_KEY, create=False))
    items = await world.pool.fetch("SELECT request_item FROM credential WHERE learner = $1", learner)
    assert len(items) == 2
    assert index.digest("item", b"item-1") not in {row["request_item"] for row in items}


async def test_while_a_learner_is_being_erased_nothing_is_issued_to_them(world: World) -> None:
    await world.issue()
    await world.keys_pool.execute("DELETE FROM learner_key")
    error = await refusal(world.issue(UIO, achievement_id=MINI))
    assert isinstance(error, Unavailable)
    assert error.reason == "LEARNER_BEING_ERASED"
    await erase(world)
    assert await world.issue(UIO, achievement_id=MINI)
