"""The catalogue: what is found, in which order, how far one search looks; and what is shown of it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.registry import search
from services.registry.catalogue_views import CatalogueViews
from services.registry.search import CatalogueIndex, Query
from tests.unit.accreditation_samples import (
    ALL,
    DAI,
    FAGSKOLE,
    NOW,
    UCL,
    UIO,
    Chronicle,
    achievement,
    scope,
    text,
    uuid,
)
from vitne.accreditation import Projection
from vitne_api.credential.v1 import credential_pb2


class Catalogue:
    """Achievements of three providers, and the index of them."""

    def __init__(self) -> None:
        self.chronicle = Chronicle()
        self.projection = Projection()
        self.index = CatalogueIndex(self.projection, ALL)
        self.chronicle.authority(DAI, "DK")
        for provider in (UCL, UIO, FAGSKOLE):
            self.chronicle.provider(provider, name=[text(f"School {provider[-3:]}")])
        covered = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects")
        self.chronicle.accredit(UCL, "dk.institution", covered, authority=DAI)
        self.publish(1, UCL, "dk.micro_credential", level=("dk.nqf", "5"), workload=("ects", "1.25"), field="0311")
        self.publish(2, UIO, "no.micro_credential", level=("no.nkr", "7"), workload=("ects", "5"), field="0613")
        self.publish(3, FAGSKOLE, "no.fagskole.module", level=("no.nkr", "5.1"), workload=("no.fagskolepoeng", "10"))
        self.publish(4, UCL, "dk.micro_credential", title=[text("Årsregnskab", "da")])

    def publish(self, number: int, provider: str, kind: str, **changes: Any) -> credential_pb2.Achievement:
        made = achievement(provider, kind, id=uuid(number), **{"title": [text(f"Course {number}")]} | changes)
        self.chronicle.publish(made)
        for fact in self.chronicle.facts[self.projection.revision :]:
            self.projection.fold(fact)
        return made

    async def found(self, limit: int = 10, after: UUID | None = None, **query: Any) -> list[int]:
        page = await self.index.search(Query(**query), limit, after)
        return [UUID(one.id).int & 0xFFFF for one in page.achievements]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"country": "DK"}, [1, 4]),
        ({"provider": UIO}, [2]),
        ({"kind": "no.fagskole.module"}, [3]),
        ({"level": "no.nkr:5.1"}, [3]),
        ({"eqf": "5"}, [1, 3]),
        ({"field": "03"}, [1]),
        ({"field": "0613"}, [2]),
        ({"unit": "ects"}, [1, 2]),
        ({"unit": "ects", "min_points": Decimal(2)}, [2]),
        ({"max_points": Decimal("1.25")}, [1]),
        ({"text": "årsREGNSKAB"}, [4]),
        ({"text": "school 480 course"}, [1]),
        ({"text": "protocol", "country": "NO"}, [2, 3]),
        ({"text": "nowhere"}, []),
    ],
)
async def test_what_is_asked_for_is_found(query: dict[str, Any], expected: list[int]) -> None:
    assert await Catalogue().found(**query) == expected


async def test_the_newest_version_is_found_and_the_index_follows() -> None:
    catalogue = Catalogue()
    assert await catalogue.found(text="course 1", country="DK") == [1]
    catalogue.publish(1, UCL, "dk.micro_credential", version=2, title=[text("Renamed")])
    catalogue.publish(5, UCL, "dk.micro_credential", title=[text("Course 15")])
    assert await catalogue.found(text="course 1", country="DK") == [5]
    assert await catalogue.found(text="renamed") == [1]


async def test_pages_follow_each_other_without_a_gap() -> None:
    catalogue, seen, after = Catalogue(), [], None
    for _ in range(10):
        page = await catalogue.index.search(Query(), 1, after)
        seen += [UUID(one.id).int & 0xFFFF for one in page.achievements]
        after = page.after
        if after is None:
            break
    assert seen == [1, 2, 3, 4]


async def test_one_search_looks_at_so_much_and_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_LOOKED_AT", 2)
    catalogue = Catalogue()
    first = await catalogue.index.search(Query(text="årsregnskab"), 10)
    assert (first.achievements, first.after) == ([], UUID(uuid(2)))
    second = await catalogue.index.search(Query(text="årsregnskab"), 10, first.after)
    assert [one.id for one in second.achievements] == [uuid(4)]
    assert second.after is None


async def test_what_is_published_during_a_search_makes_nothing_appear_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOOKED_AT_AT_ONCE", 1)
    catalogue = Catalogue()
    await catalogue.index.follow()
    searching = asyncio.create_task(catalogue.index.search(Query(), 10))
    for _ in range(3):  # it has looked at the first ones
        await asyncio.sleep(0)
    catalogue.publish(0, UCL, "dk.micro_credential", level=("dk.nqf", "5"), workload=("ects", "1"))
    await catalogue.index.follow()
    found = await searching
    assert [UUID(one.id).int & 0xFFFF for one in found.achievements] == [1, 2, 3, 4]


def test_an_entry_says_all_that_is_compared_and_what_is_not_stated() -> None:
    catalogue = Catalogue()
    views = CatalogueViews(catalogue.projection, ALL)
    stated = credential_pb2.CatalogueInformation(
        content=[text("Scopes 1 and 2")],
        languages=["da"],
        offerings=[credential_pb2.Offering(starts_on="2027-01-11", price=credential_pb2.Price(currency="DKK"))],
        homepage="https://ucl.example/klima",
    )
    made = catalogue.publish(
        6,
        UCL,
        "dk.micro_credential",
        level=("dk.nqf", "5"),
        workload=("ects", "1.25"),
        field="0311",
        supervision=credential_pb2.SUPERVISION_WITH_IDENTIFICATION,
        stackability=credential_pb2.STACKABILITY_STACKABLE,
        prerequisites=[text("None")],
        catalogue=stated,
    )
    entry = views.entry(made, NOW)
    assert entry.not_stated == []
    assert (entry.country, entry.level and entry.level.eqf, entry.formal) == ("DK", "5", True)
    assert (entry.size.points, entry.size.unit and entry.size.unit.name["en"]) == ("1.25", "ECTS credits")
    assert entry.offerings[0].price is not None
    assert (entry.offerings[0].price.amount, entry.offerings[0].price.currency) == (0, "DKK")
    assert entry.issuable.allowed
    bare = views.entry(catalogue.publish(7, UIO, "no.micro_credential"), NOW)
    assert bare.not_stated == [
        "content",
        "supervision",
        "languages",
        "prerequisites",
        "stackability",
        "field",
        "offerings",
        "homepage",
    ]
    assert (bare.issuable.allowed, bare.level) == (False, None)
