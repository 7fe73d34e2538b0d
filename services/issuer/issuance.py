"""The road of an issuance: decide → learner → index → prepare → store → sign → finish.

Requests that come at the same time share two transactions. The first stores the
credential as *pending*, with its decision, its status index and exactly what is to be
signed. Then it is signed. The second stores the signature, and with it the events. So
nothing is ever signed and lost: what the first transaction stored and nobody finished is
completed by the same request when it is repeated, or in the background.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
from opentelemetry import trace
from opentelemetry.trace import Span

from services.issuer import leases, store
from services.issuer.admission import Order
from services.issuer.certificates import TokenCertificates
from services.issuer.crypto import DataKey, IndexKey
from services.issuer.events import Events
from services.issuer.key_store import LearnerKeyStore
from services.issuer.learners import INSERT, Learner, Learners, being_erased
from services.issuer.metrics import ALLOWED, DECIDE_DURATION, FAILED, REFUSED
from services.issuer.notices import Issued, Notices
from services.issuer.origins import Origins
from services.issuer.parts import Parts
from services.issuer.projection import Permission, RegistryView
from services.issuer.refusals import erased
from services.issuer.signing import SigningKeys
from services.issuer.store import Credential, RequestKey
from services.issuer.stored import Stored
from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.credentials import model, sd_jwt_vc
from vitne.credentials.artefact import sd_jwt_digest
from vitne.errors import Aborted, AlreadyExists, DataLoss, FailedPrecondition, Unavailable, VitneError
from vitne.identifiers import LearnerId
from vitne.messaging import outbox
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.group_commit import GroupCommitter, Returning
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.telemetry import current_traceparent, past_step
from vitne_api.credential.v1 import credential_pb2

#: Most issuances that share a transaction. Preparing one takes some 0.2 ms of CPU, during which the process
#: does nothing else, so more would be felt by other calls.
MAX_GROUP: Final = 250
#: Most issuances that wait for a transaction: several batches' windows.
MAX_WAITING: Final = 16_384
#: A pending credential of this age has nobody who finishes it: requests take a tenth of that.
ABANDONED_AFTER: Final = timedelta(seconds=10)
#: How often abandoned credentials are looked for.
COMPLETE_SECONDS: Final = 5.0
#: Longest pause before a credential that could not be completed is tried again.
LONGEST_PAUSE: Final = timedelta(hours=1)
_PAGE: Final = 500
#: Purpose of the hash that a request's body is recognised by.
_BODY: Final = "issuance"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """An order with what a repetition of it is recognised by."""

    order: Order
    key: RequestKey
    body: bytes = field(repr=False)
    #: The call's span, where that is recorded: what is done for a whole group is told to each.
    call: Span | None = None


@dataclass(frozen=True, slots=True)
class _Signed:
    stored: Stored
    signature: bytes
    digest: bytes
    #: Of the call that it answers: a group is written for many of them.
    traceparent: str


class Road:
    """Issues credentials; one instance for each lane of traffic that should not wait for another's.

    Args:
        pool: the issuer's database.
        registry: what the registry says.
        learners: finds and creates learners.
        keys: learners' data keys.
        signing: providers' keys.
        certificates: of those keys, for credentials to carry.
        events: makes the leaves' events.
        notices: what hubs are told.
        index: key of the keyed hashes.
        parts: what is counted towards what.
        clock: gives the instant of a decision, which is that of the issuance.
        new_id: makes UUIDv7.
        overlapping: whether its two transactions may run beside each other, as suits a lane where more wait than a
            group takes. Else they take turns: what arrives during the one gathers for the other, so groups are larger.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        registry: RegistryView,
        learners: Learners,
        keys: LearnerKeyStore,
        signing: SigningKeys,
        certificates: TokenCertificates,
        events: Events,
        notices: Notices,
        index: IndexKey,
        parts: Parts,
        clock: Clock,
        new_id: Callable[[], UUID],
        overlapping: bool = False,
    ) -> None:
        self._pool = pool
        self._registry = registry
        self._parts = parts
        self._learners = learners
        self._keys = keys
        self._signing = signing
        self._certificates = certificates
        self._events = events
        self._notices = notices
        self._index = index
        self._origins = Origins(index)
        self._clock = clock
        self._new_id = new_id
        turn = None if overlapping else asyncio.Lock()
        returning = Returning()
        self._first = GroupCommitter[Asked, Stored](
            pool,
            self._store,
            MAX_GROUP,
            max_waiting=MAX_WAITING,
            name="store credentials",
            turn=turn,
            gathers=returning,
        )
        self._second = GroupCommitter[_Signed, tuple[bytes, bytes]](
            pool,
            self._finish,
            MAX_GROUP,
            max_waiting=MAX_WAITING,
            name="finish credentials",
            turn=turn,
            answers=returning,
        )

    async def issue(self, order: Order) -> Stored:
        """Issue what was ordered, or answer what it was answered first.

        Raises:
            AlreadyExists: ``REQUEST_ID_REUSED``.
            FailedPrecondition: the reason why it may not be issued, with the rule; ``NO_SIGNING_KEY``.
            NotFound: ``CREDENTIAL_ERASED`` when what was answered first has been erased since.
            Unavailable: ``REGISTRY_STALE``, ``STATUS_INDEXES_EXHAUSTED``, ``KEY_STORE_UNAVAILABLE``,
                ``DATABASE_UNAVAILABLE``; the request may be repeated.
        """
        item = self._index.digest("item", order.item_id.encode()) if order.item_id else b""
        call = trace.get_current_span()
        stored = await self._first.submit(
            Asked(
                order,
                RequestKey(str(order.provider), order.request_id, item),
                order.body(),
                call if call.is_recording() else None,
            )
        )
        return Stored(await self._complete(stored), stored.learner, stored.prepared)

    async def run(self) -> None:
        """Complete what was stored and not finished, at the start and then now and again, until cancelled."""
        while True:
            try:
                completed = await self.complete_abandoned()
                if completed:
                    _log.info("abandoned issuances completed", extra={"count": completed})
            except (*DATABASE_OUTAGES, VitneError) as error:
                _log.warning("abandoned issuances wait: %s", type(error).__name__)
            await self._clock.sleep(COMPLETE_SECONDS)

    async def complete_abandoned(self) -> int:
        """Complete pending credentials of a certain age; answers how many.

        Replicas may do this at the same time as each other and as repeated requests: whoever
        is first to lock the row stores the signature, the others find it there. What can't be
        completed is counted, logged by its reason and tried again later; what never can,
        since its learner was erased, is given up.
        """
        completed, after, now = 0, None, self._clock.now()
        failures: Counter[str] = Counter()
        while page := await store.pending(self._pool, now - ABANDONED_AFTER, now, after, _PAGE):
            keys = await self._keys.look({row.learner for row in page})
            voided = await store.void(self._pool, [row.id for row in page if row.learner not in keys])
            rows = [row for row in page if row.id not in voided]
            failed: dict[UUID, datetime] = {}
            for row, reason in zip(rows, await asyncio.gather(*(self._try(row, keys) for row in rows)), strict=True):
                if reason:
                    failures[reason] += 1
                    # Twice as old at the next try: whatever is wrong with one row costs less and less.
                    failed[row.id] = now + min(now - row.issued_at, LONGEST_PAUSE)
                else:
                    completed += 1
            await store.postpone(self._pool, failed)
            if voided:
                _log.info("pending issuances of erased learners given up", extra={"count": len(voided)})
            after = page[-1].id
        if failures:
            _log.warning("abandoned issuances that could not be completed: %s", dict(failures))
        return completed

    async def _try(self, row: Credential, keys: Mapping[UUID, DataKey | DataLoss]) -> str:
        """Complete a pending credential; answers the reason why that failed, whatever it was, or nothing."""
        key = keys.get(row.learner)
        try:
            if key is None:
                raise being_erased()
            if isinstance(key, DataLoss):
                raise key
            await self._complete(Stored(row, Learner(row.learner, key)))
        except Exception as error:  # noqa: BLE001 - one row never keeps the others from being completed
            return as_vitne_error(error).reason
        return ""

    async def close(self) -> None:
        """Return when what was submitted is done."""
        await self._first.close()
        await self._second.close()

    async def _complete(self, stored: Stored) -> Credential:
        """Sign and finish what is not issued yet. Signatures are deterministic: twice signed is the same artefact."""
        row = stored.credential
        if row.issued:
            return row
        prepared = stored.open()
        signature = self._signing.signer(row.signing_key).sign(prepared.signing_input)
        digest = from_b64url(sd_jwt_digest(prepared.complete(signature)))
        # What is stored is the answer, also to whoever comes with another signature.
        signature, digest = await self._second.submit(_Signed(stored, signature, digest, current_traceparent()))
        return replace(row, signature=signature, digest=digest)

    # --- first transaction ----------------------------------------------------------------------------

    async def _store(self, connection: Any, asked: Sequence[Asked]) -> list[Stored | VitneError]:
        """Answer what was asked before; store what may be issued as pending, and why the rest may not."""
        requests = {item.key for item in asked}
        try:
            # All that concerns the key store comes before the first write: if it is away, the whole group hears
            # so at once.
            who = {item.order.known_as for item in asked}
            found, repeated = await self._learners.find_for(connection, who, requests)
            rows = await store.by_request(connection, requests) if repeated else {}
            keys = await self._keys.get({row.learner for row in rows.values()})
            # What was answered is not decided anew: it would be measured, and said of its trace, as what it is not.
            fresh, refused = await self._decide(connection, [item for item in asked if item.key not in rows])
            new = {item.order.known_as for item, _ in fresh.values()} - found.keys()
            drafts = await self._learners.draft(new)
        except Unavailable as error:
            return [_copy(error) for _ in asked]
        learners = {id_: Learner(id_, key) for id_, key in keys.items()}
        try:
            created = await self._insert(connection, fresh, refused, found, drafts)
        except BaseException:  # The transaction is rolled back, and with it whatever used the keys.
            if drafts:
                await self._learners.discard(drafts.values())
            raise
        used = {stored.learner.id for stored in created}
        if unused := [draft for draft in drafts.values() if draft.id not in used]:
            await self._learners.discard(unused)
        made = {stored.credential.request: stored for stored in created}
        for key, stored in made.items():
            rows[key] = stored.credential
            learners[stored.learner.id] = stored.learner
        return [
            made[item.key]
            if item.key in made and fresh[item.key][0] is item
            # asked before, or a second time in this group
            else self._answer(item, rows, learners, refused)
            for item in asked
        ]

    async def _insert(
        self,
        connection: Any,
        fresh: Mapping[RequestKey, tuple[Asked, Permission]],
        refused: dict[tuple[RequestKey, bytes], VitneError],
        found: Mapping[LearnerId, Learner | None],
        drafts: Mapping[LearnerId, Learner],
    ) -> list[Stored]:
        """Store what may be issued, with those learners who are new."""
        created = await self._create(connection, fresh, refused, {**found, **drafts})
        used = {stored.learner.id for stored in created}
        if not created:
            return []
        new = {who: draft for who, draft in drafts.items() if draft.id in used}
        try:
            inserted = await store.insert(
                connection,
                [stored.credential for stored in created],
                INSERT,
                self._learners.columns(new),
            )
        except asyncpg.UniqueViolationError as error:
            # The same request, in another transaction: rolled back and tried again, this one finds it.
            raise Aborted("REQUEST_RACED", "the same request is being answered elsewhere") from error
        if inserted < len(new):
            raise Aborted("LEARNER_RACED", "one of the learners is being created elsewhere")
        await self._parts.cite(
            connection,
            [(one.credential.id, one.learner.key, fresh[one.credential.request][0].order.parts) for one in created],
        )
        return created

    async def _decide(
        self, connection: Any, asked: Sequence[Asked]
    ) -> tuple[dict[RequestKey, tuple[Asked, Permission]], dict[tuple[RequestKey, bytes], VitneError]]:
        """Which of the new requests may be issued, and why the others may not.

        An achievement is decided, and its provider's key chosen, once in a group: *t* and *u* are the same.
        """
        now = self._clock.now()
        decided: dict[tuple[str, UUID, int], Permission | VitneError] = {}
        times: dict[tuple[str, UUID, int], tuple[int, int]] = {}
        fresh: dict[RequestKey, tuple[Asked, Permission]] = {}
        refused: dict[tuple[RequestKey, bytes], VitneError] = {}
        for item in asked:
            if item.key in fresh:
                continue
            what = item.key.provider, item.order.achievement, item.order.achievement_version
            if what not in decided:
                began = time.time_ns()
                decided[what] = await self._permission(connection, *what, now)
                times[what] = began, time.time_ns()
            outcome = decided[what]
            if item.call is not None:
                told = {"vitne.outcome": REFUSED if isinstance(outcome, VitneError) else ALLOWED}
                past_step(item.call, "decide", *times[what], told)
            if not isinstance(outcome, VitneError):
                outcome = self._recognised(item.order, outcome)
            if isinstance(outcome, VitneError):
                refused[item.key, item.body] = _copy(outcome, item.order.path)
            else:
                fresh[item.key] = item, outcome
        await self._refuse_parts(connection, fresh, refused)
        return fresh, refused

    def _recognised(self, order: Order, permission: Permission) -> Permission | VitneError:
        """The permission with what the institution recognised, or why it may not."""
        try:
            return self._registry.recognise(permission, order.recognition, order.awarded_on)
        except VitneError as error:
            return error

    async def _refuse_parts(
        self,
        connection: Any,
        fresh: dict[RequestKey, tuple[Asked, Permission]],
        refused: dict[tuple[RequestKey, bytes], VitneError],
    ) -> None:
        """Move what counts something that can't be counted from the one to the other."""
        stated = [part for item, _ in fresh.values() for part in item.order.parts]
        if not stated:
            return
        bad = await self._parts.refusals(connection, stated)
        for key, (item, _) in list(fresh.items()) if bad else ():
            number = next((number for number, part in enumerate(item.order.parts) if part in bad), None)
            if number is not None:
                error = bad[item.order.parts[number]]
                refused[key, item.body] = _copy(error, f"{item.order.path}.parts[{number}]")
                del fresh[key]

    async def _permission(
        self, connection: Any, provider: str, achievement: UUID, version: int, now: datetime
    ) -> Permission | VitneError:
        try:
            permission = self._measured_decision(provider, achievement, version, now)
            signer = await self._signing.choose(connection, provider, self._registry.signing_keys(provider, now))
            certificates = await self._certificates.of(signer, permission.awarding_body, now)
        except VitneError as error:
            return error
        return replace(permission, key_id=signer.key_id, certificates=certificates)

    def _measured_decision(self, provider: str, achievement: UUID, version: int, now: datetime) -> Permission:
        outcome, began = FAILED, self._clock.monotonic()
        try:
            permission = self._registry.decide(provider, achievement, version, now)
            outcome = ALLOWED
        except FailedPrecondition:
            outcome = REFUSED
            raise
        finally:
            DECIDE_DURATION.record(self._clock.monotonic() - began, outcome)
        return permission

    async def _create(
        self,
        connection: Any,
        fresh: Mapping[RequestKey, tuple[Asked, Permission]],
        refused: dict[tuple[RequestKey, bytes], VitneError],
        learners: Mapping[LearnerId, Learner | None],
    ) -> list[Stored]:
        """Give indexes to what may be issued and prepare it; what gets none is added to ``refused``."""
        by_country: dict[str, list[tuple[Asked, Permission, Learner]]] = defaultdict(list)
        for item, permission in fresh.values():
            if learner := learners[item.order.known_as]:
                by_country[permission.awarding_body.country].append((item, permission, learner))
            else:
                refused[item.key, item.body] = being_erased()
        created: list[Stored] = []
        for country, orders in sorted(by_country.items()):  # in one order, so that transactions can't deadlock
            references = await leases.take(connection, country, len(orders))
            for (item, permission, learner), reference in zip(orders, references, strict=False):
                created.append(self._prepare(item, permission, learner, reference))
            for item, _, _ in orders[len(references) :]:
                refused[item.key, item.body] = leases.exhausted(country)
        return created

    def _prepare(
        self, item: Asked, permission: Permission, learner: Learner, reference: credential_pb2.StatusReference
    ) -> Stored:
        order = item.order
        credential = model.Credential(
            id=self._new_id(),
            achievement=permission.achievement,
            awarding_body=permission.awarding_body,
            learner=model.Learner(order.learner, order.given_name, order.family_name, order.birth_date),
            awarded_on=order.awarded_on,
            grade=order.grade or None,
            expires_on=order.expires_on,
            retention=order.retention,
            decision=permission.decision,
            status=model.StatusReference(reference.list, reference.index),
            holder=order.holder,
            recognition=permission.recognition,
            accreditation_digest=permission.accreditation_digest,
        )
        prepared = sd_jwt_vc.prepare(
            credential,
            key_id=permission.key_id,
            entropy=secrets.token_bytes(sd_jwt_vc.ENTROPY_BYTES),
            certificates=permission.certificates,
        )
        row = Credential(
            id=credential.id,
            provider=item.key.provider,
            learner=learner.id,
            achievement=order.achievement,
            achievement_version=order.achievement_version,
            kind=permission.achievement.kind,
            retention=order.retention,
            issued_at=credential.issued_at,
            request_id=item.key.request_id,
            request_item=item.key.item,
            request_digest=learner.key.digest(_BODY, item.body),
            decision=permission.decision.record,
            status_list=reference.list,
            status_index=reference.index,
            status=credential_pb2.STATUS_VALID,
            signing_key=permission.key_id,
            prepared=store.seal(prepared, learner.key, credential.id),
        )
        return Stored(row, learner, prepared)

    def _answer(
        self,
        item: Asked,
        rows: dict[RequestKey, Credential],
        learners: dict[UUID, Learner],
        refused: dict[tuple[RequestKey, bytes], VitneError],
    ) -> Stored | VitneError:
        row = rows.get(item.key)
        if row is None:
            return refused.get((item.key, item.body)) or _reused()
        learner = learners.get(row.learner)
        if learner is None:
            return erased(row.id)
        if not hmac.compare_digest(row.request_digest, learner.key.digest(_BODY, item.body)):
            return _reused()
        return Stored(row, learner)

    # --- second transaction ---------------------------------------------------------------------------

    async def _finish(self, connection: Any, signed: Sequence[_Signed]) -> list[tuple[bytes, bytes] | VitneError]:
        """Store signatures, and submit to the log and tell the hubs what was issued by that.

        Locks in the order credentials, learners, aggregates, as everybody does.

        Returns:
            signature and digest that each has now; ``CREDENTIAL_ERASED`` for what was given up meanwhile.
        """
        before = await store.lock(connection, {item.stored.credential.id for item in signed})
        new = {item.stored.credential.id: item for item in signed if item.stored.credential.id not in before}
        if new:
            finished = await store.finish(connection, {id_: (item.signature, item.digest) for id_, item in new.items()})
            new = {id_: item for id_, item in new.items() if id_ in finished}
            leaves = [
                self._events.leaf(
                    item.digest, self._origins.seal(item.digest, item.stored.credential), item.traceparent
                )
                for item in new.values()
            ]
            notices = await self._notices.issued(
                connection,
                [
                    Issued(
                        item.stored.learner,
                        id_,
                        item.stored.credential.kind,
                        item.stored.credential.provider,
                        cause=item.traceparent,
                    )
                    for id_, item in new.items()
                ],
            )
            await outbox.append(connection, leaves + notices)
        stored = before | {id_: (item.signature, item.digest) for id_, item in new.items()}
        return [stored.get(id_) or erased(id_) for id_ in (item.stored.credential.id for item in signed)]


def _copy(error: VitneError, path: str = "") -> VitneError:
    """The same refusal for one more item: an exception that is raised to many would gather all their tracebacks."""
    return type(error)(
        error.reason,
        error.message,
        field=f"{path}.{error.field}" if error.field else "",
        rule=error.rule,
        remedy=error.remedy,
        metadata=error.metadata,
    )


def _reused() -> AlreadyExists:
    return AlreadyExists(
        "REQUEST_ID_REUSED",
        "the request id was used before, with another body",
        field="request_id",
        rule="AIP-155: one id, one request",
        remedy="use a new UUID for a new request, and the same body to repeat one",
    )
