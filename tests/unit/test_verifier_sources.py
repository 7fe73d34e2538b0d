from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.ledger.settings import DEFAULT_LOG_ORIGIN
from services.verifier.settings import VerifierSettings
from tests.unit.accreditation_samples import UCL, achievement
from tests.unit.verifier_world import FOREIGN_KEY, LIST_KEY, NOW, OPERATOR, REGISTRY, TRUST_KEY, World
from vitne.accreditation import FactsReference, Projection, render, sign_statement
from vitne.clock import ManualClock
from vitne.errors import InvalidArgument, PermissionDenied, Unavailable, VitneError
from vitne.runtime.fetch import Fetched
from vitne.runtime.trust_list import FOLDED_AT_ONCE, TrustListSource, trust_list_fetcher
from vitne_api.registry.v1 import facts_pb2

URL = "https://r.example/v1/trust-list"


class Registry:
    """Publishes the list of a world, well or badly."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.options: dict[str, Any] = {}
        self.statement: Callable[[str], str] = lambda token: token
        self.body: Callable[[bytes], bytes] = lambda body: body
        self.changes: Callable[[bytes], bytes] = lambda body: body
        self.has_changes = True
        self.asked: list[str] = []

    async def fetch(self, url: str, *, accept: str = "", max_bytes: int | None = None) -> Fetched:
        self.asked.append(url)
        facts = [fact for fact in self.world.chronicle.facts if not fact.HasField("achievement")]
        body = b"".join(map(render, facts))
        path = f"trust-list/facts/{facts[-1].registry_revision}"
        if url == URL:
            revision = len(self.world.chronicle.facts)
            options: dict[str, Any] = {"issuer": REGISTRY, "at": NOW, "signer": TRUST_KEY}
            token = sign_statement(FactsReference.of(path, body), revision, **options | self.options)
            answer = self.statement(token).encode()
        elif url == f"https://r.example/v1/{path}":
            answer = self.body(body)
        else:
            whole, _, known = url.rpartition("/since/")
            if whole != f"https://r.example/v1/{path}" or not self.has_changes:
                raise Unavailable("FETCH_FAILED", "it answered 404")
            answer = self.changes(b"".join(render(fact) for fact in facts if fact.registry_revision > int(known)))
        assert max_bytes is not None
        if len(answer) > max_bytes:
            raise Unavailable("FETCH_TOO_LARGE", f"it is larger than {max_bytes} bytes")
        return Fetched(url, answer, "", "")


def source(projection: Projection, registry: Registry, key_id: str = TRUST_KEY.key_id) -> TrustListSource:
    return TrustListSource(URL, key_id, REGISTRY, projection, ManualClock(NOW), fetcher=registry)


async def test_a_trust_list_is_folded_and_is_fresh() -> None:
    projection, registry = Projection(), Registry()
    await source(projection, registry).refresh()
    assert projection.revision == len(registry.world.chronicle.facts)
    assert projection.staleness(NOW + timedelta(seconds=5)) == timedelta(seconds=5)
    assert {key.id for key in projection.keys_of(OPERATOR, facts_pb2.KEY_USE_STATUS_LIST)} == {LIST_KEY.key_id}


async def test_facts_are_fetched_when_there_are_new_ones() -> None:
    projection, registry = Projection(), Registry()
    reading = source(projection, registry)
    for _ in range(3):
        await reading.refresh()
    assert [url == URL for url in registry.asked] == [True, False, True, True]
    registry.world.accredit(accreditation=0xA077)
    await reading.refresh()
    assert [url == URL for url in registry.asked[4:]] == [True, False]
    assert projection.revision == len(registry.world.chronicle.facts)
    assert len(projection.accreditations_of(UCL)) == 2


async def test_a_fact_that_is_not_in_the_list_needs_no_new_facts() -> None:
    projection, registry = Projection(), Registry()
    reading = source(projection, registry)
    await reading.refresh()
    registry.world.chronicle.publish(
        achievement(UCL, "dk.micro_credential", level=("dk.nqf", "5"), workload=("ects", "1.25"), version=2)
    )
    await reading.refresh()
    assert projection.revision == len(registry.world.chronicle.facts)
    assert [url == URL for url in registry.asked] == [True, False, True]


async def test_a_mirror_fetches_what_was_added_and_all_of_it_where_that_does_not_fit() -> None:
    registry, projection = Registry(), Projection()
    mirror = source(projection, registry)
    await mirror.refresh()
    known = registry.asked[-1].rpartition("/")[2]

    async def refreshed(number: int) -> list[str]:
        registry.world.accredit(accreditation=number)
        before = len(registry.asked)
        await mirror.refresh()
        assert projection.revision == len(registry.world.chronicle.facts)
        return [url.removeprefix(f"{URL}/facts/") for url in registry.asked[before + 1 :]]

    newest = len(registry.world.chronicle.facts) + 1
    assert await refreshed(0xA101) == [f"{newest}/since/{known}"]
    # A registry that does not serve changes, or a cache that answers with others: the whole list is the same.
    registry.has_changes = False
    assert await refreshed(0xA102) == [f"{newest + 1}/since/{newest}", f"{newest + 1}"]
    registry.has_changes, registry.changes = True, lambda body: b" " * len(body)
    assert await refreshed(0xA103) == [f"{newest + 2}/since/{newest + 1}", f"{newest + 2}"]
    registry.changes = lambda body: body
    assert await refreshed(0xA104) == [f"{newest + 3}/since/{newest + 2}"]


def test_an_address_without_a_path_is_told_as_that() -> None:
    with pytest.raises(InvalidArgument) as caught:
        trust_list_fetcher("https://registry.example", development=False)
    assert (caught.value.reason, caught.value.field) == ("BAD_URL", "trust_list")
    assert "where on it the list is" in caught.value.message


async def test_only_new_facts_are_read() -> None:
    folded: list[int] = []

    class Counting(Projection):
        def fold(self, fact: facts_pb2.Fact) -> bool:
            folded.append(fact.registry_revision)
            return super().fold(fact)

    registry = Registry()
    reading = source(Counting(), registry)
    await reading.refresh()
    before = len(folded)
    newest = registry.world.accredit(accreditation=0xA077)
    await reading.refresh()
    assert folded[before:] == [newest.registry_revision]


async def test_a_replica_that_lags_changes_nothing() -> None:
    projection, registry = Projection(), Registry()
    reading = source(projection, registry)
    registry.world.accredit(accreditation=0xA077)
    await reading.refresh()
    revision = projection.revision
    registry.world.chronicle.facts.pop()
    await reading.refresh()
    assert projection.revision == revision


async def test_verifications_are_answered_while_a_list_is_folded() -> None:
    world = World()
    for number in range(3 * FOLDED_AT_ONCE):
        world.accredit(accreditation=0xB000 + number)
    projection, turns = Projection(), 0
    task = asyncio.create_task(source(projection, Registry(world)).refresh())
    while not task.done():
        await asyncio.sleep(0)
        whole = projection.revision == len(world.chronicle.facts)
        turns += bool(projection.revision) and not whole
        # What is not whole yet is not fresh yet.
        assert whole or projection.staleness(NOW) == timedelta.max
    await task
    assert turns >= 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda registry: registry.options.update(signer=FOREIGN_KEY),
        lambda registry: registry.options.update(issuer="https://other.example"),
        lambda registry: registry.options.update(at=NOW - timedelta(minutes=11)),
        lambda registry: registry.options.update(at=NOW + timedelta(minutes=2)),
        lambda registry: setattr(registry, "statement", lambda token: token[:-10]),
        lambda registry: setattr(registry, "statement", lambda _: ""),
        lambda registry: setattr(registry, "statement", lambda token: token + "A" * 10_000),
        lambda registry: setattr(registry, "body", lambda body: body[:-1]),
        lambda registry: setattr(registry, "body", lambda body: body + b"\n"),
        lambda registry: setattr(registry, "body", lambda body: body.replace(b"UCL", b"XXX", 1)[::-1]),
    ],
    ids=[
        *("foreign key", "other issuer", "expired", "future", "truncated", "empty", "too long"),
        *("fewer facts", "more facts", "other facts"),
    ],
)
async def test_any_other_list_changes_nothing(spoil: Callable[[Registry], None]) -> None:
    projection, registry = Projection(), Registry()
    spoil(registry)
    with pytest.raises(VitneError):
        await source(projection, registry).refresh()
    assert projection.revision == 0


async def test_a_list_of_another_key_than_the_pinned_one_changes_nothing() -> None:
    projection = Projection()
    with pytest.raises(VitneError):
        await source(projection, Registry(), FOREIGN_KEY.key_id).refresh()
    assert projection.revision == 0


@pytest.mark.parametrize("url", ["http://r.example/list", "r.example/list", "https://r.example", "file:///list"])
def test_the_trust_list_is_fetched_over_https(url: str) -> None:
    with pytest.raises(InvalidArgument):
        trust_list_fetcher(url, development=False)


def test_facts_are_fetched_from_below_the_statement_only() -> None:
    fetcher = trust_list_fetcher(URL, development=False)
    assert fetcher.place_of("https://r.example/v1/trust-list/facts/7") == "https://r.example/v1/trust-list/facts/7"
    with pytest.raises(PermissionDenied):
        fetcher.place_of("https://r.example/v2/trust-list")


async def test_a_registry_out_of_reach_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = source(Projection(), Registry())
    asked = 0
    enough = asyncio.Event()

    async def refresh() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            enough.set()
        raise Unavailable("FETCH_FAILED", "nobody there")

    monkeypatch.setattr(fetching, "refresh", refresh)
    task = asyncio.create_task(fetching.run(1))
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    assert asked >= 3


PINNED = "A" * 43


def settings(**changes: Any) -> VerifierSettings:
    values: dict[str, Any] = {
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "operator": OPERATOR,
        "ledger_address": "127.0.0.1:1",
        "allow": ("https://status.vitne.example/",),
    }
    return VerifierSettings(**values | changes)


def test_the_log_is_the_ledgers_unless_another_is_named() -> None:
    assert settings().log_origin == DEFAULT_LOG_ORIGIN


def test_settings_of_either_source() -> None:
    assert settings().allow_rules[0].base == "https://status.vitne.example/"
    assert settings(verifier_source="trust-list", trust_list_url="https://r.example/list", registry_key=PINNED)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"operator": None}, "VITNE_OPERATOR"),
        ({"kafka_bootstrap_servers": ""}, "VITNE_KAFKA_BOOTSTRAP_SERVERS"),
        ({"verifier_source": "trust-list", "registry_key": PINNED}, "VITNE_TRUST_LIST_URL"),
        ({"verifier_source": "trust-list", "trust_list_url": "https://r.example/list"}, "VITNE_REGISTRY_KEY"),
        ({"registry_key": PINNED[:-1]}, "registry_key\n.* 43 characters of base64url .* this has 42; remedy:"),
        ({"verifier_source": "guess"}, "topics"),
        ({"allow": ("everything",)}, "BAD_ALLOW_RULE"),
        ({"allow": ("https://status.vitne.example/=http://127.0.0.1:1/",)}, "BAD_ALLOW_RULE"),
        ({"ledger_address": "nowhere"}, "host:port"),
        ({"log_origin": ""}, "log_origin"),
        ({"standings": ("rumour",)}, "in_force"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(**changes)
