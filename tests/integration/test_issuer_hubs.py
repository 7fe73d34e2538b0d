"""Hubs: registered before and after issuance, told of each thing once, shown their own only; and statuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

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
)
from tests.unit.accreditation_samples import UCL, UIO
from vitne.accreditation import timestamp
from vitne.canonical import b64url
from vitne.clock import ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from vitne.messaging.event_types import LIST_PUBLISHED, STATUS_CHANGED, STATUSES_CHANGED
from vitne.messaging.headers import Message
from vitne.messaging.tracing import processing
from vitne.runtime.status import error_from_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2

REVOKED = credential_pb2.STATUS_REVOKED
REVOKE, SUSPEND, REINSTATE = (
    ledger_pb2.STATUS_CHANGE_REVOKE,
    ledger_pb2.STATUS_CHANGE_SUSPEND,
    ledger_pb2.STATUS_CHANGE_REINSTATE,
)


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock) as made:
        yield made


async def register(
    world: World, number: int = 1, *, hub: str = HUB, client: str = "portal", request_id: str = ""
) -> str:
    answer = await world.caller(hub).RegisterLearner(
        issuer_pb2.RegisterLearnerRequest(request_id=request_id or str(uuid4()), id_token=f"{pid_of(number)} {client}")
    )
    return answer.pseudonym


async def withdraw(world: World, pseudonym: str, *, hub: str = HUB, request_id: str = "") -> None:
    await world.caller(hub).WithdrawLearner(
        issuer_pb2.WithdrawLearnerRequest(request_id=request_id or str(uuid4()), pseudonym=pseudonym)
    )


async def fetch(world: World, *handles: str, hub: str = HUB) -> list[issuer_pb2.FetchedCredential]:
    answer = await world.caller(hub).FetchCredentials(issuer_pb2.FetchCredentialsRequest(handles=handles))
    assert [one.handle for one in answer.credentials] == list(handles)
    return list(answer.credentials)


async def told(
    world: World,
    change: credential_pb2.Status.ValueType,
    issued: issuer_pb2.IssuedCredential,
    traceparent: str | None = None,
) -> None:
    """The ledger's event reaches the issuer."""
    reference = issued.status_reference
    now = timestamp(world.clock.now())
    value = events_pb2.StatusChanged(
        list=reference.list, index=reference.index, status=change, effective=now, recorded=now
    )
    await handle(world, STATUS_CHANGED, reference.list, value.SerializeToString(), traceparent)


async def handle(world: World, type_: str, key: str, value: bytes, traceparent: str | None = None) -> None:
    message = Message(
        topic="vitne.ledger.status.v1",
        partition=0,
        offset=0,
        key=key,
        value=value,
        id=uuid4(),
        type=type_,
        source="/vitne/ledger",
        time=world.clock.now(),
        revision=1,
        traceparent=traceparent,
    )
    async with world.pool.acquire() as connection, connection.transaction():
        with processing("issuer", [message]) as traced:
            await world.issuer.statuses.handle(connection, traced)


async def test_a_learner_who_is_not_registered_is_in_no_topic(world: World) -> None:
    await world.issue()
    await register(world, 2)
    assert await world.notices() == []


async def test_what_was_issued_before_and_after_registering_is_told_once_and_served(world: World) -> None:
    before = [await world.issue(), await world.issue(UIO, achievement_id=MINI)]
    pseudonym = await register(world)
    after = await world.issue(grade="A")
    notices = await world.notices()
    assert [(name, revision) for name, _, revision in notices] == [("ISSUED", 1), ("ISSUED", 2), ("ISSUED", 3)]
    fetched = await fetch(world, *[name for _, name, _ in notices])
    assert [one.credential.id for one in fetched] == [one.id for one in (*before, after)]
    assert [one.credential.artefact for one in fetched] == [one.artefact for one in (*before, after)]
    row = await world.pool.fetchrow("SELECT * FROM registration")
    assert (row["pseudonym"], row["hub"], row["ground"]) == (pseudonym, HUB, "own_act:idporten-loa-high")


async def test_a_learner_may_register_before_anything_was_issued(world: World) -> None:
    await register(world)
    _, summary = await world.batch([item(1), item(2)])
    assert summary.issued == 2
    assert len(await world.notices()) == 1
    assert await world.pool.fetchval("SELECT count(*) FROM learner") == 2


async def test_names_are_each_hubs_own_and_one_hub_gets_nothing_by_anothers(world: World) -> None:
    issued = await world.issue()
    pseudonym = await register(world)
    other = await register(world, hub=OTHER_HUB, client="other-portal")
    assert pseudonym != other
    (_, name, _), (_, other_name, _) = *await world.notices(), *await world.notices(OTHER_HUB)
    assert name != other_name
    assert (await fetch(world, name))[0].credential.id == issued.id
    unknown = b64url(bytes(32))
    for fetched in await fetch(world, name, unknown, hub=OTHER_HUB):
        assert not fetched.HasField("credential")
    assert (await refusal(withdraw(world, pseudonym, hub=OTHER_HUB))).reason == "REGISTRATION_UNKNOWN"


async def test_who_is_no_hub_here_is_refused(world: World) -> None:
    for call in (
        register(world, hub=UCL),
        withdraw(world, b64url(bytes(32)), hub=UCL),
        fetch(world, "A" * 43, hub=UCL),
    ):
        error = await refusal(call)
        assert isinstance(error, PermissionDenied)
        assert error.reason == "HUB_UNKNOWN"


async def test_an_id_token_for_another_client_registers_nobody(world: World) -> None:
    error = await refusal(register(world, client="other-portal"))
    assert isinstance(error, InvalidArgument)
    assert (error.reason, error.field) == ("TOKEN_AUDIENCE", "id_token")
    assert await world.pool.fetchval("SELECT count(*) FROM learner") == 0


async def test_registering_twice_is_registering_once(world: World) -> None:
    await world.issue()
    asked = str(uuid4())
    first = await register(world, request_id=asked)
    assert await register(world, request_id=asked) == first
    assert await register(world) == first
    assert isinstance(await refusal(register(world, 2, request_id=asked)), AlreadyExists)
    assert len(await world.notices()) == 1


async def test_withdrawing_tells_each_credential_and_serves_no_handle_until_registered_again(world: World) -> None:
    await world.issue()
    await world.issue(UIO, achievement_id=MINI)
    pseudonym = await register(world)
    names = [name for _, name, _ in await world.notices()]
    await withdraw(world, pseudonym)
    assert (await world.notices())[2:] == [
        ("WITHDRAWN", names[0], 3),
        ("WITHDRAWN", names[1], 4),
        ("REGISTRATION_ENDED", "", 5),
    ]
    assert not any(one.HasField("credential") for one in await fetch(world, *names))
    await world.issue(grade="A")
    assert len(await world.notices()) == 5
    assert isinstance(await refusal(withdraw(world, pseudonym)), NotFound)
    assert await register(world) == pseudonym
    assert [(name, revision) for name, _, revision in (await world.notices())[5:]] == [
        ("ISSUED", 6),
        ("ISSUED", 7),
        ("ISSUED", 8),
    ]
    assert [one.HasField("credential") for one in await fetch(world, *names)] == [True, True]


async def test_a_withdrawal_repeated_at_the_same_time_is_answered_as_the_first(world: World) -> None:
    await world.issue()
    pseudonym = await register(world)
    asked = str(uuid4())
    await asyncio.gather(*(withdraw(world, pseudonym, request_id=asked) for _ in range(5)))
    assert [what for what, _, _ in await world.notices()] == ["ISSUED", "WITHDRAWN", "REGISTRATION_ENDED"]


async def test_the_end_of_a_registration_is_told_also_of_a_learner_who_has_nothing(world: World) -> None:
    await withdraw(world, await register(world))
    assert await world.notices() == [("REGISTRATION_ENDED", "", 1)]


async def test_issuing_and_registering_at_the_same_time_loses_and_doubles_no_notice(world: World) -> None:
    learners = 6
    calls: list[Any] = []
    for number in range(learners):
        calls += [world.issue(learner={"value": pid_of(number)}, grade=str(grade)) for grade in range(6)]
        calls.insert(len(calls) - number, register(world, number))
        calls.insert(len(calls) - 3, register(world, number, hub=OTHER_HUB, client="other-portal"))
    await asyncio.gather(*calls)
    for hub in (HUB, OTHER_HUB):
        names = [name for _, name, _ in await world.notices(hub)]
        assert len(names) == len(set(names)) == learners * 6
        assert all(one.HasField("credential") for one in await fetch(world, *names, hub=hub))


async def test_an_issuance_waits_for_a_registration_that_is_under_way(world: World) -> None:
    await world.issue()
    async with world.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        learner = await connection.fetchval("SELECT id FROM learner FOR UPDATE")
        issuing = asyncio.create_task(world.issue(grade="A"))
        await asyncio.wait([issuing], timeout=0.5)
        assert not issuing.done()
        await connection.execute(
            "INSERT INTO registration (id, hub, learner, pseudonym, ground, registered_at) "
            "VALUES ($1, $2, $3, $4, $5, $6)",
            uuid4(),
            HUB,
            learner,
            b64url(bytes(32)),
            "own_act:idporten-loa-high",
            world.clock.now(),
        )
        await transaction.commit()
        await issuing
    assert [name for name, _, _ in await world.notices()] == ["ISSUED"]


async def test_a_registration_waits_for_an_issuance_that_is_under_way(world: World) -> None:
    await world.issue()
    async with world.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT id FROM learner FOR KEY SHARE")
        registering = asyncio.create_task(register(world))
        await asyncio.wait([registering], timeout=0.5)
        assert not registering.done()
        await transaction.commit()
        await registering
    assert [name for name, _, _ in await world.notices()] == ["ISSUED"]


async def test_a_change_of_status_goes_to_the_ledger_and_comes_back_to_the_hub(
    world: World, clock: ManualClock
) -> None:
    issued = await world.issue()
    await register(world)
    clock.advance(timedelta(minutes=5))
    asked = change(issued, SUSPEND)
    answer = await world.caller(UCL).ChangeStatus(asked)
    assert answer.status == credential_pb2.STATUS_SUSPENDED
    assert answer.recorded.ToDatetime(UTC) == clock.now()
    (sent,) = world.ledger.changes
    assert (sent.request_id, sent.on_behalf_of) == (asked.request_id, UCL)
    assert (sent.list, sent.index) == (issued.status_reference.list, issued.status_reference.index)
    assert sent.issued_at == issued.issued_at
    assert not sent.HasField("effective")
    assert len(await world.notices()) == 1  # not before the ledger's event

    await told(world, credential_pb2.STATUS_SUSPENDED, issued)
    (_, name, _), (notice, changed, revision) = await world.notices()
    assert (notice, changed, revision) == ("STATUS_CHANGED", name, 2)
    assert (await fetch(world, name))[0].credential.status == credential_pb2.STATUS_SUSPENDED
    got = await world.caller(UCL).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=issued.id))
    assert got.credential.status == credential_pb2.STATUS_SUSPENDED


async def test_the_ledgers_refusals_reach_the_institution_as_they_are(world: World) -> None:
    issued = await world.issue()
    await world.caller(UCL).ChangeStatus(change(issued, REVOKE))
    error = await refusal(world.caller(UCL).ChangeStatus(change(issued, REINSTATE)))
    assert isinstance(error, FailedPrecondition)
    assert (error.reason, error.rule) == ("STATUS_FINAL", "revocation is final")
    world.ledger.down = True
    assert isinstance(await refusal(world.caller(UCL).ChangeStatus(change(issued, SUSPEND))), Unavailable)


async def test_the_issuers_own_trouble_at_the_ledger_is_not_the_institutions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await world.issue()
    world.ledger.knows_issuer = False
    error = await refusal(world.caller(UCL).ChangeStatus(change(issued, REVOKE)))
    assert (error.code, error.reason) == ("INTERNAL", "INTERNAL")
    world.ledger.knows_issuer = True

    async def refused(_: Any) -> Any:
        raise Unauthenticated("CLIENT_REFUSED", "the token issuer does not know the issuer's client")

    monkeypatch.setattr(world.issuer.statuses, "_stub", SimpleNamespace(SetStatus=refused))
    error = await refusal(world.caller(UCL).ChangeStatus(change(issued, REVOKE)))
    assert (error.code, error.reason) == ("INTERNAL", "INTERNAL")


async def test_no_trace_leads_from_a_hub_to_another_or_to_what_others_read(world: World) -> None:
    ids: list[str] = []
    await register(world)
    await register(world, hub=OTHER_HUB, client="other-portal")
    trace = "0af7651916cd43dd8448eb211c80319c"
    issued = (
        await world.caller(UCL).Issue(
            issuer_pb2.IssueRequest(request_id=str(uuid4()), issuance=issuance()),
            metadata=(("traceparent", f"00-{trace}-b7ad6b7169203331-01"),),
        )
    ).credential
    await told(world, credential_pb2.STATUS_SUSPENDED, issued, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    for row in await world.pool.fetch("SELECT topic, traceparent FROM outbox ORDER BY id"):
        if row["topic"].startswith("vitne.hub."):
            assert row["traceparent"]
            ids.append(row["traceparent"].split("-")[1])
    assert len(ids) == 4
    others = await world.pool.fetch("SELECT traceparent FROM outbox WHERE NOT starts_with(topic, 'vitne.hub.')")
    read_by_others = {trace, *((row["traceparent"] or "-").split("-")[1] for row in others)}
    assert len({*ids, *read_by_others}) == len(ids) + len(read_by_others)


async def test_one_that_cant_be_read_says_so_and_fails_no_other(world: World) -> None:
    for number in range(4):
        await world.issue(learner={"value": pid_of(number)})
        await register(world, number)
    names = [name for _, name, _ in await world.notices()]
    rows = await world.pool.fetch(
        "SELECT credential.id, credential.learner FROM hub_credential JOIN credential ON credential.id = credential "
        "WHERE hub = $1 ORDER BY array_position($2::text[], handle)",
        HUB,
        names,
    )
    await world.pool.execute("UPDATE credential SET prepared = 'x' WHERE id = $1", rows[0]["id"])
    await world.keys_pool.execute("UPDATE learner_key SET wrapped = 'x' WHERE learner = $1", rows[1]["learner"])
    await world.keys_pool.execute("DELETE FROM learner_key WHERE learner = $1", rows[2]["learner"])
    unknown = b64url(bytes(32))
    answers = await fetch(world, *names, unknown)
    assert [one.unavailable_reason for one in answers] == ["SEAL_BROKEN", "SEAL_BROKEN", "", "", ""]
    assert [one.HasField("credential") for one in answers] == [False, False, False, True, False]


async def test_an_institution_changes_its_own_credentials_only_and_not_from_before_they_were(
    world: World, clock: ManualClock
) -> None:
    issued = await world.issue()
    error = await refusal(world.caller(UIO).ChangeStatus(change(issued, REVOKE)))
    assert error.reason == "CREDENTIAL_UNKNOWN"
    for moment, reason in (
        (clock.now() - timedelta(seconds=1), "EFFECTIVE_BEFORE_ISSUANCE"),
        (clock.now() + timedelta(seconds=1), "EFFECTIVE_IN_FUTURE"),
    ):
        error = await refusal(world.caller(UCL).ChangeStatus(change(issued, REVOKE, effective=timestamp(moment))))
        assert (error.reason, error.field) == (reason, "effective")
    assert world.ledger.changes == []


async def test_changes_that_are_told_together_reach_the_hub_one_by_one(world: World) -> None:
    first, second = await world.issue(), await world.issue()
    await register(world)
    list_url = first.status_reference.list
    assert second.status_reference.list == list_url
    value = events_pb2.StatusesChanged(list=list_url, recorded=timestamp(world.clock.now()))
    traces = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2, 3)]
    for place, status, trace in (
        (first.status_reference.index, credential_pb2.STATUS_SUSPENDED, traces[0]),
        (9999, credential_pb2.STATUS_REVOKED, ""),  # another issuer's
        (second.status_reference.index, REVOKED, traces[1]),
        (first.status_reference.index, REVOKED, traces[2]),
    ):
        value.changes.add(index=place, status=status, traceparent=trace)
    await handle(world, STATUSES_CHANGED, list_url, value.SerializeToString())
    (_, one, _), (_, other, _), *changes = await world.notices()
    names = {got.credential.id: got.handle for got in await fetch(world, one, other)}
    assert [(notice, name) for notice, name, _ in changes] == [
        ("STATUS_CHANGED", names[each.id]) for each in (first, second, first)
    ]
    for each in (first, second):
        got = await world.caller(UCL).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=each.id))
        assert got.credential.status == REVOKED


async def test_events_that_do_not_concern_this_issuer_or_can_not_be_understood(world: World) -> None:
    issued = await world.issue()
    list_url = issued.status_reference.list
    await handle(world, LIST_PUBLISHED, list_url, b"")
    now = timestamp(world.clock.now())

    def changed(list_: str, status: credential_pb2.Status.ValueType) -> events_pb2.StatusChanged:
        return events_pb2.StatusChanged(list=list_, index=9999, status=status, effective=now, recorded=now)

    foreign = changed(list_url, REVOKED)
    await handle(world, STATUS_CHANGED, list_url, foreign.SerializeToString())
    unheard_of = credential_pb2.Status.ValueType(77)
    for type_, value in (
        ("vitne.ledger.unheard_of.v1", b""),
        (STATUS_CHANGED, b"\xff"),
        (STATUS_CHANGED, changed(list_url, unheard_of).SerializeToString()),
        (STATUS_CHANGED, changed("https://other.example/1", REVOKED).SerializeToString()),
    ):
        with pytest.raises(DataLoss):
            await handle(world, type_, list_url, value)
    got = await world.caller(UCL).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=issued.id))
    assert got.credential.status == credential_pb2.STATUS_VALID


async def test_marked_personal_data_is_in_no_database_in_clear(world: World) -> None:
    """Names, number, birth date, grade and a telling item id are sought in every value of both databases."""
    markers = {
        "given_name": "Markørfornavn",
        "family_name": "Markøretternavn",
        "value": pid_of(4711),
        "birth_date": "1971-03-29",
    }
    told_by_client = issuer_pb2.BatchItem(
        item_id=f"elev {pid_of(4711)}", issuance=issuance(learner=markers, grade="Markørkarakter")
    )
    results, _ = await world.batch([told_by_client])
    issued = await world.issue(learner=markers, grade="Markørkarakter")
    await register(world, 4711)
    assert results[told_by_client.item_id].credential.id
    assert sd_jwt_vc.parse(issued.artefact).credential.grade == "Markørkarakter"
    needles = [text.encode() for text in (*markers.values(), "Markørkarakter")]
    needles += [b64url(needle).encode() for needle in needles]
    disclosures = [part.encode() for part in issued.artefact.split("~")[1:] if part]
    for pool in (world.pool, world.keys_pool):
        tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            for row in await pool.fetch(f'SELECT * FROM "{table}"'):
                content = b"\x00".join(raw(value) for value in row.values())
                for needle in (*needles, *disclosures):
                    assert needle not in content, f"{needle!r} is in clear in {table}"
                    assert needle.hex().encode() not in content


def raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def change(
    issued: issuer_pb2.IssuedCredential, what: ledger_pb2.StatusChange.ValueType, **values: Any
) -> issuer_pb2.ChangeStatusRequest:
    return issuer_pb2.ChangeStatusRequest(
        request_id=str(uuid4()),
        credential_id=issued.id,
        change=what,
        reason=ledger_pb2.STATUS_REASON_UNDER_REVIEW,
        **values,
    )


async def test_a_hub_gets_a_credential_in_the_formats_that_its_learner_asks_for(world: World) -> None:
    edc, badge = credential_pb2.FORMAT_EDC, credential_pb2.FORMAT_OPEN_BADGE
    await world.issue()
    await register(world)
    ((_, name, _),) = await world.notices()
    hub = world.caller(HUB)
    asked = issuer_pb2.FetchCredentialsRequest(handles=[name, b64url(bytes(32))], formats=[edc, badge])
    found, unknown = (await hub.FetchCredentials(asked)).credentials
    assert [one.format for one in found.credential.artefacts] == [edc, badge]
    assert found.credential.artefact
    assert not unknown.HasField("credential")
    again, _ = (await hub.FetchCredentials(asked)).credentials
    assert [one.digest for one in again.credential.artefacts] == [one.digest for one in found.credential.artefacts]


async def test_a_format_that_cant_be_made_is_said_and_the_credential_answered(world: World, clock: ManualClock) -> None:
    await world.issue()
    await register(world)
    ((_, name, _),) = await world.notices()
    clock.advance(timedelta(days=1))  # The registry is not heard of: nothing new is made.
    asked = issuer_pb2.FetchCredentialsRequest(handles=[name], formats=[credential_pb2.FORMAT_ELMO])
    (found,) = (await world.caller(HUB).FetchCredentials(asked)).credentials
    assert found.credential.artefact
    (refused,) = found.credential.refused_formats
    assert refused.format == credential_pb2.FORMAT_ELMO
    assert error_from_status(refused.error).reason == "REGISTRY_STALE"


async def test_further_formats_are_made_of_few_at_a_time(world: World) -> None:
    many = [b64url(number.to_bytes(32)) for number in range(21)]
    asked = issuer_pb2.FetchCredentialsRequest(handles=many, formats=[credential_pb2.FORMAT_EDC])
    assert (await refusal(world.caller(HUB).FetchCredentials(asked))).reason == "TOO_MANY_HANDLES"
