"""Erasure: what stays of a learner names nobody, links nothing and can't be tested against a guess."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.issuer import store
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
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2, rights_pb2

ARCHIVE = credential_pb2.RETENTION_CLASS_ARCHIVE
PERSON = LearnerId("no.national_id", pid_of(1))


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock) as made:
        yield made


async def erase(world: World) -> UUID:
    index = IndexKey(read_secret(world.settings.state_dir, INDEX_KEY, create=False))
    learner: UUID = await world.pool.fetchval("SELECT id FROM learner WHERE lookup = $1", index.learner(PERSON))
    await world.issuer.erasures.erase(learner)
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
    assert [what for what, _, _ in (await world.notices())[len(told) :]] == ["WITHDRAWN"] * 2 + ["REGISTRATION_ENDED"]

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
    await world.issuer.erasures.erase(learner)


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
    await world.pool.execute("UPDATE learner SET erasing_since = $1", world.clock.now())
    error = await refusal(world.issue(UIO, achievement_id=MINI))
    assert isinstance(error, Unavailable)
    assert error.reason == "LEARNER_BEING_ERASED"
    assert (await refusal(register(world, HUB, "portal"))).reason == "LEARNER_BEING_ERASED"
    await erase(world)
    assert await world.issue(UIO, achievement_id=MINI)


async def test_without_a_key_a_learner_counts_as_being_erased(world: World) -> None:
    """As after a restore that brought the row back."""
    await world.issue()
    await world.keys_pool.execute("DELETE FROM learner_key")
    assert (await refusal(world.issue(UIO, achievement_id=MINI))).reason == "LEARNER_BEING_ERASED"


# --- The contract ------------------------------------------------------------------------------------


async def ask_to_erase(
    world: World, request_id: str = "", token: str = "portal", hub: str = HUB
) -> rights_pb2.EraseLearnerResponse:
    return await world.rights(hub).EraseLearner(
        rights_pb2.EraseLearnerRequest(request_id=request_id or str(uuid4()), id_token=f"{PERSON.value} {token}")
    )


async def export(world: World) -> list[rights_pb2.ExportLearnerResponse]:
    request_ = rights_pb2.ExportLearnerRequest(id_token=f"{PERSON.value} portal")
    return [part async for part in world.rights(HUB).ExportLearner(request_)]


async def read_archived(
    world: World, credential_id: str, provider: str = UCL, **values: Any
) -> rights_pb2.ReadArchivedResponse:
    fields: dict[str, Any] = {
        "request_id": str(uuid4()),
        "ground": rights_pb2.ARCHIVE_GROUND_ORDER,
        "reference": "2026/1742",
        **values,
    }
    return await world.rights(provider).ReadArchived(
        rights_pb2.ReadArchivedRequest(credential_id=credential_id, **fields)
    )


def get(world: World, credential_id: str) -> Any:
    return world.caller(UCL).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=credential_id))


async def test_what_is_kept_by_law_is_restricted_and_the_rest_is_gone(world: World) -> None:
    erasable = await world.issue(UIO, achievement_id=MINI)
    kept = await world.issue(retention=ARCHIVE)
    other_format = await world.caller(UCL).GetCredential(
        issuer_pb2.GetCredentialRequest(credential_id=kept.id, formats=[credential_pb2.FORMAT_VC_JWT])
    )
    await register(world, HUB, "portal")
    handles = [handle for _, handle, _ in await world.notices()]
    asked = str(uuid4())
    done = await ask_to_erase(world, asked)
    assert (done.erased, [one.credential_id for one in done.kept]) == (1, [kept.id])
    assert (done.kept[0].provider, done.kept[0].kind) == (UCL, "dk.micro_credential")
    # Repeated, also past the token's end: the first answer.
    assert await ask_to_erase(world, asked) == done
    assert await ask_to_erase(world) == rights_pb2.EraseLearnerResponse()

    assert (await refusal(get(world, kept.id))).reason == "CREDENTIAL_RESTRICTED"
    gone = world.caller(UIO).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=erasable.id))
    assert (await refusal(gone)).reason == "CREDENTIAL_ERASED"
    fetched = await world.caller(HUB).FetchCredentials(issuer_pb2.FetchCredentialsRequest(handles=handles))
    assert not any(one.HasField("credential") for one in fetched.credentials)
    assert [what for what, _, _ in await world.notices()] == [
        *["ISSUED"] * 2,
        *["WITHDRAWN"] * 2,
        "REGISTRATION_ENDED",
    ]

    await world.pool.execute("UPDATE credential SET status = 2 WHERE id = $1", UUID(kept.id))
    answer = await read_archived(world, kept.id)
    assert answer.credential.artefact == kept.artefact
    assert answer.credential.artefacts == other_format.credential.artefacts
    assert answer.credential.status == 2
    assert answer.archived_at.ToDatetime(UTC) == world.clock.now()


async def test_who_reads_what_is_kept_says_why_and_it_is_recorded_first(world: World) -> None:
    kept = await world.issue(retention=ARCHIVE)
    error = await refusal(read_archived(world, kept.id))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "CREDENTIAL_NOT_RESTRICTED")
    await ask_to_erase(world)
    assert (await refusal(read_archived(world, kept.id, UIO))).reason == "CREDENTIAL_UNKNOWN"
    assert (await refusal(read_archived(world, str(uuid4())))).reason == "CREDENTIAL_UNKNOWN"
    assert await world.keys_pool.fetch("SELECT * FROM archive_reading") == []
    asked = str(uuid4())
    for _ in range(2):
        await read_archived(world, kept.id, request_id=asked)
    error = await refusal(read_archived(world, kept.id, request_id=asked, reference="2026/1743"))
    assert error.reason == "REQUEST_ID_REUSED"
    (row,) = await world.keys_pool.fetch("SELECT * FROM archive_reading")
    assert (row["provider"], row["credential"], row["ground"]) == (UCL, UUID(kept.id), rights_pb2.ARCHIVE_GROUND_ORDER)
    assert (row["reference"], row["client"], row["read_at"]) == ("2026/1742", "client", world.clock.now())
    # Without the key-encryption key it is nothing.
    await world.keys_pool.execute("UPDATE archived_credential SET wrapped_by = 'another'")
    assert (await refusal(read_archived(world, kept.id))).reason == "WRAPPING_KEY_UNKNOWN"


async def test_an_export_says_all_that_is_held(world: World) -> None:
    assert await export(world) == []
    erasable = await world.issue(UIO, achievement_id=MINI)
    kept = await world.issue(retention=ARCHIVE)
    name = await register(world, HUB, "portal")
    await register(world, OTHER_HUB, "other-portal")
    learner, *parts = await export(world)
    assert (learner.learner.scheme, learner.learner.value) == (PERSON.scheme, PERSON.value)
    assert [(part.registration.hub, part.registration.pseudonym) for part in parts[:2]] == [
        (HUB, name),
        (OTHER_HUB, ""),  # which would let the two hubs link her
    ]
    held = [part.credential for part in parts[2:]]
    assert [(one.credential.artefact, one.archive) for one in held] == [
        (erasable.artefact, False),
        (kept.artefact, True),
    ]
    await ask_to_erase(world)
    assert await export(world) == []


async def test_only_her_own_log_in_at_a_hub_erases_a_learner(world: World) -> None:
    await world.issue()
    for hub, token, reason in (
        (UCL, "portal", "HUB_UNKNOWN"),
        (HUB, "other-portal", "TOKEN_AUDIENCE"),
        (HUB, "expired", "TOKEN_EXPIRED"),
    ):
        assert (await refusal(ask_to_erase(world, token=token, hub=hub))).reason == reason
    assert await world.pool.fetchval("SELECT count(*) FROM learner WHERE erasing_since IS NULL") == 1


async def test_an_institution_erases_whom_only_it_can_name(world: World) -> None:
    local = {"scheme": "provider.local_id", "value": "1042"}
    ours, theirs = await world.issue(learner=local), await world.issue(UIO, achievement_id=MINI, learner=local)
    erased = rights_pb2.EraseLocalLearnerRequest(local_id="1042")
    assert (await world.rights(UCL).EraseLocalLearner(erased)).erased == 1
    assert (await world.rights(UCL).EraseLocalLearner(erased)).erased == 0
    assert (await refusal(get(world, ours.id))).reason == "CREDENTIAL_ERASED"
    assert (
        await world.caller(UIO).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=theirs.id))
    ).credential.artefact == theirs.artefact
    tables = [row[0] for row in await world.pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    index = IndexKey(read_secret(world.settings.state_dir, INDEX_KEY, create=False))
    guess = index.learner(LearnerId(f"provider.local_id/{UCL}", "1042"))
    assert guess not in await contents(world, *tables)


async def test_an_erasure_that_stopped_anywhere_is_completed(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasures = world.issuer.erasures
    for place, kept in (("give_up", False), ("unlink", True)):
        issued = await world.issue(retention=ARCHIVE)

        async def stops(*_: Any) -> None:
            raise Unavailable("STOPPED", "as by a crash")

        with monkeypatch.context() as patch:
            patch.setattr(store, place, stops)
            with pytest.raises(Unavailable):
                await erase(world)
        # What has to be kept is set apart as soon as the key is gone, and not before.
        assert (
            bool(await world.keys_pool.fetch("SELECT FROM archived_credential WHERE credential = $1", issued.id))
            is kept
        )
        assert await erasures.complete_abandoned() == 0
        clock.advance(timedelta(seconds=11))
        world.learn()
        assert await erasures.complete_abandoned() == 1
        assert (await read_archived(world, issued.id)).credential.artefact == issued.artefact
        assert await world.pool.fetchval("SELECT count(*) FROM learner") == 0


async def test_an_issuance_whose_signature_was_still_to_be_stored_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be in the log, and neither readable nor kept."""
    await world.issue()
    unary, reached, go_on = world.issuer.unary, asyncio.Event(), asyncio.Event()
    complete = unary._complete

    async def slow(stored: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await complete(stored)

    monkeypatch.setattr(unary, "_complete", slow)
    issuing = asyncio.create_task(refusal(world.issue(retention=ARCHIVE)))
    await reached.wait()
    await erase(world)
    go_on.set()
    assert (await issuing).reason == "CREDENTIAL_ERASED"
    assert await world.pool.fetchval("SELECT count(*) FROM credential WHERE signature IS NULL AND void") == 1
    assert len(await world.outbox("vitne.issuer.leaves.v1")) == 1
    assert await unary.complete_abandoned() == 0


async def test_a_further_format_whose_signature_was_still_to_be_stored_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise: what was deposited does not have it."""
    issued = await world.issue(retention=ARCHIVE)
    artefacts, reached, go_on = world.issuer.artefacts, asyncio.Event(), asyncio.Event()
    finish = artefacts.finish

    async def slow(*given: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await finish(*given)

    monkeypatch.setattr(artefacts, "finish", slow)
    asked = issuer_pb2.GetCredentialRequest(credential_id=issued.id, formats=[credential_pb2.FORMAT_VC_JWT])
    asking = asyncio.create_task(refusal(world.caller(UCL).GetCredential(asked)))
    await reached.wait()
    await ask_to_erase(world)
    go_on.set()
    assert (await asking).reason == "CREDENTIAL_ERASED"
    assert await world.pool.fetchval("SELECT count(*) FROM artefact WHERE signature IS NOT NULL") == 0
    assert len(await world.outbox("vitne.issuer.leaves.v1")) == 1


async def test_what_has_to_be_kept_and_cant_be_read_stops_the_erasure(world: World) -> None:
    issued = await world.issue(retention=ARCHIVE)
    sealed = await world.pool.fetchval("SELECT prepared FROM credential")
    await world.pool.execute("UPDATE credential SET prepared = 'x'")
    assert (await refusal(ask_to_erase(world))).reason == "SEAL_BROKEN"
    assert await world.keys_pool.fetchval("SELECT count(*) FROM learner_key") == 1
    await world.pool.execute("UPDATE credential SET prepared = $1", sealed)
    await ask_to_erase(world)
    assert (await read_archived(world, issued.id)).credential.artefact == issued.artefact
