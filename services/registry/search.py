"""Finding achievements: what the catalogue is searched by, held in memory, and followed as facts are folded."""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from vitne.accreditation import Projection
from vitne.frameworks import Frameworks
from vitne.identifiers import parse_uuid
from vitne_api.credential.v1 import credential_pb2

#: Seconds between two looks for what was published, so that no search has to wait for much.
FOLLOW_SECONDS: Final = 1.0
#: Facts that are taken in, or entries that are looked at, in one go: some 10 ms.
TAKEN_AT_ONCE: Final = 200
LOOKED_AT_AT_ONCE: Final = 5_000
#: Most entries that one search looks at: some 50 ms. Where nothing is found among them, the answer says where to go on.
MAX_LOOKED_AT: Final = 25_000
#: Longest text of an achievement that is searched in, in characters.
MAX_TEXT: Final = 4_000


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; empty members ask for nothing."""

    #: Words, all of which must be in title, content, outcomes or the provider's name.
    text: str = ""
    #: ISO 3166-1 alpha-2, of the provider.
    country: str = ""
    provider: str = ""
    #: Kind of credential.
    kind: str = ""
    #: Level framework and level, ``no.nkr:5.1``.
    level: str = ""
    #: Level of EQF that the achievement's level was referred to.
    eqf: str = ""
    #: ISCED-F 2013 code; narrower fields are within it.
    field: str = ""
    #: Credit unit.
    unit: str = ""
    min_points: Decimal | None = None
    max_points: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what was found, by id."""

    achievements: list[credential_pb2.Achievement]
    #: Where the next page begins: beyond this id; None: there is nothing more.
    after: UUID | None


@dataclass(frozen=True, slots=True)
class _Entry:
    """The newest version of one achievement, as far as it is searched by."""

    version: int
    provider: str
    country: str
    kind: str
    level: str
    eqf: str
    field: str
    unit: str
    points: Decimal | None
    text: str

    def fits(self, query: Query) -> bool:
        """Whether it is what is asked for, but for the words."""
        asked = (query.country, query.provider, query.kind, query.level, query.eqf, query.unit)
        known = (self.country, self.provider, self.kind, self.level, self.eqf, self.unit)
        if any(want and want != have for want, have in zip(asked, known, strict=True)):
            return False
        if query.min_points is not None and (self.points is None or self.points < query.min_points):
            return False
        if query.max_points is not None and (self.points is None or self.points > query.max_points):
            return False
        return self.field.startswith(query.field)


class CatalogueIndex:
    """Searches the newest version of every achievement. Made for one event loop.

    Args:
        projection: what is known.
        frameworks: refer levels to EQF.
    """

    def __init__(self, projection: Projection, frameworks: Frameworks) -> None:
        self._projection = projection
        self._frameworks = frameworks
        self._entries: dict[bytes, _Entry] = {}
        self._order: list[bytes] = []
        self._providers: set[str] = set()
        self._taken = 0
        self._taking = asyncio.Lock()
        #: Providers' names to search in, as of a registry revision.
        self._names: tuple[int, dict[str, str]] = (0, {})

    async def follow(self) -> None:
        """Take in what was published since; others are served in between."""
        async with self._taking:
            while facts := self._projection.achievement_facts(self._taken, TAKEN_AT_ONCE):
                for fact in facts:
                    self._take(fact.achievement)
                self._taken = facts[-1].registry_revision
                await asyncio.sleep(0)

    async def search(self, query: Query, limit: int, after: UUID | None = None) -> Found:
        """Find achievements, by id.

        Args:
            query: what is looked for.
            limit: how many at most.
            after: only those beyond this id.
        """
        await self.follow()
        words = folded(query.text).split()
        keys: list[bytes] = []
        first = bisect_right(self._order, after.bytes) if after else 0
        # As it is now: what is published while others are served would move what comes after it.
        looked_at = self._order[first : first + MAX_LOOKED_AT]
        more = first + len(looked_at) < len(self._order)
        for number, key in enumerate(looked_at, start=1):
            entry = self._entries[key]
            if entry.fits(query) and self._has(entry, words):
                if len(keys) == limit:
                    return Found(list(self._newest(keys)), UUID(bytes=keys[-1]))
                keys.append(key)
            if number % LOOKED_AT_AT_ONCE == 0:
                await asyncio.sleep(0)
        return Found(list(self._newest(keys)), UUID(bytes=looked_at[-1]) if more else None)

    async def providers(self) -> list[str]:
        """Who has published an achievement."""
        await self.follow()
        return list(self._providers)

    def _take(self, achievement: credential_pb2.Achievement) -> None:
        key = parse_uuid(achievement.id).bytes
        known = self._entries.get(key)
        if known is not None and known.version > achievement.version:
            return
        provider = self._projection.provider(achievement.provider)
        country = provider.country if provider is not None else ""
        level = (achievement.level.framework, achievement.level.level)
        framework = self._frameworks.country(country)
        self._entries[key] = _Entry(
            version=achievement.version,
            provider=achievement.provider,
            country=country,
            kind=achievement.kind,
            level=":".join(level) if achievement.HasField("level") else "",
            eqf=framework.levels.get(level, "") if framework is not None else "",
            field=achievement.field,
            unit=achievement.workload.unit,
            points=Decimal(achievement.workload.points) if achievement.workload.points else None,
            text=folded(" ".join(_texts(achievement)))[:MAX_TEXT],
        )
        self._providers.add(achievement.provider)
        if known is None:
            insort(self._order, key)

    def _has(self, entry: _Entry, words: list[str]) -> bool:
        return all(word in entry.text or word in self._name(entry.provider) for word in words)

    def _name(self, provider: str) -> str:
        revision, names = self._names
        if revision != self._projection.revision:
            names = {}
            self._names = self._projection.revision, names
        if provider not in names:
            known = self._projection.provider(provider)
            names[provider] = folded(" ".join(text.text for text in known.name)) if known is not None else ""
        return names[provider]

    def _newest(self, keys: list[bytes]) -> Iterator[credential_pb2.Achievement]:
        for key in keys:
            found = self._projection.newest_achievement(str(UUID(bytes=key)))
            if found is not None:
                yield found


def folded(text: str) -> str:
    """Text in which letters of either case are the same (Unicode's case folding)."""
    return text.casefold()


def _texts(achievement: credential_pb2.Achievement) -> Iterator[str]:
    for texts in (achievement.title, achievement.catalogue.content):
        yield from (text.text for text in texts)
    for outcome in achievement.outcomes:
        yield from (text.text for text in outcome.text)
