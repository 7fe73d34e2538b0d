"""``python -m services.issuer reconcile``: after the issuer's database was restored to an earlier instant.

The issuer's topics have gone on, and so have the ledger, the portals, and the institutions' own records: nothing of
that may be contradicted. What the topics know is taken up again, what they don't is recorded as lost, and what may have
been given out since is never given out again (docs/decisions/0014-after-a-restore.md).

One transaction, before the issuer serves; repeated, it finds nothing to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from services.issuer import store
from services.issuer.grounds import TAKEN_UP
from services.issuer.key_store import LearnerKeyStore
from services.issuer.learners import Learner, Learners
from services.issuer.notices import Notices, Registration
from services.issuer.origins import Origin, Origins
from vitne.clock import Clock
from vitne.credentials import pseudonyms
from vitne.errors import DataLoss
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued, parse_leaf
from vitne.messaging import outbox, recovery, topics
from vitne.messaging.event_types import HUB_NOTICE, LOG_LEAF
from vitne.messaging.headers import Message
from vitne_api.events.v1 import events_pb2

#: Learners whose names at a hub are computed at once.
PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class LostCredential:
    """A credential that was issued after the instant of the restore; ids only where its leaf says them."""

    digest: str
    credential: str | None = None
    provider: str | None = None
    request_id: str | None = None
    issued_at: datetime | None = None


@dataclass(slots=True)
class Reconciled:
    """What was found and done.

    Attributes:
        lost: credentials whose content is gone, for their institutions to ask for again.
        erased: learners who had been erased, erased again.
        registrations_ended: with hubs, that learners had ended since.
        registrations_taken_up: with hubs, that learners had made since.
        notices: to hubs, of what they had been told otherwise.
        revisions: aggregates that go on from where their topic is.
        indexes_dropped: status indexes in stock that may have been given out since.
        learners_without_key: that no record of an erasure explains: their key store is not the right one, or older.
    """

    lost: list[LostCredential] = field(default_factory=list)
    erased: int = 0
    registrations_ended: int = 0
    registrations_taken_up: int = 0
    notices: int = 0
    revisions: int = 0
    indexes_dropped: int = 0
    learners_without_key: int = 0

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


@dataclass(slots=True)
class _Told:
    """What a hub knows of a learner: handles it was told of that were not withdrawn, with kind and provider.

    ``withdrawn_last``: the last that it was told is that the registration ended, or (in the words of releases that did
    not say so) that a credential was withdrawn, for another reason than the hub's subscription.
    """

    handles: dict[str, tuple[str, str]] = field(default_factory=dict)
    withdrawn_last: bool = False


@dataclass(frozen=True, slots=True)
class _Before:
    """The restored outbox: revisions of the hubs' aggregates, and notices that it is still to publish."""

    revisions: Mapping[str, int]
    #: Aggregate, revision, value.
    waiting: Sequence[tuple[str, int, bytes]]


class Reconciliation:
    """Puts a restored database back in step.

    Args:
        pool: the issuer's database; nothing else writes to it.
        keys: learners' data keys, and the record of erasures.
        learners: opens learners' secrets.
        notices: makes hubs' notices.
        origins: opens what leaves come from.
        clock: says when it was.
        new_id: makes UUIDv7.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        keys: LearnerKeyStore,
        learners: Learners,
        notices: Notices,
        origins: Origins,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._learners = learners
        self._notices = notices
        self._origins = origins
        self._clock = clock
        self._new_id = new_id
        self._done = Reconciled()

    async def run(
        self, leaves: Sequence[Message], hubs: Mapping[str, Sequence[Message]], effects: Sequence[Message] = ()
    ) -> Reconciled:
        """Do it, in one transaction.

        Args:
            leaves: all of the issuer's own in ``vitne.issuer.leaves.v1``.
            hubs: all of the topic of each hub, by the hub's organisation id.
            effects: all of ``vitne.issuer.effects.v1``: what was counted since is counted and told again.

        Raises:
            FailedPrecondition: ``SERVICE_RUNNING``: an issuer uses the database.
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        done = self._done = Reconciled()
        now = self._clock.now()
        async with self._pool.acquire() as connection, connection.transaction():
            await recovery.require_alone(connection)
            before = _Before(await _revisions(connection), await _waiting(connection))
            names = {topics.ISSUER_LEAVES: "leaf:{key}", topics.ISSUER_EFFECTS: "effects:{key}"}
            for hub in hubs:
                names[topics.hub_topic(OrganisationId.parse(hub))] = f"hub:{hub}:{{key}}"
            everything = [*leaves, *effects, *(message for messages in hubs.values() for message in messages)]
            done.revisions = await recovery.catch_up(
                connection, [(names[message.topic].format(key=message.key), message) for message in everything], now
            )
            await connection.execute("INSERT INTO restore (reconciled_at) VALUES ($1)", now)
            await self._record_losses(connection, leaves, now)
            done.indexes_dropped = await connection.fetchval(
                "WITH gone AS (DELETE FROM index_lease RETURNING coalesce(cardinality(indexes), 0) - taken AS rest) "
                "SELECT coalesce(sum(greatest(rest, 0)), 0)::bigint FROM gone"
            )
            await self._erase_again(connection)
            for hub, messages in hubs.items():
                await self._meet_hub(connection, hub, messages, before, now)
        return done

    # -- The log -----------------------------------------------------------------------------------

    async def _record_losses(self, connection: Any, leaves: Iterable[Message], now: datetime) -> None:
        """What the log has and the database has not: recorded, with whom it was issued for."""
        found: dict[bytes, Origin | None] = {}
        for message in leaves:
            submitted = events_pb2.LeafSubmitted.FromString(message.value)
            leaf = parse_leaf(submitted.leaf)
            if message.type == LOG_LEAF and isinstance(leaf, Issued):
                found[leaf.digest] = self._origins.open(leaf.digest, submitted.origin) if submitted.origin else None
        known = {
            row["digest"] for row in await connection.fetch("SELECT digest FROM credential WHERE digest IS NOT NULL")
        }
        known |= {row["digest"] for row in await connection.fetch("SELECT digest FROM lost_credential")}
        known |= {
            row["digest"] for row in await connection.fetch("SELECT digest FROM artefact WHERE digest IS NOT NULL")
        }
        # Stored before that instant and signed after it: it is signed again, and is the same artefact.
        pending = {row["id"] for row in await connection.fetch("SELECT id FROM credential WHERE digest IS NULL")}
        for digest, origin in found.items():
            if digest in known or (origin is not None and origin.credential in pending):
                continue
            if origin is not None and origin.format:
                # A credential in a further format is made again when it is asked for: nobody's credential is lost.
                origin = None  # noqa: PLW2901 - only that the log has it is recorded
            await connection.execute(
                "INSERT INTO lost_credential (digest, id, provider, request_id, status_list, status_index, issued_at, "
                "restore) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                digest,
                *(
                    (
                        origin.credential,
                        origin.provider,
                        origin.request_id,
                        origin.status_list,
                        origin.status_index,
                        origin.issued_at,
                    )
                    if origin
                    else (None,) * 6
                ),
                now,
            )
            self._done.lost.append(
                LostCredential(
                    digest.hex(), str(origin.credential), origin.provider, str(origin.request_id), origin.issued_at
                )
                if origin
                else LostCredential(digest.hex())
            )

    # -- Learners ----------------------------------------------------------------------------------

    async def _erase_again(self, connection: Any) -> None:
        """Who was erased since is erased: the key is gone, and now the row that the restore brought back."""
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM learner ORDER BY id")]
        erased = await self._keys.destroyed()
        again = [id_ for id_ in ids if id_ in erased]
        for learner in again:
            await store.unlink(connection, learner)
            await connection.execute("DELETE FROM hub_credential WHERE learner = $1", learner)
            await connection.execute("DELETE FROM registration WHERE learner = $1", learner)
            await connection.execute("DELETE FROM learner WHERE id = $1", learner)
        self._done.erased = len(again)
        left = [id_ for id_ in ids if id_ not in erased]
        for start in range(0, len(left), PAGE):
            page = left[start : start + PAGE]
            self._done.learners_without_key += len(page) - len(await self._keys.look(page))

    # -- Hubs --------------------------------------------------------------------------------------

    async def _meet_hub(
        self,
        connection: Any,
        hub: str,
        messages: Sequence[Message],
        before: _Before,
        now: datetime,
    ) -> None:
        """Take up what a hub was told since, and tell it where that is true no longer."""
        told = _told(messages, before.waiting, hub)
        newest = _newest(messages)
        registered = {
            row["pseudonym"]: row["learner"]
            for row in await connection.fetch(
                "SELECT pseudonym, learner FROM registration WHERE hub = $1 AND withdrawn_at IS NULL", hub
            )
        }
        for pseudonym, learner in list(registered.items()):
            since = newest.get(pseudonym, 0) > before.revisions.get(f"hub:{hub}:{pseudonym}", 0)
            if since and told[pseudonym].withdrawn_last and not told[pseudonym].handles:
                await self._end(connection, hub, pseudonym, learner, now)
                del registered[pseudonym]
        unknown = {name for name, each in told.items() if each.handles or not each.withdrawn_last} - registered.keys()
        # Who had left before that instant has left, unless the hub was told of her since: releases that told no end
        # of a registration left the notice before it as the last.
        unknown -= {
            row["pseudonym"]
            for row in await connection.fetch(
                "SELECT pseudonym FROM registration WHERE hub = $1 AND withdrawn_at IS NOT NULL", hub
            )
            if newest.get(row["pseudonym"], 0) <= before.revisions.get(f"hub:{hub}:{row['pseudonym']}", 0)
        }
        if unknown:
            await self._take_up(connection, hub, unknown, now)
        await self._correct(connection, hub, told, now)

    async def _end(self, connection: Any, hub: str, pseudonym: str, learner: UUID, now: datetime) -> None:
        await connection.execute(
            "UPDATE registration SET withdrawn_at = $3 WHERE hub = $1 AND pseudonym = $2 AND withdrawn_at IS NULL",
            hub,
            pseudonym,
            now,
        )
        await connection.execute("DELETE FROM hub_credential WHERE hub = $1 AND learner = $2", hub, learner)
        self._done.registrations_ended += 1

    async def _take_up(self, connection: Any, hub: str, unknown: Collection[str], now: datetime) -> None:
        """Registrations that the topic knows of: whose they are is found by computing every learner's name there."""
        after: UUID | None = None
        while rows := await connection.fetch(
            "SELECT id FROM learner WHERE ($2::uuid IS NULL OR id > $2) AND NOT EXISTS (SELECT FROM registration "
            "WHERE learner = learner.id AND hub = $1 AND withdrawn_at IS NULL) ORDER BY id LIMIT $3",
            hub,
            after,
            PAGE,
        ):
            after = rows[-1]["id"]
            keys = await self._keys.look([row["id"] for row in rows])
            page = [Learner(id_, key) for id_, key in keys.items() if not isinstance(key, DataLoss)]
            for id_, secret in (await self._learners.secrets(connection, page)).items():
                name = pseudonyms.pseudonym(secret, hub)
                if name not in unknown:
                    continue
                await connection.execute(
                    "INSERT INTO registration (id, hub, learner, pseudonym, ground, registered_at) "
                    "VALUES ($1, $2, $3, $4, $5, $6)",
                    self._new_id(),
                    hub,
                    id_,
                    name,
                    TAKEN_UP,
                    now,
                )
                credentials = await connection.fetch(
                    "SELECT id FROM credential WHERE learner = $1 AND signature IS NOT NULL ORDER BY id", id_
                )
                await connection.executemany(
                    "INSERT INTO hub_credential (hub, handle, credential, learner) VALUES ($1, $2, $3, $4)",
                    [(hub, pseudonyms.handle(secret, hub, str(row["id"])), row["id"], id_) for row in credentials],
                )
                self._done.registrations_taken_up += 1

    async def _correct(self, connection: Any, hub: str, told: Mapping[str, _Told], now: datetime) -> None:
        """Tell the hub of what it may fetch and does not know of, and withdraw what it can't fetch any more.

        Of a learner whose registration is lost it is told that it ended.
        """
        rows = await connection.fetch(
            """
            SELECT pseudonym, handle, kind, provider FROM registration
            JOIN hub_credential USING (hub, learner) JOIN credential ON credential.id = hub_credential.credential
            WHERE hub = $1 AND withdrawn_at IS NULL ORDER BY credential.id
            """,
            hub,
        )
        registered = {
            row["pseudonym"]
            for row in await connection.fetch(
                "SELECT pseudonym FROM registration WHERE hub = $1 AND withdrawn_at IS NULL", hub
            )
        }
        served: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        for row in rows:
            served[row["pseudonym"]][row["handle"]] = row["kind"], row["provider"]
        changes: list[outbox.Event] = []
        for pseudonym in sorted(told.keys() | served.keys()):
            registration = Registration(hub, pseudonym)
            knows = told[pseudonym].handles if pseudonym in told else {}
            for notice, handles in (
                (
                    events_pb2.HUB_NOTICE_WITHDRAWN,
                    {each: knows[each] for each in knows.keys() - served[pseudonym].keys()},
                ),
                (
                    events_pb2.HUB_NOTICE_ISSUED,
                    {each: what for each, what in served[pseudonym].items() if each not in knows},
                ),
            ):
                changes += [
                    self._notices.notice(notice, registration, handle, kind, provider, cause="")
                    for handle, (kind, provider) in handles.items()
                ]
            if pseudonym not in registered and not told[pseudonym].withdrawn_last:
                changes += self._notices.ended(registration, cause="", at=now)
        await outbox.append(connection, changes)
        self._done.notices += len(changes)


async def _revisions(connection: Any) -> dict[str, int]:
    rows = await connection.fetch("SELECT aggregate, revision FROM aggregate_revision WHERE aggregate LIKE 'hub:%'")
    return {row["aggregate"]: row["revision"] for row in rows}


async def _waiting(connection: Any) -> list[tuple[str, int, bytes]]:
    """Notices that the restored outbox is still to publish: aggregate, revision, value."""
    rows = await connection.fetch(
        "SELECT aggregate, revision, value FROM outbox WHERE published_at IS NULL AND type = $1 ORDER BY id", HUB_NOTICE
    )
    return [(row["aggregate"], row["revision"], row["value"]) for row in rows]


def _newest(messages: Iterable[Message]) -> dict[str, int]:
    newest: dict[str, int] = defaultdict(int)
    for message in messages:
        newest[message.key] = max(newest[message.key], message.revision)
    return newest


def _told(messages: Iterable[Message], waiting: Iterable[tuple[str, int, bytes]], hub: str) -> dict[str, _Told]:
    """What a hub that reads its topic, and then what the outbox still has for it, knows in the end."""
    values: dict[str, dict[int, bytes]] = defaultdict(dict)
    for message in messages:
        values[message.key].setdefault(message.revision, message.value)
    prefix = f"hub:{hub}:"
    for aggregate, revision, value in waiting:
        if aggregate.startswith(prefix):
            values[aggregate.removeprefix(prefix)].setdefault(revision, value)
    told: dict[str, _Told] = defaultdict(_Told)
    for pseudonym, by_revision in values.items():
        knows = told[pseudonym]
        for revision in sorted(by_revision):
            notice = events_pb2.HubCredentialNotice.FromString(by_revision[revision])
            ended = notice.notice == events_pb2.HUB_NOTICE_REGISTRATION_ENDED
            withdrawn = notice.notice == events_pb2.HUB_NOTICE_WITHDRAWN
            knows.withdrawn_last = ended or (withdrawn and not notice.out_of_subscription)
            if ended:
                knows.handles.clear()
            elif withdrawn:
                knows.handles.pop(notice.handle, None)
            else:
                knows.handles[notice.handle] = notice.kind, notice.provider
    return told
