"""Events of former versions, as ``record_events`` and ``record_changes`` wrote them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitne.messaging.headers import Message, parse

#: Of the first version; and what came since.
FIRST, SECOND = (Path(__file__).parent / name for name in ("events-v1", "events-v2"))


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


def topics(folder: Path = FIRST) -> list[str]:
    """Names of the topics that were recorded."""
    return sorted(path.name.removesuffix(".jsonl") for path in folder.glob("*.jsonl"))


def events(topic: str, folder: Path = FIRST) -> list[Recorded]:
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
        for offset, line in enumerate(map(json.loads, (folder / f"{topic}.jsonl").read_text().splitlines()))
    ]
