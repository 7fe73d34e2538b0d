"""Names of topics, and what they promise about revisions."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.messaging import topics
from vitne.messaging.sequence import Order, Place, place

KAFKA_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}\Z")


@pytest.mark.parametrize("hub", ["0192:919477822", "0184:30859480", "0007:5560160680"])
def test_a_hub_and_its_topic_name_each_other(hub: str) -> None:
    organisation = OrganisationId.parse(hub)
    name = topics.hub_topic(organisation)
    assert KAFKA_NAME.match(name)
    assert topics.hub_of(name) == organisation
    assert topics.order_of(name) is Order.GAPLESS


def test_the_hub_topic_is_the_one_that_is_written_down() -> None:
    assert topics.hub_topic(OrganisationId.parse("0192:919477822")) == "vitne.hub.0192-919477822.v1"


@pytest.mark.parametrize(
    "name",
    ["vitne.hub.0192-919477823.v1", "vitne.hub.0192:919477822.v1", "vitne.hub..v1", "vitne.other.v1", "vitne.hub.x"],
)
def test_other_names_are_not_topics(name: str) -> None:
    with pytest.raises(InvalidArgument):
        topics.describe(name)


def test_fixed_topics_are_kept_for_ever_but_the_heartbeat() -> None:
    kept = {topic.name: topic.retention for topic in topics.fixed_topics()}
    assert kept.pop(topics.REGISTRY_HEARTBEAT) == timedelta(days=1)
    assert set(kept.values()) == {None}
    assert topics.describe(topics.dead_topic(topics.LEDGER_STATUS)).retention is None


def test_what_topics_promise() -> None:
    assert topics.order_of(topics.REGISTRY_FACTS) is Order.GAPLESS
    assert topics.order_of(topics.REGISTRY_HEARTBEAT) is Order.RISING
    assert topics.order_of(topics.dead_topic(topics.REGISTRY_FACTS)) is Order.NONE
    assert topics.order_of("a.topic.that.is.unknown") is Order.GAPLESS


@given(st.permutations([*range(1, 8), 2, 5, 5]))
def test_gapless_revisions_take_effect_once_and_in_order(arrivals: list[int]) -> None:
    seen, effects, waiting = 0, [], set()
    for revision in arrivals:
        match place(Order.GAPLESS, seen, revision):
            case Place.GAP:
                waiting.add(revision)
            case Place.NEXT:
                waiting.add(revision)
                while seen + 1 in waiting:
                    seen += 1
                    effects.append(seen)
            case Place.SEEN:
                assert revision in effects
    assert effects == list(range(1, 8))


def test_a_topic_that_forgets_may_begin_anywhere_but_never_goes_back() -> None:
    assert place(Order.RISING, 0, 4711) is Place.NEXT
    assert place(Order.RISING, 4711, 4720) is Place.NEXT
    assert place(Order.RISING, 4720, 4711) is Place.SEEN
    assert place(Order.RISING, 4720, 4720) is Place.SEEN
    assert place(Order.GAPLESS, 3, 3) is Place.SEEN
    assert place(Order.NONE, 4720, 1) is Place.NEXT
