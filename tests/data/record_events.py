"""Records events for the tests of schema evolution: ``python -m tests.data.record_events FOLDER``.

Runs the demonstration in a stack of its own and writes each topic to ``FOLDER/<topic>.jsonl``: an object a line with
key, headers, the value's bytes in base64, and ``said``, what the value says as ProtoJSON. Topics with much of the same
are cut after some records; what is there of a key is there from its first revision on, without gaps.

``events-v1`` was recorded from the first release's services, and is never recorded anew: it stands for what lies in
topics that are kept for ever. A new version of an event gets a new folder beside it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from vitne.dev.actors import Actors
from vitne.dev.demo import Demo
from vitne.dev.narrator import Narrator
from vitne.dev.stack import HubRecord, Stack
from vitne.dev.story import tell
from vitne.messaging import topics
from vitne_api.events.v1 import events_pb2

#: What the value of each type is.
MESSAGES: Final[dict[str, type[Message]]] = {
    "vitne.registry.fact.v1": events_pb2.RegistryFactRecorded,
    "vitne.registry.heartbeat.v1": events_pb2.RegistryHeartbeat,
    "vitne.log.leaf.v1": events_pb2.LeafSubmitted,
    "vitne.ledger.status_changed.v1": events_pb2.StatusChanged,
    "vitne.ledger.statuses_changed.v1": events_pb2.StatusesChanged,
    "vitne.ledger.list_published.v1": events_pb2.StatusListPublished,
    "vitne.hub.notice.v1": events_pb2.HubCredentialNotice,
}
#: Records that are kept of a topic; all where nothing is said.
KEPT: Final = {
    topics.REGISTRY_HEARTBEAT: 3,
    topics.ISSUER_LEAVES: 10,
    topics.REGISTRY_LEAVES: 10,
    topics.LEDGER_STATUS: 30,
}


async def record(folder: Path) -> None:
    """Run the demonstration and write what its topics hold."""
    with tempfile.TemporaryDirectory(prefix="vitne-record-") as scratch:
        Path(scratch).chmod(0o755)  # an unprivileged PostgreSQL must get in
        async with Stack(Path(scratch)) as stack, Actors(stack) as actors, AsyncExitStack() as exits:
            await tell(Demo(stack, actors, Narrator(quiet=True), exits))
            for name in (*(topic.name for topic in topics.fixed_topics()), stack.hub_topic()):
                records = (await stack.read_topic(name))[: KEPT.get(name)]
                lines = [json.dumps(plain(one), ensure_ascii=False) + "\n" for one in records]
                (folder / f"{name}.jsonl").write_text("".join(lines))


def plain(record: HubRecord) -> dict[str, object]:
    """A record as a line of the file."""
    said = MESSAGES[record.headers["ce_type"]].FromString(record.value)
    return {
        "key": record.key,
        "headers": dict(record.headers),
        "value": base64.b64encode(record.value).decode(),
        "said": MessageToDict(said, preserving_proto_field_name=True),
    }


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if any(target.glob("*.jsonl")):
        raise SystemExit(f"{target} holds recorded events already: they are never recorded anew")
    asyncio.run(record(target))
