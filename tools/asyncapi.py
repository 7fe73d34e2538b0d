"""Write ``docs/asyncapi.json``: topics, keys, headers and messages as AsyncAPI 3, for subscribers in any language.

Made from ``proto/vitne/events/v1/events.proto``, whose comments say which message is in which topic under which
``ce_type``, and from ``vitne/messaging/topics.py``.

Usage: ``python -m tools.asyncapi`` from the project's root.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vitne.messaging.headers import REQUIRED
from vitne.messaging.topics import PARTITIONS, Topic, fixed_topics

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "asyncapi.json"
EVENTS: Final = "vitne/events/v1/events.proto"
#: A hub's topic and dead letters, as the proto's comments write them: what is in angle brackets is chosen.
HUB: Final = Topic(
    "vitne.hub.{hub}.v1", "the learner's pseudonym for this hub", "a notice about a credential", partitions=PARTITIONS
)
DEAD: Final = Topic(
    "{topic}.dead", "as in the topic that it comes from", "what could not be handled, with reason and place", None, 1
)
_PARAMETERS: Final[Mapping[str, str]] = {
    "hub": "The hub's organisation id with a hyphen for the colon: 0192-919477822.",
    "topic": "The topic that the record comes from.",
}
_MESSAGE: Final = re.compile(r"((?:^//.*\n)+)^message (\w+) \{", re.MULTILINE)
_TOPIC: Final = re.compile(r"`((?:vitne\.[\w.<>]+\.v1|<topic>\.dead))`")
_TYPE: Final = re.compile(r"ce_type `([\w.]+)`")
_BINDING: Final = "0.5.0"


@dataclass(frozen=True, slots=True)
class Event:
    """A message that is an event.

    Attributes:
        name: of the message.
        type: ``ce_type``.
        topics: where it is, as AsyncAPI writes addresses.
        meaning: the comment above it.
    """

    name: str
    type: str
    topics: tuple[str, ...]
    meaning: str


def events() -> Iterator[Event]:
    """The events of the proto, in its order."""
    text = (ROOT / "proto" / EVENTS).read_text("utf-8")
    for comment, name in _MESSAGE.findall(text):
        words = " ".join(line.removeprefix("//").strip() for line in comment.splitlines())
        if (type_ := _TYPE.search(words)) is not None:
            named = _TOPIC.findall(words[: type_.start()])
            topics = tuple(topic.replace("<", "{").replace(">", "}") for topic in named)
            yield Event(name, type_[1], topics, words)


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    told = list(events())
    topics = [*fixed_topics(), HUB, DEAD]
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vitne's events",
            "version": version,
            "description": "Thin events: identifiers, never content. docs/events.md says what a subscriber has to do. "
            "Values are protobuf (proto/vitne/events/v1/events.proto), headers CloudEvents 1.0 in binary mode.",
        },
        "defaultContentType": "application/protobuf",
        "channels": {_channel(topic): _description(topic, told) for topic in topics},
        "operations": {
            f"receive_{_channel(topic)}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{_channel(topic)}"},
                "summary": f"Be told: {topic.holds}.",
            }
            for topic in topics
        },
        "components": {
            "messages": {event.name: _message(event) for event in told},
            "messageTraits": {"event": {"headers": _HEADERS}},
        },
    }


def _channel(topic: Topic) -> str:
    return re.sub(r"\W+", "_", topic.name.removeprefix("vitne.")).strip("_")


def _description(topic: Topic, told: list[Event]) -> dict[str, Any]:
    kept = "for ever" if topic.retention is None else f"for {topic.retention.days} day"
    parameters = {
        name: {"description": meaning} for name, meaning in _PARAMETERS.items() if f"{{{name}}}" in topic.name
    }
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. Kept {kept}, never compacted.",
        **({"parameters": parameters} if parameters else {}),
        "messages": {
            event.name: {"$ref": f"#/components/messages/{event.name}"} for event in told if topic.name in event.topics
        },
        "bindings": {"kafka": {"partitions": topic.partitions, "bindingVersion": _BINDING}},
    }


def _message(event: Event) -> dict[str, Any]:
    return {
        "name": event.type,
        "title": event.name,
        "summary": event.meaning,
        "contentType": "application/protobuf",
        "traits": [{"$ref": "#/components/messageTraits/event"}],
        "payload": {
            "schemaFormat": "application/vnd.google.protobuf;version=3",
            "schema": f'syntax = "proto3";\nimport "{EVENTS}";\n// The value is a vitne.events.v1.{event.name}.\n',
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": "UTF-8 text"}, "bindingVersion": _BINDING}},
    }


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


_HEADERS: Final = {
    "type": "object",
    "required": [*REQUIRED],
    "properties": {
        "ce_specversion": _text("CloudEvents", const="1.0"),
        "ce_id": _text("UUIDv7 of the event; the same when it is repeated", format="uuid"),
        "ce_source": _text("who says it"),
        "ce_type": _text("which message the value is: the message's name here"),
        "ce_time": _text("when it happened: RFC 3339, UTC", format="date-time"),
        "ce_subject": _text("the record's key"),
        "ce_partitionkey": _text("the record's key"),
        "content-type": _text("of the value", const="application/protobuf"),
        "ce_revision": _text("the aggregate's revision: from 1, without gaps", pattern="^[1-9][0-9]*$"),
        "traceparent": _text("W3C trace context; may be missing"),
    },
}


def page() -> str:
    """The document as it is kept."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(PAGE.relative_to(ROOT))
