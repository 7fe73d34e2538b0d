"""A round of the prober against a world that does what the test says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.prober.road import STEPS, Road
from services.prober.rounds import Rounds
from services.prober.settings import ProberSettings
from vitne.clock import ManualClock
from vitne.errors import NotFound, PermissionDenied, Unauthenticated, Unavailable, VitneError
from vitne.identifiers import UuidFactory
from vitne.runtime.status import Internal
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
VALUES: dict[str, Any] = {
    "environment": "development",
    "identity_issuer": "http://127.0.0.1:1",
    "audience": "https://api.vitne.example",
    "operator": "0192:313000044",
    "client_id": "prober",
    "client_key_file": Path("client.jwk"),
    "issuer_address": "127.0.0.1:1",
    "ledger_address": "127.0.0.1:1",
    "verifier_url": "http://127.0.0.1:1",
    "trust_list_url": "http://127.0.0.1:1/v1/trust-list",
    "registry_key": "A" * 43,
    "allow": ("https://status.vitne.example/=http://127.0.0.1:1/",),
    "achievement": "01930f6e-7a00-7000-8000-00000000c001",
    "learner": "15869048191",
    "step_seconds": 5,
}


#: Steps that a prober without a hub does not have.
AT_THE_HUB = ("hub", "gathered", "told")


class FakeWorld:
    """Answers as all were well, but for what ``fails`` says of a method."""

    def __init__(self) -> None:
        self.fails: dict[str, VitneError] = {}
        self.asked: list[str] = []
        self.issued: dict[str, issuer_pb2.IssueRequest] = {}
        self.revoked: list[ledger_pb2.StatusReason.ValueType] = []
        self.revocations: set[str] = set()
        self.invalid: set[str] = set()
        self.integrated_after = 2
        self.verdicts = ["not_determinable", "valid"]
        self.listening = False
        self.told_after = 2

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        if name in self.fails:
            raise self.fails[name]

    async def read_registry(self) -> None:
        self._ask("read_registry")

    async def issue(self, request: issuer_pb2.IssueRequest) -> issuer_pb2.IssuedCredential:
        self._ask("issue")
        self.issued[request.request_id] = request
        return issuer_pb2.IssuedCredential(id=f"credential of {request.request_id}")

    async def change_status(self, request: issuer_pb2.ChangeStatusRequest) -> None:
        self._ask("change_status")
        if request.request_id not in self.revocations:
            self.revoked.append(request.reason)
        self.revocations.add(request.request_id)
        self.invalid.add(request.credential_id)

    async def prove_inclusion(self, credential: issuer_pb2.IssuedCredential) -> None:
        self._ask("prove_inclusion")
        if self.asked.count("prove_inclusion") < self.integrated_after:
            raise NotFound("LEAF_UNKNOWN", "not yet")

    async def verdict(self, credential: issuer_pb2.IssuedCredential) -> tuple[str, str]:
        self._ask("verdict")
        return (self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]), "As it is."

    async def listen(self) -> None:
        self._ask("listen")
        self.listening = True

    async def gathered_status(self, credential: issuer_pb2.IssuedCredential) -> credential_pb2.Status.ValueType | None:
        self._ask("gathered_status")
        assert self.listening
        if self.asked.count("gathered_status") < self.told_after:
            return None
        return credential_pb2.STATUS_REVOKED if credential.id in self.invalid else credential_pb2.STATUS_VALID

    async def stop_listening(self) -> None:
        self.listening = False

    async def published_status(self, credential: issuer_pb2.IssuedCredential) -> int:
        self._ask("published_status")
        return 1 if credential.id in self.invalid else 0


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def road(world: FakeWorld) -> Road:
    clock = ManualClock(NOW)
    return Road(ProberSettings(**VALUES), world, clock, UuidFactory(clock))


async def test_all_is_well(road: Road, world: FakeWorld) -> None:
    done = await road.run()
    assert (done.failed, done.error) == ("", None)
    assert list(done.seconds) == [step for step in STEPS if step not in {"clean_up", *AT_THE_HUB}]
    (request,) = world.issued.values()
    assert request.issuance.learner.value == VALUES["learner"]
    assert request.issuance.expires_on > request.issuance.awarded_on
    assert world.revoked == [ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR]


@pytest.fixture
def at_a_hub(world: FakeWorld) -> Road:
    clock = ManualClock(NOW)
    settings = ProberSettings(**VALUES, hub="0192:313000044", kafka_bootstrap_servers="127.0.0.1:1")
    return Road(settings, world, clock, UuidFactory(clock))


async def test_all_is_well_at_the_hub_too(at_a_hub: Road, world: FakeWorld) -> None:
    done = await at_a_hub.run()
    assert (done.failed, done.error) == ("", None)
    assert list(done.seconds) == [step for step in STEPS if step != "clean_up"]
    assert world.asked.count("gathered_status") == 3
    assert not world.listening


@pytest.mark.parametrize(("method", "step"), [("listen", "hub"), ("gathered_status", "gathered")])
async def test_a_hub_that_hears_nothing_fails_the_round(
    at_a_hub: Road, world: FakeWorld, method: str, step: str
) -> None:
    world.fails[method] = Unavailable("HUB_TOPIC_UNREACHABLE", "away")
    done = await at_a_hub.run()
    assert (done.failed, done.error) == (step, world.fails[method])
    assert len(world.issued) == len(world.revocations)
    assert not world.listening


async def test_a_credential_that_the_hub_is_not_told_of_is_named(at_a_hub: Road, world: FakeWorld) -> None:
    world.told_after = 10_000
    done = await at_a_hub.run()
    assert done.failed == "gathered"
    assert done.error is not None
    assert done.error.reason == "HUB_NOT_TOLD"


def test_a_hub_is_watched_where_its_topic_is() -> None:
    with pytest.raises(ValidationError, match="KAFKA_BOOTSTRAP_SERVERS"):
        ProberSettings(**VALUES, hub="0192:313000044")


@pytest.mark.parametrize(
    ("method", "step", "left"),
    [
        ("read_registry", "registry", 0),
        ("issue", "issue", 0),
        ("prove_inclusion", "inclusion", 1),
        ("verdict", "verify", 1),
        ("published_status", "status", 1),
    ],
)
async def test_the_step_that_fails_is_named_and_nothing_is_left_behind(
    road: Road, world: FakeWorld, method: str, step: str, left: int
) -> None:
    world.fails[method] = PermissionDenied("NO", "no")
    done = await road.run()
    assert (done.failed, done.error) == (step, world.fails[method])
    assert len(world.issued) == len(world.revocations) == left
    world.fails.clear()
    assert (await road.run()).failed == ""


async def test_what_could_not_be_revoked_is_revoked_before_anything_new_is_issued(road: Road, world: FakeWorld) -> None:
    world.fails["change_status"] = Unavailable("UNREACHABLE", "away")
    assert (await road.run()).failed == "revoke"
    for _ in range(3):
        assert (await road.run()).failed == "clean_up"
    assert len(world.issued) == 1
    world.fails.clear()
    done = await road.run()
    assert (done.failed, next(iter(done.seconds))) == ("", "clean_up")
    assert len(world.issued) == len(world.revocations) == 2


async def test_an_issuance_of_unknown_outcome_is_asked_for_again_and_revoked(road: Road, world: FakeWorld) -> None:
    world.fails["issue"] = Unavailable("UNREACHABLE", "away")
    assert (await road.run()).failed == "issue"
    world.fails.clear()
    assert (await road.run()).failed == ""
    assert len(world.issued) == len(world.revocations) == 2  # the first of them was cleaned up


@pytest.mark.parametrize("error", [Internal("FAULT", "ours"), Unauthenticated("TOKEN_EXPIRED", "no")])
async def test_what_says_nothing_about_an_issuance_does_not_end_it(
    road: Road, world: FakeWorld, error: VitneError
) -> None:
    world.fails["issue"] = Unavailable("UNREACHABLE", "away")
    await road.run()
    world.fails["issue"] = error
    assert (await road.run()).failed == "clean_up"
    world.fails.clear()
    assert (await road.run()).failed == ""
    assert len(world.issued) == len(world.revocations) == 2


async def test_what_was_issued_is_revoked_though_it_would_not_be_issued_again(road: Road, world: FakeWorld) -> None:
    world.fails["change_status"] = Unavailable("UNREACHABLE", "away")
    assert (await road.run()).failed == "revoke"
    world.fails = {"issue": PermissionDenied("ACCREDITATION_EXPIRED", "no")}
    assert (await road.run()).failed == "issue"
    assert len(world.issued) == len(world.revocations) == 1


async def test_what_never_comes_is_told_by_what_was_missing(road: Road, world: FakeWorld) -> None:
    world.verdicts = ["not_determinable"]
    done = await road.run()
    assert done.failed == "verify"
    assert done.error is not None
    assert done.error.reason == "NOT_VERIFIED"
    assert done.seconds["verify"] <= VALUES["step_seconds"]
    assert len(world.revocations) == 1


@pytest.mark.parametrize(
    ("method", "step", "revoked"),
    [
        ("read_registry", "registry", 0),
        ("issue", "issue", 0),
        ("prove_inclusion", "inclusion", 1),
        ("verdict", "verify", 1),
        ("published_status", "status", 1),
        ("change_status", "revoke", 0),
    ],
)
async def test_what_never_answers_ends_its_step_and_the_round(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch, method: str, step: str, revoked: int
) -> None:
    async def hang(*_arguments: Any) -> None:
        world.asked.append(method)
        await asyncio.Event().wait()

    clock = ManualClock(NOW)
    road = Road(ProberSettings(**VALUES | {"step_seconds": 0.2}), world, clock, UuidFactory(clock))
    with monkeypatch.context() as hanging:
        hanging.setattr(world, method, hang)
        async with asyncio.timeout(30):
            done = await road.run()
    assert done.failed == step
    assert isinstance(done.error, Unavailable)
    assert done.error.reason == "STEP_TIMED_OUT"
    assert f"the step {step} took longer than 0.2 s" in done.error.message
    assert len(world.revocations) == revoked
    # What may have been issued is revoked by the next round, which comes through.
    world.integrated_after, world.verdicts = 0, ["valid"]
    assert (await road.run()).failed == ""
    assert len(world.issued) == len(world.revocations)


async def test_a_round_is_told_in_the_log_without_the_learner(
    road: Road, world: FakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.fails["verdict"] = Unavailable("VERIFIER_UNREACHABLE", "away")
    rounds = Rounds(road, ManualClock(NOW), 60)
    await rounds.once()
    (record,) = [record for record in caplog.records if record.message == "probe failed"]
    told = vars(record)
    assert (told["step"], told["reason"]) == ("verify", "VERIFIER_UNREACHABLE")
    assert VALUES["learner"] not in str(told)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learner", "15069048191"),  # no synthetic one
        ("learner", "15869048190"),  # wrong check digit
        ("achievement", "one"),
        ("verifier_url", "http://127.0.0.1:1/"),
        ("allow", ()),
        ("operator", None),
    ],
)
def test_settings_that_can_not_be_right_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        ProberSettings(**(VALUES | {name: value}))


def test_nobody_but_the_synthetic_population_is_probed_with() -> None:
    """The check digits are right; 40 is added to the month, which others than Skatteetaten do."""
    with pytest.raises(ValidationError, match="synthetic"):
        ProberSettings(**(VALUES | {"learner": "15469000033"}))
