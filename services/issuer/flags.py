"""Credentials that rest on something which was not so: facts that became known after the decision.

A decision stands on what was known (*u*) about an instant (*t*). When the registry says later that something about t
was otherwise, the credential is flagged; what follows is for people to decide, since what was signed was rightfully
signed. Flags are not stored but computed, from the projection and the credentials (docs/decisions/0006): an issuer that
lags behind the registry goes on issuing for as long as it may, so a credential may be touched that is not there yet
when the fact arrives. Flags of revoked parts (:mod:`.parts`) are told with them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp

from services.issuer.metrics import FLAGGED
from services.issuer.parts import Parts
from services.issuer.projection import RegistryView
from vitne.accreditation import Projection, instant, timestamp
from vitne.accreditation.facts import FOREVER, stamp_milliseconds
from vitne.clock import Clock
from vitne.errors import Unavailable
from vitne.identifiers import lowest_uuid
from vitne.outages import DATABASE_OUTAGES
from vitne_api.credential.v1 import credential_pb2 as credential
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.registry.v1 import facts_pb2 as facts

#: Seconds between two counts for the gauge.
COUNT_SECONDS: Final = 60.0
#: By how much the time in a credential's id may be off that of its decision, or an issuer's clock off the registry's.
CLOCK_MARGIN: Final = timedelta(hours=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A fact that may touch what was issued before it was known.

    Attributes:
        fact: the fact.
        cause: what it is about.
        provider: whose credentials.
        subject: id of the accreditation or key; of the provider where it is about that.
        revision: of the subject.
        effective_from: milliseconds since 1970, from which on it is otherwise.
    """

    fact: facts.Fact
    cause: issuer.FlagCause.ValueType
    provider: str
    subject: str
    revision: int
    effective_from: int

    @property
    def state(self) -> facts.AccreditationState.ValueType:
        """What an accreditation is from then on; not stated for anything else."""
        return self.fact.accreditation.state


@dataclass(frozen=True, slots=True)
class Touched:
    """The credentials for one version of an achievement that a change touches."""

    registry_revision: int
    achievement: UUID
    achievement_version: int
    credentials: int
    revoked: int
    first_issued_at: datetime
    last_issued_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """A credential that a change touches, and where its status stands."""

    id: UUID
    provider: str
    issued_at: datetime
    status_list: str
    status_index: int


class Flags:
    """Finds the credentials that later facts touch.

    Args:
        pool: the issuer's database.
        projection: the registry's facts.
        registry: says whether they are fresh.
        staleness: for how long an issuer may decide without having heard of a fact.
        parts: what was counted towards what.
        clock: for pauses.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        projection: Projection,
        registry: RegistryView,
        staleness: timedelta,
        *,
        parts: Parts,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._projection = projection
        self._registry = registry
        self._staleness = staleness
        self._parts = parts
        self._clock = clock
        self._changes: tuple[int, list[Change]] = (-1, [])

    async def of_provider(
        self, provider: str, after: tuple[UUID, int] | None, limit: int
    ) -> list[issuer.CredentialFlag]:
        """Flags of an institution's credentials, by credential and fact, from beyond ``after``.

        Those of revoked parts come first of a credential's.

        Raises:
            Unavailable: ``REGISTRY_STALE``: that nothing is flagged could not be said; ``KEY_STORE_UNAVAILABLE``.
            DataLoss: a learner's key does not open.
        """
        self._registry.require_fresh()
        late = await self._find([one for one in self._late() if one.provider == provider], after, limit)
        flags = [*late, *await self._parts.flags(provider, after, limit)]
        return sorted(flags, key=lambda flag: (UUID(flag.credential_id), flag.registry_revision))[:limit]

    async def of_authority(
        self, authority: str, after: tuple[UUID, int] | None, limit: int
    ) -> list[issuer.CredentialFlag]:
        """Flags that an authority's own accreditations cause, by credential and fact, from beyond ``after``.

        Raises:
            Unavailable: ``REGISTRY_STALE``.
        """
        self._registry.require_fresh()
        own = [one for one in self._late() if one.fact.accreditation.authority == authority]
        return await self._find(own, after, limit)

    async def count(self) -> dict[issuer.FlagCause.ValueType, int]:
        """How many credentials are flagged, by cause."""
        changes = self._late()
        rows = await self._pool.fetch(
            f"SELECT cause, count(DISTINCT id) AS flagged FROM ({_FLAGGED_SQL}) AS flag GROUP BY cause",  # noqa: S608 (a constant)
            *self._columns(changes),
        )
        found = dict.fromkeys(issuer.FlagCause.values()[1:], 0)
        found |= {row["cause"]: row["flagged"] for row in rows}
        return found | {issuer.FLAG_CAUSE_PART: await self._parts.count()}

    async def touched(self, changes: Sequence[Change]) -> list[Touched]:
        """How many credentials changes touch, by achievement; also changes that nobody has made yet."""
        rows = await self._pool.fetch(
            f"""
            SELECT registry_revision, achievement, achievement_version, count(*) AS credentials,
                   count(*) FILTER (WHERE status = {credential.STATUS_REVOKED}) AS revoked,
                   min(issued_at) AS first_issued_at, max(issued_at) AS last_issued_at
            FROM ({_FLAGGED_SQL}) AS flag GROUP BY registry_revision, achievement, achievement_version
            ORDER BY registry_revision, credentials DESC, achievement, achievement_version
            """,  # noqa: S608 (constants)
            *self._columns(changes),
        )
        return [Touched(**row) for row in rows]

    async def count_of(self, change: Change) -> int:
        """How many credentials a change touches."""
        counted: int = await self._pool.fetchval(
            f"SELECT count(*) FROM ({_FLAGGED_SQL}) AS flag",  # noqa: S608 (a constant)
            *self._columns([change]),
        )
        return counted

    async def places(self, change: Change, after: UUID | None, limit: int) -> list[Place]:
        """The credentials that a change touches, by id, from beyond ``after``, and where their statuses stand."""
        *others, first_ids, last_ids = self._columns([change])
        rows = await self._pool.fetch(
            f"""
            SELECT id, provider, issued_at, status_list, status_index FROM ({_FLAGGED_SQL}) AS flag
            WHERE $8::uuid IS NULL OR id > $8 ORDER BY id LIMIT $9
            """,  # noqa: S608 (a constant)
            *others,
            # Read from there on, rather than from the first one each time.
            first_ids if after is None else [max(after, *first_ids)],
            last_ids,
            after,
            limit,
        )
        return [Place(**row) for row in rows]

    def changes_since(self, registry_revision: int) -> list[Change]:
        """Changes of accreditations that became known after a registry revision."""
        return [
            one
            for one in self._late()
            if one.cause == issuer.FLAG_CAUSE_ACCREDITATION and one.fact.registry_revision > registry_revision
        ]

    async def run(self) -> None:
        """Keep the gauge, and tell operators of new flags, until cancelled; an outage of the database is waited out."""
        before = 0
        while True:
            try:
                counts = await self.count()
            except (*DATABASE_OUTAGES, Unavailable) as error:
                _log.warning("flags can't be counted: %s", type(error).__name__)
            else:
                for cause, flagged in counts.items():
                    FLAGGED.set(flagged, issuer.FlagCause.Name(cause).removeprefix("FLAG_CAUSE_").lower())
                if sum(counts.values()) > before:
                    _log.warning("credentials are touched by what became known later", extra={"count": counts})
                before = sum(counts.values())
            await self._clock.sleep(COUNT_SECONDS)

    def _late(self) -> list[Change]:
        revision, changes = self._changes
        if revision != self._projection.revision:
            revision = self._projection.revision
            changes = list(changes_of(self._projection))
            self._changes = revision, changes
        return changes

    def _columns(self, changes: Sequence[Change]) -> tuple[list[Any], ...]:
        until = self._staleness + CLOCK_MARGIN
        return (
            [one.cause for one in changes],
            [one.provider for one in changes],
            [one.subject for one in changes],
            [one.fact.registry_revision for one in changes],
            [one.effective_from / 1000 for one in changes],
            [lowest_uuid(instant(_timestamp(one.effective_from)) - CLOCK_MARGIN) for one in changes],
            [lowest_uuid(instant(one.fact.recorded_at) + until) for one in changes],
        )

    async def _find(
        self, changes: list[Change], after: tuple[UUID, int] | None, limit: int
    ) -> list[issuer.CredentialFlag]:
        rows = await self._pool.fetch(
            f"""
            SELECT * FROM ({_FLAGGED_SQL}) AS flag
            WHERE $8::uuid IS NULL OR (id, registry_revision) > ($8, $9) ORDER BY id, registry_revision LIMIT $10
            """,  # noqa: S608 (a constant)
            *self._columns(changes),
            *(after or (None, None)),
            limit,
        )
        by_revision = {one.fact.registry_revision: one for one in changes}
        return [_flag(row, by_revision[row["registry_revision"]]) for row in rows]


_FLAG_COLUMNS: Final = """
    c.id, c.provider, c.issued_at, c.kind, c.status, c.achievement, c.achievement_version, c.status_list,
    c.status_index, x.cause, x.registry_revision,
    (convert_from(c.decision, 'UTF8')::jsonb ->> 'registry_revision')::bigint AS decided_revision
"""
#: Each credential with each change that touches it. Ids are in the order of time, so the index on (provider, id)
#: finds what was issued while a change held and might not have been known. A key touches what it signed by the time of
#: that signature: a further format of an earlier credential is made when somebody asks for it. An artefact has no time
#: beside that in its id (RFC 9562, section 5.7).
_FLAGGED_SQL: Final = f"""
    WITH x AS MATERIALIZED (
        SELECT * FROM unnest(
            $1::integer[], $2::text[], $3::text[], $4::bigint[], $5::double precision[], $6::uuid[], $7::uuid[]
        ) AS given (cause, provider, subject, registry_revision, effective_from, first_id, last_id)
    )
    SELECT {_FLAG_COLUMNS}
    FROM x JOIN credential AS c ON c.provider = x.provider AND c.signature IS NOT NULL
        AND c.id BETWEEN x.first_id AND x.last_id AND c.issued_at >= to_timestamp(x.effective_from)
        AND (convert_from(c.decision, 'UTF8')::jsonb ->> 'registry_revision')::bigint < x.registry_revision
        AND CASE x.cause
            WHEN 1 THEN convert_from(c.decision, 'UTF8')::jsonb #>> '{{accreditation,id}}' = x.subject
            WHEN 2 THEN c.signing_key = x.subject
            ELSE true END
    UNION ALL
    SELECT {_FLAG_COLUMNS}
    FROM x CROSS JOIN LATERAL (
        SELECT DISTINCT a.credential FROM artefact AS a JOIN credential AS made ON made.id = a.credential
        WHERE a.id BETWEEN x.first_id AND x.last_id AND a.signature IS NOT NULL AND made.provider = x.provider
            AND coalesce(a.signing_key, made.signing_key) = x.subject
            AND to_timestamp(('x0000' || left(translate(a.id::text, '-', ''), 12))::bit(64)::bigint / 1000.0)
                >= to_timestamp(x.effective_from)
    ) AS signed JOIN credential AS c ON c.id = signed.credential AND c.signature IS NOT NULL
        AND (convert_from(c.decision, 'UTF8')::jsonb ->> 'registry_revision')::bigint < x.registry_revision
        -- Once, where the credential itself is touched.
        AND NOT (c.signing_key = x.subject AND c.id BETWEEN x.first_id AND x.last_id
            AND c.issued_at >= to_timestamp(x.effective_from))
    WHERE x.cause = 2
"""  # noqa: S608 (constants)


def accreditation_change(fact: facts.Fact) -> Change:
    """What a revision of an accreditation changes."""
    said = fact.accreditation
    effective = stamp_milliseconds(said.effective_from)
    return Change(fact, issuer.FLAG_CAUSE_ACCREDITATION, said.provider, said.id, said.revision, effective)


def changes_of(projection: Projection) -> Iterator[Change]:
    """The facts that could touch a credential issued before they were known."""
    for provider in projection.provider_ids():
        for held in projection.accreditations_of(provider):
            # Nobody could decide on an accreditation before its first revision was known.
            yield from (accreditation_change(revision.fact) for revision in held.revisions[1:])
        for key in projection.keys_of(provider, facts.KEY_USE_CREDENTIAL):
            fact = projection.key_fact(key.id)
            ends = [
                stamp_milliseconds(getattr(key, name))
                for name in ("valid_until", "compromised_from")
                if key.HasField(name)
            ]
            # The newest revision says all that the earlier ones did.
            if fact is not None and key.revision > 1 and ends:
                yield Change(fact, issuer.FLAG_CAUSE_KEY, provider, key.id, key.revision, min(ends))
        yield from _closing(projection, provider)


def _closing(projection: Projection, provider: str) -> Iterator[Change]:
    for fact in projection.everything_about(provider):
        if fact.WhichOneof("content") != "provider" or fact.registry_revision > projection.revision:
            continue
        closed = stamp_milliseconds(fact.provider.closed_at) if fact.provider.HasField("closed_at") else FOREVER
        if closed < FOREVER and fact.provider.revision > 1:
            yield Change(fact, issuer.FLAG_CAUSE_PROVIDER, provider, provider, fact.provider.revision, closed)


def _flag(row: Any, change: Change) -> issuer.CredentialFlag:
    return issuer.CredentialFlag(
        credential_id=str(row["id"]),
        provider=row["provider"],
        kind=row["kind"],
        issued_at=timestamp(row["issued_at"]),
        status=credential.Status.ValueType(row["status"]),
        decided_revision=row["decided_revision"],
        cause=change.cause,
        subject_id=change.subject,
        subject_revision=change.revision,
        state=change.state,
        effective_from=_timestamp(change.effective_from),
        fact_id=change.fact.id,
        registry_revision=change.fact.registry_revision,
        recorded_at=change.fact.recorded_at,
    )


def _timestamp(stamp: int) -> Timestamp:
    found = Timestamp()
    found.FromMilliseconds(stamp)
    return found
