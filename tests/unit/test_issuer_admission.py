"""What is said of an issuance without any state, alone and in a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from services.issuer import batch as batch_module
from services.issuer.admission import Order, admit
from services.issuer.batch import Batch
from services.issuer.settings import IssuerSettings
from services.issuer.stored import Stored
from vitne.clock import ManualClock
from vitne.credentials.jose import LocalSigner
from vitne.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from vitne.identifiers import OrganisationId, synthetic_national_id
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2

UCL, UIO = OrganisationId.parse("0184:30859480"), OrganisationId.parse("0192:971035854")
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
PID = next(pid for serial in range(20) if (pid := synthetic_national_id(date(1990, 4, 5), serial)))
DATES = st.dates(date(1890, 1, 1), date(2040, 1, 1))


def issuance(**values: Any) -> issuer_pb2.Issuance:
    learner = {
        "scheme": "no.national_id",
        "value": PID,
        "given_name": "Kari",
        "family_name": "Nordmann",
        **values.pop("learner", {}),
    }
    return issuer_pb2.Issuance(
        learner=issuer_pb2.Learner(**learner),
        **{
            "achievement_id": str(UUID(int=1)),
            "achievement_version": 1,
            "awarded_on": "2026-11-20",
            "retention": credential_pb2.RETENTION_CLASS_ERASABLE,
            **values,
        },
    )


def admitted(provider: OrganisationId = UCL, now: datetime = NOW, **values: Any) -> Order:
    return admit(issuance(**values), provider=provider, request_id=UUID(int=7), now=now)


def refused(**values: Any) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        admitted(**values)
    assert PID not in str(caught.value)
    return caught.value


@given(born=st.none() | DATES, awarded=DATES, expires=st.none() | DATES)
def test_dates_are_admitted_exactly_when_they_can_be_true(
    born: date | None, awarded: date, expires: date | None
) -> None:
    possible = (
        awarded <= NOW.date()
        and (born is None or NOW.date() - timedelta(days=125 * 366) <= born <= awarded)
        and (expires is None or expires > awarded)
    )
    values: dict[str, Any] = {
        "learner": {"birth_date": born.isoformat() if born else ""},
        "awarded_on": awarded.isoformat(),
        "expires_on": expires.isoformat() if expires else "",
    }
    if possible:
        order = admitted(**values)
        assert (order.birth_date, order.awarded_on, order.expires_on) == (born, awarded, expires)
    else:
        assert refused(**values).reason in ("DATE_IN_FUTURE", "DATES_CONTRADICT")


@pytest.mark.parametrize(("now", "allowed"), [("21:59:59", False), ("22:00:00", True)])
def test_today_is_the_latest_date_in_the_countries_served(now: str, allowed: bool) -> None:
    at = datetime.fromisoformat(f"2026-06-20T{now}+00:00")
    if allowed:
        assert admitted(now=at, awarded_on="2026-06-21")
    else:
        assert refused(now=at, awarded_on="2026-06-21").reason == "DATE_IN_FUTURE"


def test_a_local_id_is_known_within_its_provider_and_a_national_one_everywhere() -> None:
    local = {"scheme": "provider.local_id", "value": "1042"}
    here, there = admitted(learner=local), admitted(UIO, learner=local)
    assert here.learner == there.learner
    assert here.known_as != there.known_as
    assert admitted().known_as == admitted(UIO).known_as == admitted().learner


@pytest.mark.parametrize("bad", ["Kari ", "\tKari", "Ka\nri", "Ka\u202eri", "\x00"])
def test_names_and_grades_are_printable(bad: str) -> None:
    for name in ("given_name", "family_name"):
        error = refused(learner={name: bad})
        assert (error.reason, error.field) == ("BAD_NAME", f"issuance.learner.{name}")
    assert refused(grade=bad).reason == "BAD_GRADE"


def test_a_wallets_key_is_a_public_p256_key() -> None:
    wallet = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
    order = admitted(holder_jwk=jwk(wallet))
    assert order.holder is not None
    assert order.holder.key_id == wallet.key_id
    assert refused(holder_jwk=jwk(LocalSigner(ed25519.Ed25519PrivateKey.generate()))).reason == "BAD_JWK"
    assert refused(holder_jwk=jwk(wallet).replace("}", ',"d":"AA"}')).reason == "PRIVATE_KEY_SENT"
    assert refused(holder_jwk="[1]").field == "issuance.holder_jwk"


def jwk(signer: LocalSigner) -> str:
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in signer.public_jwk.items()) + "}"


def test_every_part_of_the_body_tells_a_request_from_another() -> None:
    order = admitted(grade="A")
    changes: dict[str, Any] = {
        "given_name": "Karin",
        "family_name": "Nordman",
        "birth_date": date(1990, 4, 5),
        "achievement": UUID(int=2),
        "achievement_version": 2,
        "awarded_on": date(2026, 11, 19),
        "grade": "B",
        "expires_on": date(2030, 1, 1),
        "retention": credential_pb2.RETENTION_CLASS_ARCHIVE,
        "learner": admitted(learner={"scheme": "provider.local_id", "value": PID}).learner,
    }
    bodies = {replace(order, **{name: value}).body() for name, value in changes.items()}
    assert len(bodies) == len(changes)
    assert order.body() not in bodies
    assert admitted(grade="A").body() == order.body()


def test_an_order_does_not_show_who_it_is_for() -> None:
    shown = repr(admitted(grade="Bestått", learner={"birth_date": "1990-04-05"}))
    for secret in (PID, "Kari", "Nordmann", "Bestått", "1990"):
        assert secret not in shown


# --- batches --------------------------------------------------------------------------------------


async def stream(*items: issuer_pb2.BatchItem) -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
    yield issuer_pb2.IssueBatchRequest(header=issuer_pb2.BatchHeader(request_id=str(uuid4())))
    for one in items:
        yield issuer_pb2.IssueBatchRequest(item=one)


def items(count: int) -> list[issuer_pb2.BatchItem]:
    return [issuer_pb2.BatchItem(item_id=str(number), issuance=issuance()) for number in range(count)]


class Refusing:
    """A road that notes who comes, and lets nobody through."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    async def __call__(self, order: Order) -> Stored:
        self.orders.append(order)
        if order.item_id == "3":
            raise ZeroDivisionError
        raise FailedPrecondition("NOT_TODAY", "nothing is issued today")


async def answers(road: Refusing, *sent: issuer_pb2.BatchItem) -> list[issuer_pb2.IssueBatchResponse]:
    return [answer async for answer in Batch(UCL, road, ManualClock(NOW)).answer(stream(*sent))]


async def test_what_fails_on_the_road_is_that_items_answer_whatever_it_is() -> None:
    told = await answers(Refusing(), *items(5))
    assert len(told) == 6
    messages = {answer.result.item_id: answer.result.error.message for answer in told[:-1]}
    assert messages.pop("3").startswith("an unexpected fault of ours")
    assert set(messages.values()) == {"nothing is issued today"}
    summary = told[-1].summary
    assert (summary.issued, summary.refused, summary.needs_human) == (0, 4, 1)


@pytest.mark.parametrize(("name", "bound"), [("MAX_ITEMS", 3), ("MAX_BYTES", 300)])
async def test_a_batch_beyond_its_bounds_is_refused_before_anything_is_issued(
    monkeypatch: pytest.MonkeyPatch, name: str, bound: int
) -> None:
    monkeypatch.setattr(batch_module, name, bound)
    road = Refusing()
    with pytest.raises(ResourceExhausted) as caught:
        await answers(road, *items(4))
    assert caught.value.reason == "BATCH_TOO_LARGE"
    assert road.orders == []
    await answers(road, *items(1))
    assert len(road.orders) == 1


async def test_a_batch_is_read_although_nobody_reads_its_answers_yet() -> None:
    read = asyncio.Event()

    async def requests() -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
        async for one in stream(*(issuer_pb2.BatchItem(item_id=str(number)) for number in range(50))):
            yield one
        read.set()

    answers = Batch(UCL, Refusing(), ManualClock(NOW)).answer(requests())
    await anext(answers)
    await asyncio.wait_for(read.wait(), 5)
    rest = [answer async for answer in answers]
    assert rest[-1].summary.refused == 50


async def test_a_batch_that_breaks_off_ends_with_its_reason_after_what_was_refused_before() -> None:
    async def requests() -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
        async for one in stream(issuer_pb2.BatchItem(item_id="bad")):
            yield one
        yield issuer_pb2.IssueBatchRequest()

    answers = Batch(UCL, Refusing(), ManualClock(NOW)).answer(requests())
    assert (await anext(answers)).result.item_id == "bad"
    with pytest.raises(InvalidArgument) as caught:
        await anext(answers)
    assert caught.value.reason == "BATCH_PART_MISSING"


async def test_an_empty_batch_is_summed_up() -> None:
    (told,) = await answers(Refusing())
    assert (told.summary.issued, told.summary.refused) == (0, 0)


def test_learners_keys_are_kept_in_another_database() -> None:
    dsn = "postgresql://127.0.0.1/issuer"
    with pytest.raises(ValueError, match="another database"):
        IssuerSettings(database_dsn=dsn, learner_keys_dsn=dsn)
    assert IssuerSettings(database_dsn=dsn, learner_keys_dsn=f"{dsn}_keys").registry_staleness == timedelta(minutes=10)
