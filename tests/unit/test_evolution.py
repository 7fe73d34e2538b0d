"""Events of the first version, read by today's code; and what today's code does with events of a later one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

import services.issuer.projection
import services.verifier.sources
from services.ledger.intake import read_leaf
from tests.data.record_events import MESSAGES
from tests.data.recorded import FIRST, SECOND, Recorded, events, topics
from vitne.accreditation import Projection, fact_digest
from vitne.canonical import b64url
from vitne.clock import ManualClock
from vitne.errors import DataLoss, InvalidArgument
from vitne.merkle.leaves import AccreditationRecorded, Issued, KeyRecorded, parse_leaf
from vitne.messaging import topics as names
from vitne.messaging.event_types import STATUSES_CHANGED
from vitne.messaging.headers import Message
from vitne_api.events.v1 import events_pb2

LATER = datetime.fromisoformat("2027-01-01T00:00:00Z")
#: A field that no message has, as a later version might add it: number 1999, length-delimited.
UNKNOWN_FIELD = b"\xfa\x7c\x05later"

#: Topics that the first version did not have, and types.
SINCE = {names.LEDGER_LOG, names.ISSUER_EFFECTS}
TYPES_SINCE = {STATUSES_CHANGED}
#: What was recorded, version by version.
RECORDED = [
    pytest.param(topic, folder, id=f"{folder.name}-{topic}") for folder in (FIRST, SECOND) for topic in topics(folder)
]

Folder = Callable[[Projection, ManualClock], Callable[[Message], None]]
FOLDERS: list[Any] = [
    pytest.param(services.issuer.projection.folder, id="issuer"),
    pytest.param(services.verifier.sources.folder, id="verifier"),
]


def test_every_type_of_the_first_version_was_recorded() -> None:
    assert {event.message.type for topic in topics() for event in events(topic)} == set(MESSAGES) - TYPES_SINCE
    later = {event.message.type for topic in topics(SECOND) for event in events(topic, SECOND)}
    assert later > TYPES_SINCE
    recorded = {topic.name for topic in names.fixed_topics()} - SINCE
    assert set(topics()) == {*recorded, "vitne.hub.0192-919477822.v1"}


@pytest.mark.parametrize(("topic", "folder"), RECORDED)
def test_values_say_today_what_they_said_then(topic: str, folder: Path) -> None:
    for event in events(topic, folder):
        read = MESSAGES[event.message.type].FromString(event.value)
        assert MessageToDict(read, preserving_proto_field_name=True) == event.said
        again = type(read)()
        again.CopyFrom(read)
        again.DiscardUnknownFields()
        assert again == read, "a field that was there is not known any more"


@pytest.mark.parametrize("topic", [topic for topic in topics() if topic != names.REGISTRY_HEARTBEAT])
def test_what_was_recorded_has_each_key_from_its_first_revision_without_gaps(topic: str) -> None:
    revisions = defaultdict(list)
    for event in events(topic):
        revisions[event.message.key].append(event.message.revision)
    assert all(found == list(range(1, len(found) + 1)) for found in revisions.values())


def folded(folder: Folder, recorded: list[Recorded]) -> Projection:
    projection = Projection()
    fold = folder(projection, ManualClock(LATER))
    for event in recorded:
        fold(event.message)
    return projection


@pytest.mark.parametrize("folder", FOLDERS)
def test_facts_and_heartbeats_are_folded(folder: Folder) -> None:
    facts = events(names.REGISTRY_FACTS)
    projection = folded(folder, facts)
    assert projection.revision == len(facts)
    said = [event.said["fact"] for event in facts]
    for fact in said:
        if "achievement" in fact:
            offered = fact["achievement"]
            assert projection.achievement(offered["id"], offered["version"]) is not None
        elif "accreditation" in fact:
            held = projection.accreditation(fact["accreditation"]["id"])
            assert held is not None
            assert fact["accreditation"]["revision"] in {one.revision for one in held.revisions}
    beats = [event.message for event in events(names.REGISTRY_HEARTBEAT)]
    fold = folder(projection, ManualClock(LATER))
    for beat in beats:
        fold(beat)
    newest = events_pb2.RegistryHeartbeat.FromString(beats[-1].value).at.ToJsonString()
    assert projection.staleness(LATER) == LATER - datetime.fromisoformat(newest)


def test_digests_of_facts_are_the_ones_that_were_logged() -> None:
    digests = {}
    for event in events(names.REGISTRY_FACTS):
        fact = events_pb2.RegistryFactRecorded.FromString(event.value).fact
        if fact.WhichOneof("content") in ("key", "accreditation"):
            content = fact.key if fact.HasField("key") else fact.accreditation
            digests[content.id, content.revision] = fact_digest(fact)
    leaves = [parse_leaf(read_leaf(event.message)) for event in events(names.REGISTRY_LEAVES)]
    assert leaves
    for leaf in leaves:
        assert isinstance(leaf, AccreditationRecorded | KeyRecorded)
        name = b64url(leaf.thumbprint) if isinstance(leaf, KeyRecorded) else str(leaf.accreditation_id)
        assert digests[name, leaf.revision] == leaf.digest


def test_leaves_are_taken_in() -> None:
    for event in events(names.ISSUER_LEAVES):
        leaf = parse_leaf(read_leaf(event.message))
        assert isinstance(leaf, Issued)
        assert leaf.to_bytes() == events_pb2.LeafSubmitted.FromString(event.value).leaf


# --- events of a later version --------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_field_that_is_not_known_changes_nothing(folder: Folder) -> None:
    facts, projection = events(names.REGISTRY_FACTS), Projection()
    fold = folder(projection, ManualClock(LATER))
    for event in facts:
        fold(event.altered(value=event.value + UNKNOWN_FIELD))
    assert projection.trusted_facts() == folded(folder, facts).trusted_facts()
    leaf = events(names.ISSUER_LEAVES)[0]
    assert read_leaf(leaf.altered(value=leaf.value + UNKNOWN_FIELD)) == read_leaf(leaf.message)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("topic", [names.REGISTRY_FACTS, names.REGISTRY_HEARTBEAT])
def test_a_projection_stops_at_a_type_that_it_does_not_know(folder: Folder, topic: str) -> None:
    fold = folder(Projection(), ManualClock(LATER))
    with pytest.raises(DataLoss, match="does not know events of type"):
        fold(events(topic)[0].altered(type_="vitne.registry.fact.v2"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_fact_that_says_something_new_is_never_skipped(folder: Folder) -> None:
    """A fact whose content is a message that this version does not have."""
    facts, projection = events(names.REGISTRY_FACTS), Projection()
    fold = folder(projection, ManualClock(LATER))
    for event in facts[:3]:
        fold(event.message)
    unknown = events_pb2.RegistryFactRecorded.FromString(facts[3].value)
    unknown.fact.ClearField("content")
    value = b"\x0a" + bytes([unknown.fact.ByteSize() + len(UNKNOWN_FIELD)])
    with pytest.raises(DataLoss) as caught:
        fold(facts[3].altered(value=value + unknown.fact.SerializeToString() + UNKNOWN_FIELD))
    assert caught.value.reason == "UNKNOWN_FACT"
    for event in facts[4:]:  # of other subjects: known, and not built upon
        fold(event.message)
    assert projection.revision == 3


@pytest.mark.parametrize("topic", [names.ISSUER_LEAVES, names.REGISTRY_LEAVES])
def test_the_log_takes_no_leaf_that_it_does_not_understand(topic: str) -> None:
    event = events(topic)[0]
    with pytest.raises(InvalidArgument) as caught:
        read_leaf(event.altered(type_="vitne.log.leaf.v2"))
    assert caught.value.reason == "EVENT_TYPE_UNKNOWN"
    leaf = events_pb2.LeafSubmitted.FromString(event.value).leaf.replace(b'"v":1', b'"v":2')
    with pytest.raises(InvalidArgument) as caught:
        read_leaf(event.altered(value=events_pb2.LeafSubmitted(leaf=leaf).SerializeToString()))
    assert caught.value.reason == "BAD_LEAF"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_value_that_is_no_message_is_refused(folder: Folder) -> None:
    with pytest.raises((DecodeError, DataLoss)):
        folder(Projection(), ManualClock(LATER))(events(names.REGISTRY_FACTS)[0].altered(value=b"\xff\xff"))
