"""The projection: duplicates, contradictions, gaps, freshness, look-ups."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from tests.unit.accreditation_samples import NOW, T0, UCL, UIO, Chronicle, achievement, days, scope, text, uuid
from vitne.accreditation import Projection, fact_digest, key_counts_at, timestamp
from vitne.accreditation import projection as projection_module
from vitne.accreditation.facts import fact_bytes, fact_from_json, fact_json
from vitne.errors import DataLoss, InvalidArgument
from vitne_api.registry.v1 import facts_pb2, qualification_pb2

CREDENTIAL = facts_pb2.KEY_USE_CREDENTIAL


def story() -> Chronicle:
    chronicle = Chronicle()
    chronicle.authority()
    chronicle.provider(UIO)
    chronicle.accredit(UIO, "no.self_accrediting", scope("no.micro_credential", credit_unit="ects"))
    chronicle.publish(achievement(UIO, "no.micro_credential", workload=("ects", "1")))
    chronicle.publish(achievement(UIO, "no.micro_credential", workload=("ects", "2"), version=2))
    chronicle.record(
        UIO,
        key=facts_pb2.Key(
            id="k" * 43, revision=1, owner=UIO, use=CREDENTIAL, public_jwk="{}", valid_from=timestamp(T0)
        ),
    )
    return chronicle


def test_a_fact_has_one_digest() -> None:
    fact = story().facts[0]
    assert fact_bytes(fact).startswith(b'{"actor":"0192:985042667","authority":{"id":"0192:985042667","name":[{')
    assert b'"recorded_at":"2026-01-01T00:01:00Z"' in fact_bytes(fact)
    assert b"synthetic" not in fact_bytes(fact), "default values are left out"
    assert fact_digest(fact_from_json(fact_json(fact))) == fact_digest(fact)
    fact.recorded_at.nanos = 214_000_000
    assert b'"recorded_at":"2026-01-01T00:01:00.214Z"' in fact_bytes(fact)


@pytest.mark.parametrize("record", [{"nonsense": 1}, {"id": 5}, {"recorded_at": "yesterday"}, {"key": {"use": "X"}}])
def test_what_is_no_fact_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        fact_from_json(record)
    assert caught.value.reason == "BAD_FACT"


def stacked(number: int, version: int, awards: str) -> qualification_pb2.Qualification:
    asked = qualification_pb2.Requirement(key="a", achievement=qualification_pb2.AchievementRange(id=uuid(0xC001)))
    awarded = qualification_pb2.AchievementVersion(id=awards, version=1)
    return qualification_pb2.Qualification(
        id=uuid(number), version=version, provider=UIO, awards=awarded, requirement=asked
    )


def test_qualifications_are_known_by_version_and_revision_and_by_what_they_award() -> None:
    chronicle = story()
    old, new = uuid(0xC010), uuid(0xC011)
    for said in (stacked(0xE002, 1, old), stacked(0xE001, 1, old), stacked(0xE002, 2, new)):
        chronicle.record(UIO, qualification=said)
    projection = chronicle.projection()
    assert [said.id for said in projection.qualifications()] == [uuid(0xE001), uuid(0xE002)]
    assert [said.version for said in projection.qualifications(UIO, UUID(uuid(0xE001)))] == [2]
    assert list(projection.qualifications(UCL)) == []
    newest, before = projection.newest_qualification(uuid(0xE002)), projection.newest_qualification(uuid(0xE002), 8)
    assert newest is not None
    assert before is not None
    assert (newest.version, before.version) == (2, 1)
    assert projection.qualification(uuid(0xE002), 1) == before
    assert projection.qualification(uuid(0xE002), 3) is None
    assert projection.qualification("no id", 1) is None
    # The newest version counts: what it awarded before, it no longer does.
    assert [said.id for said in projection.qualifications_awarding(old)] == [uuid(0xE001)]
    assert [said.id for said in projection.qualifications_awarding(new)] == [uuid(0xE002)]
    assert [fact.registry_revision for fact in projection.qualification_facts(7)] == [8, 9]
    # The list that is signed holds who may issue what, and no catalogue.
    assert all(fact.registry_revision < 7 for fact in projection.trusted_facts())


def test_qualifications_beyond_a_gap_are_not_known_yet() -> None:
    chronicle = story()
    first = chronicle.record(UIO, qualification=stacked(0xE001, 1, uuid(0xC010)))
    missing = chronicle.provider(UCL)
    later = chronicle.record(UIO, qualification=stacked(0xE001, 2, uuid(0xC010)))
    projection = Projection()
    for fact in chronicle.facts:
        if fact is not missing:
            projection.fold(fact)
    assert [fact.registry_revision for fact in projection.qualification_facts()] == [first.registry_revision]
    assert [said.version for said in projection.qualifications()] == [1]
    projection.fold(missing)
    assert [fact.registry_revision for fact in projection.qualification_facts(first.registry_revision)] == [
        later.registry_revision
    ]


def test_a_fact_that_arrives_twice_counts_once() -> None:
    chronicle = story()
    projection = chronicle.projection()
    assert [projection.fold(fact) for fact in chronicle.facts] == [False] * 6
    assert projection.revision == 6
    assert len(projection.keys_of(UIO, CREDENTIAL)) == 1


def test_a_fact_that_contradicts_is_refused_and_changes_nothing() -> None:
    chronicle = story()
    projection = chronicle.projection()
    same_place = facts_pb2.Fact.FromString(chronicle.facts[2].SerializeToString())
    same_place.accreditation.scope.credit_unit = "no.fagskolepoeng"
    same_revision = facts_pb2.Fact.FromString(same_place.SerializeToString())
    same_revision.registry_revision = 7
    another_subject = facts_pb2.Fact.FromString(chronicle.facts[1].SerializeToString())
    another_subject.registry_revision, another_subject.subject = 7, UCL
    no_revision = facts_pb2.Fact.FromString(chronicle.facts[1].SerializeToString())
    no_revision.registry_revision = 0
    for fact in (same_place, same_revision, another_subject, no_revision):
        with pytest.raises(DataLoss) as caught:
            projection.fold(fact)
        assert caught.value.reason == "FACT_CONTRADICTS"
    assert projection.revision == 6
    held = projection.accreditation(uuid(0xA001))
    assert held is not None
    assert held.newest.scope.unit == "ects"


def test_a_fact_that_is_not_understood_is_never_skipped() -> None:
    with pytest.raises(DataLoss) as caught:
        Projection().fold(facts_pb2.Fact(id=uuid(1), subject=UIO, subject_revision=1, registry_revision=1))
    assert caught.value.reason == "UNKNOWN_FACT"


def test_the_revision_waits_for_every_fact_before_it() -> None:
    facts = story().facts
    projection = Projection()
    for number, expected in ((2, 0), (3, 0), (1, 3), (6, 3), (5, 3), (4, 6)):
        projection.fold(facts[number - 1])
        assert projection.revision == expected
    assert projection.fold(facts[0]) is False


def test_look_ups_do_not_see_beyond_a_gap() -> None:
    facts = story().facts
    projection = Projection()
    for fact in facts[1:]:
        projection.fold(fact)
    assert projection.provider(UIO) is None
    assert projection.provider(UIO, 6) is None
    assert projection.keys_of(UIO, CREDENTIAL) == []
    assert projection.accreditations_of(UIO) == []
    assert list(projection.achievements()) == projection.trusted_facts() == []
    projection.fold(facts[0])
    assert projection.provider(UIO, 6) is not None


def test_look_ups_as_known_then() -> None:
    projection = story().projection()
    assert projection.authority("0192:985042667", 0) is None
    assert projection.authority("0192:985042667", 1) is not None
    assert projection.provider(UIO, 1) is None
    assert projection.provider(UIO) is not None
    assert projection.provider("0192:0") is None
    assert projection.key("k" * 43, 5) is None
    assert [key.id for key in projection.keys_of(UIO, CREDENTIAL)] == ["k" * 43]
    assert projection.keys_of(UIO, facts_pb2.KEY_USE_STATUS_LIST) == []
    assert projection.achievement(uuid(0xC001), 2, 4) is None
    newest = projection.newest_achievement(uuid(0xC001))
    assert newest is not None
    assert newest.version == 2
    assert [one.version for one in projection.achievements()] == [2]
    assert [fact.registry_revision for fact in projection.trusted_facts()] == [1, 2, 3, 6]


def test_a_key_counts_within_its_validity_and_before_its_compromise() -> None:
    key = facts_pb2.Key(valid_from=timestamp(days(1)), valid_until=timestamp(days(9)))
    assert [key_counts_at(key, days(day)) for day in (0, 1, 8, 9)] == [False, True, True, False]
    key.compromised_from.CopyFrom(timestamp(days(5)))
    assert [key_counts_at(key, days(day)) for day in (4, 5)] == [True, False]


def test_silence_is_not_freshness() -> None:
    facts = story().facts
    projection = Projection()
    assert projection.staleness(NOW) == timedelta.max
    projection.heartbeat(0, NOW, NOW)
    assert projection.staleness(NOW + timedelta(seconds=3)) == timedelta(seconds=3)
    # A heartbeat that tells of more than is known here doesn't make it fresher …
    projection.heartbeat(2, NOW + timedelta(seconds=4), NOW + timedelta(seconds=4))
    assert projection.staleness(NOW + timedelta(seconds=5)) == timedelta(seconds=5)
    projection.fold(facts[0])
    assert projection.staleness(NOW + timedelta(seconds=5)) == timedelta(seconds=5)
    # … until what it tells of has arrived; one that overtook it is no step back.
    projection.fold(facts[1])
    projection.heartbeat(1, NOW + timedelta(seconds=1), NOW + timedelta(seconds=6))
    assert projection.staleness(NOW + timedelta(seconds=5)) == timedelta(seconds=1)
    assert projection.staleness(NOW) == timedelta(0)


def test_a_clock_that_runs_ahead_does_not_make_silence_look_fresh() -> None:
    projection, mirror = Projection(), Projection()
    projection.heartbeat(0, NOW + timedelta(hours=1), NOW)
    mirror.adopt((), 0, NOW + timedelta(hours=1), NOW)
    for heard in (projection, mirror):
        assert heard.staleness(NOW + timedelta(minutes=20)) == timedelta(minutes=20)


def test_a_list_is_taken_in_whole_and_the_catalogue_may_follow() -> None:
    chronicle = story()
    whole = chronicle.projection()
    mirror = Projection()
    mirror.adopt(whole.trusted_facts(), whole.revision, NOW, NOW)
    assert mirror.revision == 6
    assert mirror.staleness(NOW) == timedelta(0)
    assert mirror.achievement(uuid(0xC001), 1) is None
    # A later list, a fact that came by another road, and the catalogue: all fit.
    mirror.adopt(whole.trusted_facts(), whole.revision, NOW, NOW)
    assert mirror.fold(chronicle.facts[3]) is True
    assert mirror.fold(chronicle.facts[3]) is False
    assert mirror.achievement(uuid(0xC001), 1) is not None
    later = chronicle.provider(UCL, name=[text("UCL")])
    assert mirror.fold(later) is True
    assert mirror.revision == 7


def test_a_list_does_not_reach_beyond_its_own_revision() -> None:
    with pytest.raises(DataLoss):
        Projection().adopt(story().facts[:3], 2, NOW, NOW)


@pytest.mark.parametrize("place", ["fact", "content", "scope", "level"])
def test_a_fact_that_says_more_than_is_understood_is_not_taken(place: str) -> None:
    # Field 999 as a varint: what a later contract might add, say a bound of the scope.
    more = b"\xb8\x3e\x01"
    fact = Chronicle().accredit(UCL, "dk.institution", scope("dk.module", levels=[("dk.nqf", "5")]))
    covered = fact.accreditation.scope
    message = {"fact": fact, "content": fact.accreditation, "scope": covered, "level": covered.levels[0]}[place]
    message.MergeFromString(more)
    projection = Projection()
    with pytest.raises(DataLoss) as caught:
        projection.fold(fact)
    assert caught.value.reason == "UNKNOWN_FACT"
    assert projection.revision == 0
    assert not projection.accreditations_of(UCL)


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(0, 50), unique=True, max_size=12),
    after=st.none() | st.integers(0, 50),
    provider=st.sampled_from(["", UCL, UIO]),
)
def test_the_catalogue_is_paged_through_in_order(numbers: list[int], after: int | None, provider: str) -> None:
    chronicle = Chronicle()
    for number in numbers:
        owner = UCL if number % 2 else UIO
        for version in (1, 2):
            chronicle.publish(achievement(owner, "x", id=uuid(number), version=version))
    found = chronicle.projection().achievements(provider, None if after is None else UUID(uuid(after)))
    expected = [
        uuid(number)
        for number in sorted(numbers)
        if (after is None or number > after) and provider in {"", UCL if number % 2 else UIO}
    ]
    assert [(one.id, one.version) for one in found] == [(id_, 2) for id_ in expected]


def test_a_page_costs_what_is_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    chronicle = Chronicle()
    for number in range(100):
        chronicle.publish(achievement(UCL, "x", id=uuid(number)))
    projection = chronicle.projection()
    unpacked: list[bytes] = []
    decompress = isal_zlib.decompress

    def counted(data: bytes, wbits: int) -> bytes:
        unpacked.append(data)
        return decompress(data, wbits)

    monkeypatch.setattr(isal_zlib, "decompress", counted)
    page = islice(projection.achievements(UCL, UUID(uuid(49))), 3)
    assert [one.id for one in page] == [uuid(number) for number in (50, 51, 52)]
    assert len(unpacked) == 3


def test_providers_are_paged_through_in_order() -> None:
    chronicle = Chronicle()
    for provider in (UIO, UCL):
        chronicle.provider(provider)
        chronicle.provider(provider, revision=2, name=[text("Renamed")])
    projection = chronicle.projection()
    assert projection.provider_ids() == [UCL, UIO]
    assert projection.provider_ids(limit=1) == [UCL]
    assert projection.provider_ids(UCL) == [UIO]
    assert projection.provider_ids(UIO) == []


def test_what_is_remembered_is_bounded_and_forgotten_with_the_next_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection_module, "MAX_REMEMBERED", 3)
    chronicle = story()
    projection = chronicle.projection()
    for number in range(3):
        projection.remember(UIO, number, f"answer {number}")
    projection.remember(UIO, 2, "another answer")
    assert [projection.recall(UIO, number) for number in range(2)] == ["answer 0", "answer 1"]
    projection.remember(UCL, 0, "one too many")
    assert projection.recall(UIO, 0) is None
    projection.remember(UCL, 0, "kept")
    projection.remember(UIO, 0, "kept too")
    projection.fold(chronicle.provider(UCL))
    assert projection.recall(UCL, 0) is None
    assert projection.recall(UIO, 0) == "kept too"
