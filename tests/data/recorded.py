"""The events of the first version, as ``record_events`` wrote them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitne.messaging.headers import Message, parse

FOLDER = Path(__file__).parent / "events-v1"


@dataclass(frozen=True)
class Recorded:
    """A line of a file; a record as Kafka would hand it over, and what its value said when it was recorded."""

    topic: str
    offset: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]
    said: dict[str, Any]
    partition: int = 0

    @property
    def message(self) -> Message:
        return parse(self)

    def altered(self, *, value: bytes | None = None, type_: str = "") -> Message:
        """The same with another value or type, as a later version might send it."""
        message = self.message
        return replace(message, value=message.value if value is None else value, type=type_ or message.type)


def topics() -> list[str]:
    """Names of the topics that were recorded."""
    return sorted(path.name.removesuffix(".jsonl") for path in FOLDER.glob("*.jsonl"))


def events(topic: str) -> list[Recorded]:
    """A topic's records, in their order."""
    return [
        Recorded(
            topic=topic,
            offset=offset,
            key=line["key"].encode(),
            value=base64.b64decode(line["value"]),
            headers=[(name, text.encode()) for name, text in line["headers"].items()],
            said=line["said"],
        )
        for offset, line in enumerate(map(json.loads, (FOLDER / f"{topic}.jsonl").read_text().splitlines()))
    ]
