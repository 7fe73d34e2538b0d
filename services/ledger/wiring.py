"""Puts the ledger's parts together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiokafka.errors import KafkaError

from services.ledger.alone import PUBLICATION_LOCK, WITNESSES_LOCK, work_alone
from services.ledger.closing import Closing, Succeeded
from services.ledger.events import SOURCE
from services.ledger.first_changes import FirstChanges
from services.ledger.history import History
from services.ledger.intake import ALLOWED, CONSUMER, GATHER_SECONDS, take_leaves
from services.ledger.journal import Told, tell_log
from services.ledger.keys import LedgerKeys, ensure_checkpoint
from services.ledger.leases import Leases, Orders, load_secret
from services.ledger.lists import ListPublisher
from services.ledger.log_store import LogStore
from services.ledger.looks import PATIENCE_SECONDS, Looks
from services.ledger.outside import Outside
from services.ledger.pages import build_pages
from services.ledger.projections import Projections
from services.ledger.publication import Publication
from services.ledger.rebuild import Rebuilt, rebuild_lists
from services.ledger.resources import LogResources
from services.ledger.retention import Retention
from services.ledger.rpc import LedgerRpc
from services.ledger.sequencer import Sequencer
from services.ledger.settings import LedgerSettings
from services.ledger.statuses import MAX_GROUP, Statuses, StatusRequest
from services.ledger.witnessed import WitnessedCheckpoints
from services.ledger.witnesses import Cosigning, Witness
from vitne.clock import Clock, SystemClock
from vitne.credentials.jose import Signer
from vitne.errors import Unavailable, VitneError
from vitne.identifiers import UuidFactory
from vitne.merkle.cosignatures import CosignerKey
from vitne.messaging import outbox, topics
from vitne.messaging.consumer import Consumer, ConsumerOptions
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.reading import read_messages
from vitne.messaging.relay import OutboxWatch, Relay, RelayOptions
from vitne.runtime import idempotency
from vitne.runtime.application import Application
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.database import open_pool
from vitne.runtime.group_commit import GroupCommitter, Returning
from vitne.runtime.identity import TokenVerifier
from vitne.runtime.interceptors.access import TokenVerifierProtocol
from vitne.runtime.migrations import Migrations
from vitne.runtime.objects import Objects
from vitne.runtime.objects.folder import FolderObjects
from vitne.runtime.objects.s3 import S3Objects
from vitne.runtime.objects.signature_v4 import Credentials
from vitne.runtime.operations import add_operations
from vitne.runtime.tls import client_context
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc

if TYPE_CHECKING:
    from services.ledger.reconcile import Reconciled

SERVICE: Final = "vitne.ledger.v1.LedgerService"

#: Under load it looks no more often than at rest: each look costs the same for any number of events, and nobody waits
#: for these as a learner does for a credential.
RELAY: Final = RelayOptions(busy_seconds=RelayOptions().idle_seconds)

#: Of the sessions that serve. What they look for in a table that grows has an index; but a plan that is made while it
#: has a few rows reads all of them, and is kept while there come to be many (docs/decisions/0041). What is read whole
#: costs, by older planners' reckoning, so much then that they would compile it each time.
SESSION: Final = MappingProxyType({"enable_seqscan": "off", "jit": "off"})

_FOLDER: Final = Path(__file__).parent
#: What ``migrate`` applies, in order.
MIGRATIONS: Final = (
    idempotency.MIGRATIONS,
    Migrations("messaging", Path(outbox.__file__).parent / "sql"),
    Migrations("ledger", _FOLDER / "sql"),
)


def prepare(settings: LedgerSettings) -> LedgerKeys:
    """Make the ledger's keys and its secret, where there are none; answer the keys."""
    load_secret(settings.state_dir, create=True)
    return LedgerKeys.ensure(FileKeyCustody(settings.state_dir))


def list_publisher(settings: LedgerSettings, pool: Any, clock: Clock, keys: LedgerKeys) -> ListPublisher:
    """Publishes lists as the settings say."""
    return ListPublisher(
        pool,
        keys.status_list,
        clock,
        UuidFactory(clock),
        lifetime=settings.list_lifetime,
        ttl=settings.list_ttl,
        interval=settings.publish_interval_seconds,
    )


async def rebuild(settings: LedgerSettings) -> list[Rebuilt]:
    """Publish every list anew from its changes, whether the ledger runs or not.

    Raises:
        DataLoss: ``LIST_CONTRADICTS_LOG``.
    """
    clock = SystemClock()
    pool = await open_pool(settings.database_dsn, max_size=2, name="ledger-rebuild")
    try:
        # After the database answered: in an environment that is not the ledger's, no keys are made.
        keys = LedgerKeys.ensure(FileKeyCustody(settings.state_dir))
        return await rebuild_lists(pool, list_publisher(settings, pool, clock, keys))
    finally:
        await pool.close()


async def tell(settings: LedgerSettings) -> Told:
    """Tell of all of the log that nobody was told of, whether the ledger runs or not; its relay publishes it."""
    clock = SystemClock()
    pool = await open_pool(settings.database_dsn, max_size=1, name="ledger-tell")
    try:
        return await tell_log(pool, clock=clock, new_id=UuidFactory(clock))
    finally:
        await pool.close()


def next_key(settings: LedgerSettings, number: int) -> Signer:
    """Make the log's key of a number, where there is none; no other key is made."""
    return ensure_checkpoint(FileKeyCustody(settings.state_dir), number)


async def succeed(settings: LedgerSettings, work: Callable[[Closing], Awaitable[Succeeded]]) -> Succeeded:
    """End a log or a key, whether the ledger runs or not.

    Raises:
        DataLoss: ``LOG_ROLLED_BACK``, ``LOG_FORKED``; else as the work.
    """
    clock = SystemClock()
    objects = open_storage(settings, clock) if settings.storage else None
    pool = await open_pool(settings.database_dsn, max_size=1, name="ledger-closing")
    try:
        keys = LedgerKeys.ensure(FileKeyCustody(settings.state_dir))
        await _outside(settings, pool, LogStore(pool), keys, objects).require_agreement()
        return await work(Closing(pool, keys.note_signer, clock, UuidFactory(clock)))
    finally:
        await pool.close()
        if objects is not None:
            await objects.close()


async def reconcile(settings: LedgerSettings) -> Reconciled:
    """Put a database that was restored to an earlier instant in step; no ledger may run meanwhile.

    Raises:
        FailedPrecondition: ``SERVICE_RUNNING``, ``SECRET_MISSING``.
        DataLoss: ``LOG_CONTRADICTED``, ``LOG_INCOMPLETE``, ``LOG_UNTOLD``.
        Unavailable: database or cluster is out of reach.
    """
    # Here, since nothing else asks for it, and what it stands on took a twentieth of the time until a ledger is ready.
    from services.ledger.reconcile import Reconciliation  # noqa: PLC0415

    clock = SystemClock()
    kafka = _kafka(settings)
    try:
        status = await read_messages(kafka, topics.LEDGER_STATUS, SOURCE)
        log = await read_messages(kafka, topics.LEDGER_LOG, SOURCE)
    except KafkaError as error:
        raise Unavailable("KAFKA_UNAVAILABLE", f"the topics can't be read: {type(error).__name__}") from error
    pool = await open_pool(settings.database_dsn, max_size=2, name="ledger-reconcile")
    try:
        work = Reconciliation(
            pool,
            origin=settings.log_origin,
            signers=LedgerKeys.ensure(FileKeyCustody(settings.state_dir)).note_signer,
            orders=Orders(load_secret(settings.state_dir, create=False)),
            clock=clock,
            new_id=UuidFactory(clock),
            base_url=settings.status_base_url,
            list_size=settings.list_size,
            lifetime=settings.list_lifetime,
        )
        return await work.run(status, log)
    finally:
        await pool.close()


def open_storage(settings: LedgerSettings, clock: Clock) -> Objects:
    """Where static files go.

    Raises:
        OSError: the secret's file can't be read.
    """
    if settings.storage_secret_file is None:
        return FolderObjects(Path(urlsplit(settings.storage).path))
    secret = settings.storage_secret_file.read_text("ascii").strip()
    return S3Objects(settings.storage, Credentials(settings.storage_key_id, secret, settings.storage_region), clock)


def _outside(
    settings: LedgerSettings, pool: Any, store: LogStore, keys: LedgerKeys, objects: Objects | None
) -> Outside:
    return Outside(
        pool,
        store,
        keys.note_signer,
        origin=settings.log_origin,
        witnesses={CosignerKey.parse(key).name: url for key, url in settings.witnesses.items()},
        objects=objects,
    )


def _kafka(settings: LedgerSettings) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id="ledger",
        idempotence=settings.kafka_idempotence,
        groups=settings.kafka_groups,
        tls=client_context(settings.kafka_tls),
    )


async def serving_pool(dsn: str, connections: int) -> Any:
    """The database, as the ledger that serves goes to it; raises as :func:`~vitne.runtime.database.open_pool`."""
    return await open_pool(dsn, max_size=connections, name="ledger", session=SESSION)


async def serve(settings: LedgerSettings) -> None:
    """Run the ledger until it is told to stop."""
    clock = SystemClock()
    pool = await serving_pool(settings.database_dsn, settings.database_connections)
    verifier = TokenVerifier(
        settings.identity_issuer, settings.audience, clock, allow_http=settings.environment == "development"
    )
    try:
        await build(settings, pool, clock, verifier).run()
    finally:
        await pool.close()


def build(settings: LedgerSettings, pool: Any, clock: Clock, verifier: TokenVerifierProtocol) -> Application:
    """The ledger's process: RPCs, pages, and what runs beside them."""
    new_id = UuidFactory(clock)
    keys = LedgerKeys.ensure(FileKeyCustody(settings.state_dir))
    orders = Orders(load_secret(settings.state_dir, create=settings.environment == "development"))
    store = LogStore(pool)
    publisher = list_publisher(settings, pool, clock, keys)
    returning = Returning()
    deciding = Statuses(orders, clock, new_id, told_together=settings.changes_told_together)
    statuses: GroupCommitter[StatusRequest, ledger_pb2.SetStatusResponse] = GroupCommitter(
        pool,
        deciding.apply,
        MAX_GROUP,
        at_once=FirstChanges(deciding, clock).apply,
        name="change statuses",
        gathers=returning,
        answers=returning,
    )
    checkpoints, resources = WitnessedCheckpoints(pool, clock), LogResources(pool, store)
    history, projections = (
        History(pool, store, checkpoints, clock),
        Projections(keys.status_list, settings.status_base_url),
    )
    objects = open_storage(settings, clock) if settings.storage else None
    outside = _outside(settings, pool, store, keys, objects)
    sequencer = Sequencer(
        pool,
        settings.log_origin,
        keys.note_signer,
        clock,
        new_id,
        interval=settings.sequence_interval_seconds,
        agrees=outside.require_agreement,
    )
    kafka = _kafka(settings)

    application = Application("ledger", settings, clock, verifier=verifier)
    application.add_servicer(
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server,
        LedgerRpc(
            pool=pool,
            leases=Leases(orders, clock, base_url=settings.status_base_url, list_size=settings.list_size),
            set_status=statuses.submit,
            set_statuses=statuses.submit_all,
            store=store,
            clock=clock,
            publisher=publisher,
            history=history,
        ),
        SERVICE,
        checks_own_streams=["SetStatuses"],
    )
    looks = Looks(partial(pool.connect_apart, statement_seconds=PATIENCE_SECONDS), publisher.take_over)
    application.mount_http(build_pages(publisher, projections, checkpoints, resources, history, looks=looks))
    application.on_close(looks.close)
    application.add_task("lists", publisher.run)
    application.add_task("sequencer", sequencer.run)
    application.add_task("checkpoints", checkpoints.run)
    if settings.witnesses:
        witnesses = [Witness(CosignerKey.parse(key), url) for key, url in settings.witnesses.items()]
        cosigning = Cosigning(store, checkpoints, witnesses, settings.quorum, clock, contradicted=outside.contradicted)
        application.add_task(
            "witnesses",
            lambda: work_alone(
                pool,
                WITNESSES_LOCK,
                clock,
                cosigning.cosign_due,
                interval=settings.witness_interval_seconds,
                name="cosigning",
            ),
        )
    if objects is not None:
        publication = Publication(
            store=store,
            resources=resources,
            witnessed=checkpoints,
            lists=publisher,
            projections=projections,
            signers=keys.note_signer,
            objects=objects,
            contradicted=outside.contradicted,
        )
        application.add_task(
            "publication",
            lambda: work_alone(
                pool,
                PUBLICATION_LOCK,
                clock,
                publication.publish,
                interval=settings.publication_interval_seconds,
                name="publication",
            ),
        )
        application.on_close(objects.close)
    application.add_task("retention", Retention(pool, clock).run)
    add_operations(application, pool, clock, [CONSUMER])
    application.add_task("relay", Relay(pool, kafka, clock, options=RELAY).run)
    application.add_task("outbox-watch", OutboxWatch(pool, clock).run)
    application.add_task(
        "leaves",
        Consumer(
            CONSUMER,
            tuple(ALLOWED),
            pool,
            take_leaves,
            settings=kafka,
            clock=clock,
            options=ConsumerOptions(pause_seconds=GATHER_SECONDS),
        ).run,
    )

    async def lists_ready() -> str | None:
        return None if publisher.loaded else "the published lists are not read yet"

    async def log_ready() -> str | None:
        try:
            await store.checkpoint()
        except VitneError as error:
            return error.message
        return None

    application.add_readiness("lists", lists_ready)
    application.add_readiness("log", log_ready)
    application.on_close(statuses.close)
    return application
