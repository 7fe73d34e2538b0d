"""The trust list as the registry serves it: small statements, and facts that never change."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta

import pytest

from services.registry import trust_list
from services.registry.trust_list import TrustListPublisher
from tests.unit.accreditation_samples import NOW, OPERATOR_KEY, UCL, UIO, Chronicle, achievement, scope
from vitne.accreditation import Projection, Statement, read_facts, read_statement, render
from vitne.errors import NotFound
from vitne_api.registry.v1 import facts_pb2

ISSUER = "https://registry.vitne.example"


class Registry:
    """A projection that grows, and what is published of it."""

    def __init__(self) -> None:
        self.now = NOW
        self.projection = Projection()
        self.chronicle = Chronicle()
        self.publisher = TrustListPublisher(self.projection, OPERATOR_KEY, lambda: self.now, ISSUER)

    def fold(self) -> None:
        for fact in self.chronicle.facts[self.projection.revision :]:
            self.projection.fold(fact)

    async def statement(self) -> Statement:
        served = await self.publisher.statement()
        return read_statement(served.token, pinned=OPERATOR_KEY.key_id, issuer=ISSUER, now=self.now)

    async def body(self, statement: Statement) -> bytes:
        return (await self.publisher.facts(int(statement.facts.path.rpartition("/")[2]), gzip=False)).body


def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Registry revisions of the facts that are rendered from now on."""
    seen: list[int] = []

    def watched(fact: facts_pb2.Fact) -> bytes:
        seen.append(fact.registry_revision)
        return render(fact)

    monkeypatch.setattr(trust_list, "render", watched)
    return seen


async def test_a_reader_goes_on_from_what_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, mirror = Registry(), Projection()
    seen = rendered(monkeypatch)
    empty = await registry.statement()
    assert (empty.registry_revision, empty.facts.size) == (0, 0)
    assert read_facts(empty, await registry.body(empty)) == ()
    known = b""
    for provider in (UCL, UIO):
        registry.chronicle.provider(provider)
        registry.fold()
        statement = await registry.statement()
        body = await registry.body(statement)
        assert body.startswith(known)
        facts = read_facts(statement, body, known=known)
        assert [fact.provider.id for fact in facts] == [provider]
        statement.fold_into(mirror, facts)
        known = body
    assert mirror.revision == 2
    # An achievement makes another revision, and no other facts.
    registry.chronicle.publish(achievement(UCL, "dk.micro_credential"))
    registry.fold()
    after = await registry.statement()
    assert (after.registry_revision, after.facts) == (3, statement.facts)
    after.fold_into(mirror)
    assert mirror.revision == 3
    assert seen == [1, 2], "each fact is rendered once"


async def test_a_statement_is_small_and_signed_again_only_when_it_is_due() -> None:
    registry = Registry()
    for number in range(250):
        registry.chronicle.accredit(UCL, "dk.institution", scope("dk.module"), accreditation=number)
    registry.fold()
    first = await registry.publisher.statement()
    assert len(first.token) < 1000
    assert await registry.publisher.statement() is first
    registry.now += timedelta(seconds=1)
    assert await registry.publisher.statement() is first
    registry.now += timedelta(seconds=1)
    again = await registry.publisher.statement()
    assert again.etag != first.etag
    assert (await registry.statement()).issued_at == NOW + timedelta(seconds=2)


async def test_the_facts_of_every_statement_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    served: list[tuple[int, bytes, str]] = []
    statements: list[Statement] = []
    for number in range(5):
        registry.chronicle.accredit(UCL, "dk.institution", scope("dk.module"), accreditation=number)
        registry.fold()
        statements.append(await registry.statement())
        newest = await registry.publisher.facts(number + 1, gzip=False)
        packed = await registry.publisher.facts(number + 1, gzip=True)
        assert (newest.gzip, packed.gzip) == (False, True)
        assert newest.etag != packed.etag
        assert gzip.decompress(packed.body) == newest.body
        served.append((number + 1, newest.body, newest.etag))
    for statement, (revision, body, etag) in zip(statements, served, strict=True):
        old = await registry.publisher.facts(revision, gzip=False)
        assert (old.body, old.etag) == (body, etag)
        assert len(read_facts(statement, old.body)) == revision
    # A replica that nobody asked yet has them, too; what no statement named is not made up.
    replica = TrustListPublisher(registry.projection, OPERATOR_KEY, lambda: NOW, ISSUER)
    assert (await replica.facts(3, gzip=False)).body == served[2][1]
    registry.chronicle.publish(achievement(UCL, "dk.micro_credential"))
    registry.fold()
    for revision in (0, 6, 7):
        with pytest.raises(NotFound):
            await registry.publisher.facts(revision, gzip=True)


async def test_what_was_added_since_is_the_rest_of_the_body() -> None:
    registry = Registry()
    for number in range(4):
        registry.chronicle.accredit(UCL, "dk.institution", scope("dk.module"), accreditation=number)
    registry.fold()
    bodies = {revision: (await registry.publisher.facts(revision, gzip=False)).body for revision in range(1, 5)}
    for known in range(1, 5):
        for revision in range(known, 5):
            served = await registry.publisher.changes(revision, known)
            assert bodies[known] + served.body == bodies[revision]
    registry.chronicle.publish(achievement(UCL, "dk.micro_credential"))
    registry.fold()
    # Earlier than what is known, no fact of the list, or none at all.
    for revision, known in ((2, 3), (4, 0), (5, 4), (4, 5), (6, 4)):
        with pytest.raises(NotFound):
            await registry.publisher.changes(revision, known)


async def test_a_registry_that_lost_its_database_does_not_look_fresh() -> None:
    registry = Registry()
    first = await registry.statement()
    as_of = registry.now
    registry.publisher = TrustListPublisher(registry.projection, OPERATOR_KEY, lambda: as_of, ISSUER)
    registry.now += timedelta(minutes=9)
    assert (await registry.statement()).issued_at == first.issued_at == datetime.fromisoformat("2026-11-21T10:00:00Z")
