from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from services.ledger.settings import DEFAULT_LOG_ORIGIN
from services.verifier.settings import VerifierSettings
from services.verifier.sources import TrustListSource
from tests.unit.verifier_world import FOREIGN_KEY, LIST_KEY, NOW, OPERATOR, REGISTRY, TRUST_KEY, World
from vitne.accreditation import Projection, render, sign_trust_list
from vitne.clock import ManualClock
from vitne.errors import InvalidArgument, Unavailable, VitneError
from vitne_api.registry.v1 import facts_pb2


def source(
    projection: Projection, key_id: str = TRUST_KEY.key_id, url: str = "https://r.example/list"
) -> TrustListSource:
    return TrustListSource(url, key_id, REGISTRY, projection, ManualClock(NOW), development=False)


def trust_list(world: World, **changes: Any) -> str:
    facts = [fact for fact in world.chronicle.facts if not fact.HasField("achievement")]
    arguments: dict[str, Any] = {"issuer": REGISTRY, "at": NOW, "signer": TRUST_KEY}
    return sign_trust_list(map(render, facts), len(world.chronicle.facts), **arguments | changes)


def test_a_trust_list_is_folded_and_is_fresh() -> None:
    projection = Projection()
    source(projection).take(trust_list(World()), NOW)
    assert projection.revision == len(World().chronicle.facts)
    assert projection.staleness(NOW + timedelta(seconds=5)) == timedelta(seconds=5)
    assert {key.id for key in projection.keys_of(OPERATOR, facts_pb2.KEY_USE_STATUS_LIST)} == {LIST_KEY.key_id}


@pytest.mark.parametrize(
    ("spoil", "pin"),
    [
        (trust_list, FOREIGN_KEY.key_id),
        (lambda world: trust_list(world, signer=FOREIGN_KEY), TRUST_KEY.key_id),
        (lambda world: trust_list(world, issuer="https://other.example"), TRUST_KEY.key_id),
        (lambda world: trust_list(world, at=NOW - timedelta(minutes=11)), TRUST_KEY.key_id),
        (lambda world: trust_list(world, at=NOW + timedelta(minutes=2)), TRUST_KEY.key_id),
        (lambda world: trust_list(world)[:-10], TRUST_KEY.key_id),
        (lambda _: "", TRUST_KEY.key_id),
    ],
    ids=["another pin", "foreign key", "other issuer", "expired", "future", "truncated", "empty"],
)
def test_any_other_list_changes_nothing(spoil: Callable[[World], str], pin: str) -> None:
    projection = Projection()
    with pytest.raises(VitneError):
        source(projection, pin).take(spoil(World()), NOW)
    assert projection.revision == 0


@pytest.mark.parametrize("url", ["http://r.example/list", "r.example/list", "https://r.example", "file:///list"])
def test_the_trust_list_is_fetched_over_https(url: str) -> None:
    with pytest.raises(InvalidArgument):
        source(Projection(), url=url)


async def test_a_registry_out_of_reach_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = source(Projection())
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
    assert settings(verifier_source="trust-list", trust_list_url="https://r.example/list", registry_key="k")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"operator": None}, "VITNE_OPERATOR"),
        ({"kafka_bootstrap_servers": ""}, "VITNE_KAFKA_BOOTSTRAP_SERVERS"),
        ({"verifier_source": "trust-list", "registry_key": "k"}, "VITNE_TRUST_LIST_URL"),
        ({"verifier_source": "trust-list", "trust_list_url": "https://r.example/list"}, "VITNE_REGISTRY_KEY"),
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
