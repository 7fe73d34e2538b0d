"""What follows from a change of an accreditation: counted before it is made, and told when it was.

The registry knows no credentials, and the issuer makes no change: an authority shows
the issuer what it is about to decide, and the issuer counts what it would flag.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final, NamedTuple

import asyncpg

from services.issuer.events import Events
from services.issuer.flags import CLOCK_MARGIN, Change, Flags, Touched, accreditation_change
from services.issuer.projection import RegistryView
from vitne.accreditation import Held, Projection, instant, judge, offer_of, timestamp
from vitne.canonical import instant_text
from vitne.clock import Clock
from vitne.errors import InvalidArgument, NotFound, PermissionDenied
from vitne.frameworks import Frameworks
from vitne.messaging import outbox
from vitne.outages import DATABASE_OUTAGES
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.registry.v1 import facts_pb2 as facts

#: Achievements that an answer names, at most.
MOST_ACHIEVEMENTS: Final = 1_000
#: Achievements that are judged before others have their turn: some ten milliseconds.
OFFERS_AT_ONCE: Final = 100
#: Seconds between two looks whether the registry said something.
LOOK_SECONDS: Final = 1.0
#: Seconds between two counts of what was told lately: other replicas may have lagged behind, and issued.
COUNT_SECONDS: Final = 60.0
_VERBS: Final = {
    facts.ACCREDITATION_STATE_WITHDRAWN: "withdrawing",
    facts.ACCREDITATION_STATE_SUSPENDED: "suspending",
    facts.ACCREDITATION_STATE_GRANTED: "amending",
}

_log = logging.getLogger(__name__)


class _Version(NamedTuple):
    """A version of an achievement."""

    id: str
    version: int


class Effects:
    """Counts what would follow.

    Args:
        flags: finds credentials that changes touch.
        projection: the registry's facts.
        registry: says whether they are fresh.
        frameworks: the national rules.
        clock: tells what is now.
    """

    def __init__(
        self, flags: Flags, projection: Projection, registry: RegistryView, frameworks: Frameworks, clock: Clock
    ) -> None:
        self._flags = flags
        self._projection = projection
        self._registry = registry
        self._frameworks = frameworks
        self._clock = clock

    async def preview(self, authority: str, request: issuer.PreviewEffectsRequest) -> issuer.PreviewEffectsResponse:
        """What a change of one of the authority's own accreditations would touch.

        Raises:
            NotFound: ``ACCREDITATION_UNKNOWN``.
            PermissionDenied: ``FOREIGN_ACCREDITATION``.
            InvalidArgument: ``EFFECTIVE_BACKWARDS``, ``DATES_CONTRADICT``, ``STATE_NOT_DECIDED``.
            Unavailable: ``REGISTRY_STALE``.
        """
        self._registry.require_fresh()
        held = own_accreditation(self._projection, authority, request.accreditation_id)
        now = self._clock.now()
        fact = self._hypothetical(held, request, now)
        touched = await self._flags.touched([accreditation_change(fact)])
        lost = await self._no_longer_issuable(fact, now)
        return self._answer(held, fact.accreditation, touched, lost, now)

    def _hypothetical(self, held: Held, request: issuer.PreviewEffectsRequest, now: datetime) -> facts.Fact:
        """The fact that the change would be."""
        if request.state not in _VERBS:
            raise InvalidArgument(
                "STATE_NOT_DECIDED",
                "an accreditation lapses by itself",
                field="state",
                rule="what is decided is granted (amended), suspended or withdrawn",
                remedy="name one of these",
            )
        known = held.newest.fact.accreditation
        effective = instant(request.effective_from) if request.HasField("effective_from") else now
        starts = instant(known.valid_from)
        if request.state != facts.ACCREDITATION_STATE_WITHDRAWN and effective < now - timedelta(minutes=1):
            raise InvalidArgument(
                "EFFECTIVE_BACKWARDS",
                "the change would reach back in time",
                field="effective_from",
                rule="only a withdrawal reaches back",
                remedy="leave it out for now",
            )
        if effective < starts:
            raise InvalidArgument(
                "DATES_CONTRADICT",
                "the accreditation was not valid yet",
                field="effective_from",
                rule="a change takes effect within the accreditation's validity",
                remedy="name an instant not before " + instant_text(starts),
            )
        said = facts.Accreditation()
        said.CopyFrom(known)
        said.revision += 1
        said.state = request.state
        said.effective_from.CopyFrom(timestamp(effective))
        if request.HasField("scope"):
            said.scope.CopyFrom(request.scope)
        if request.HasField("valid_until"):
            said.valid_until.CopyFrom(request.valid_until)
        return facts.Fact(
            subject=said.provider,
            registry_revision=self._projection.revision + 1,
            recorded_at=timestamp(now),
            actor=said.authority,
            accreditation=said,
        )

    async def _no_longer_issuable(self, fact: facts.Fact, now: datetime) -> set[_Version]:
        """Newest versions of the provider's achievements that may be issued as things stand, and might not after."""
        at = max(now, instant(fact.accreditation.effective_from))
        provider, known_at = fact.subject, self._projection.revision
        about = self._projection.everything_about(provider)
        after = Projection()
        after.adopt(
            [*(each for each in about if each.registry_revision <= known_at), fact], fact.registry_revision, now, now
        )
        lost = set()
        for number, achievement in enumerate(self._projection.achievements(provider)):
            if number % OFFERS_AT_ONCE == 0:
                await asyncio.sleep(0)
            offer = offer_of(achievement)
            may = judge(self._projection, self._frameworks, provider, offer, at, known_at).allowed
            if may and not judge(after, self._frameworks, provider, offer, at).allowed:
                lost.add(_Version(achievement.id, achievement.version))
        return lost

    def _answer(
        self, held: Held, said: facts.Accreditation, touched: list[Touched], lost: set[_Version], now: datetime
    ) -> issuer.PreviewEffectsResponse:
        effects = [self._effect(_Version(str(one.achievement), one.achievement_version), one, lost) for one in touched]
        named = {_Version(one.achievement_id, one.achievement_version) for one in effects}
        effects += [self._effect(each, None, lost) for each in sorted(lost - named)]
        answer = issuer.PreviewEffectsResponse(
            credentials=sum(one.credentials for one in touched),
            revoked=sum(one.revoked for one in touched),
            achievements=effects[:MOST_ACHIEVEMENTS],
            accreditation_revision=held.newest.revision,
            registry_revision=self._projection.revision,
            achievements_issued=len({one.achievement for one in touched}),
            achievements_lost=len(lost),
        )
        answer.summary = _sentence(said, answer, now)
        if touched:
            answer.first_issued_at.CopyFrom(timestamp(min(one.first_issued_at for one in touched)))
            answer.last_issued_at.CopyFrom(timestamp(max(one.last_issued_at for one in touched)))
        return answer

    def _effect(self, offered: _Version, touched: Touched | None, lost: set[_Version]) -> issuer.AchievementEffect:
        published = self._projection.achievement(offered.id, offered.version)
        return issuer.AchievementEffect(
            achievement_id=offered.id,
            achievement_version=offered.version,
            title=published.title if published else (),
            credentials=touched.credentials if touched else 0,
            revoked=touched.revoked if touched else 0,
            no_longer_issuable=offered in lost,
        )


class EffectTeller:
    """Tells how many credentials each change of an accreditation touches, and again when that has changed.

    Args:
        pool: the issuer's database.
        flags: finds credentials that changes touch.
        events: makes the events.
        projection: the registry's facts.
        staleness: for how long an issuer may decide without having heard of a fact.
        clock: for pauses.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        flags: Flags,
        events: Events,
        projection: Projection,
        *,
        staleness: timedelta,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._flags = flags
        self._events = events
        self._projection = projection
        self._unsettled = staleness + CLOCK_MARGIN
        self._clock = clock

    async def run(self) -> None:
        """Look until cancelled; an outage of the database is waited out."""
        settled, known, counted_at = 0, 0, self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if self._projection.revision != known or now - counted_at >= COUNT_SECONDS:
                revision = self._projection.revision
                try:
                    settled = await self.tell(settled)
                    known, counted_at = revision, now
                except DATABASE_OUTAGES as error:
                    _log.warning("effects can't be counted: %s", type(error).__name__)
            await self._clock.sleep(LOOK_SECONDS)

    async def tell(self, settled: int = 0) -> int:
        """Count and tell once.

        Args:
            settled: registry revision up to which nothing changes any more.

        Returns:
            The same for the next time.
        """
        changes = self._flags.changes_since(settled)
        by_revision = {one.fact.registry_revision: one for one in changes}
        touched = await self._flags.touched(changes) if changes else []
        for revision, group in groupby(touched, key=lambda one: one.registry_revision):
            await self._tell(by_revision[revision], list(group))
        long_ago = self._clock.now() - self._unsettled
        return max((one.fact.registry_revision for one in changes if _recorded(one) < long_ago), default=settled)

    async def _tell(self, change: Change, touched: list[Touched]) -> None:
        credentials, achievements = sum(one.credentials for one in touched), len({one.achievement for one in touched})
        now = self._clock.now()
        async with self._pool.acquire() as connection, connection.transaction():
            if not await _is_news(connection, change, credentials, now):
                return
            said = change.fact.accreditation
            event = events_pb2.EffectsCounted(
                accreditation_id=said.id,
                accreditation_revision=said.revision,
                fact_id=change.fact.id,
                provider=said.provider,
                authority=said.authority,
                state=said.state,
                effective_from=said.effective_from,
                credentials=credentials,
                achievements=achievements,
                counted_at=timestamp(now),
            )
            await outbox.append(connection, [self._events.effects(event)])


def own_accreditation(projection: Projection, authority: str, accreditation_id: str) -> Held:
    """An accreditation that an authority granted.

    Raises:
        NotFound: ``ACCREDITATION_UNKNOWN``.
        PermissionDenied: ``FOREIGN_ACCREDITATION``.
    """
    held = projection.accreditation(accreditation_id)
    if held is None:
        raise NotFound(
            "ACCREDITATION_UNKNOWN",
            "no such accreditation was granted, as far as is known here",
            field="accreditation_id",
            rule="an accreditation keeps its id through all revisions",
            remedy="name the id that the grant answered",
        )
    if held.authority != authority:
        raise PermissionDenied(
            "FOREIGN_ACCREDITATION",
            f"the accreditation was granted by {held.authority}",
            field="accreditation_id",
            rule="an authority asks about what it granted itself",
            remedy="let the authority that granted it ask",
        )
    return held


async def _is_news(connection: Any, change: Change, credentials: int, now: datetime) -> bool:
    """Whether a number was not told yet; if so, that it is."""
    told = await connection.fetchval(
        """
        INSERT INTO effect (registry_revision, credentials, told_at) VALUES ($1, $2, $3)
        ON CONFLICT (registry_revision) DO UPDATE SET credentials = excluded.credentials, told_at = excluded.told_at
        WHERE effect.credentials <> excluded.credentials RETURNING registry_revision
        """,
        change.fact.registry_revision,
        credentials,
        now,
    )
    return told is not None


def _recorded(change: Change) -> datetime:
    return instant(change.fact.recorded_at)


def _sentence(said: facts.Accreditation, answer: issuer.PreviewEffectsResponse, now: datetime) -> str:
    effective = instant(said.effective_from)
    since = f"backwards to {effective:%Y-%m-%d}" if effective < now else f"from {effective:%Y-%m-%d} on"
    issued = (
        f"{_count(answer.credentials, 'credential')} of {_count(answer.achievements_issued, 'achievement')}"
        if answer.credentials
        else "no credential"
    )
    lost = f"; {_count(answer.achievements_lost, 'achievement')} could no longer be issued"
    return f"{_VERBS[said.state]} this {since} affects {issued}{lost if answer.achievements_lost else ''}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
