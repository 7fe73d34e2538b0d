"""The AsyncAPI document is what proto and topics say. `make interop` holds it to AsyncAPI's own schema."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tools.asyncapi import PAGE, document, events, page
from vitne.messaging import event_types
from vitne.messaging.event_types import HUB_NOTICE
from vitne.messaging.headers import build
from vitne.messaging.topics import fixed_topics
from vitne_api.events.v1 import events_pb2


def references(part: Any) -> Iterator[str]:
    """Where the document points to within itself."""
    for name, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if name == "$ref":
            yield value
        else:
            yield from references(value)


def test_what_is_checked_in_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make asyncapi`"


def test_every_topic_has_its_messages_and_every_event_its_topic() -> None:
    channels = {one["address"]: one for one in document()["channels"].values()}
    assert {topic.name for topic in fixed_topics()} < channels.keys()
    assert channels.keys() - {topic.name for topic in fixed_topics()} == {"vitne.hub.{hub}.v1", "{topic}.dead"}
    assert all(one["messages"] for one in channels.values())
    told = list(events())
    assert {event.name for event in told} == {
        name for name, message in events_pb2.DESCRIPTOR.message_types_by_name.items() if message.containing_type is None
    }
    assert all(set(event.topics) <= channels.keys() and event.topics for event in told)


def test_types_are_those_that_are_sent() -> None:
    sent = {value for name, value in vars(event_types).items() if name.isupper()}
    assert {event.type for event in events()} == sent


def test_it_points_to_what_is_there() -> None:
    whole = document()
    found = set(references(whole))
    assert found
    for reference in found:
        part: Any = whole
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_headers_are_those_that_are_written() -> None:
    headers = build(
        event_id=UUID(int=1),
        source="/vitne/issuer",
        type_=HUB_NOTICE,
        time=datetime(2026, 11, 22, tzinfo=UTC),
        key="key",
        revision=1,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    described = document()["components"]["messageTraits"]["event"]["headers"]
    assert {name for name, _ in headers} == described["properties"].keys()
    assert set(described["required"]) == described["properties"].keys() - {"traceparent"}
