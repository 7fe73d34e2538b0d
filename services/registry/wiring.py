"""Puts the registry's parts together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError

from services.registry.accreditation_credentials import AccreditationCredentials
from services.registry.due import DueWatch
from services.registry.events import SOURCE
from services.registry.heartbeat import Heartbeat
from services.registry.loops import repeat
from services.registry.pages import build_pages
from services.registry.reconcile import Reconciled, reconcile
from services.registry.recorder import Recorder
from services.registry.rpc import SERVICE, RegistryRpc
from services.registry.search import FOLLOW_SECONDS, CatalogueIndex
from services.registry.settings import RegistrySettings
from services.registry.trust_list import TrustListPublisher, trust_list_signer
from vitne.clock import Clock, SystemClock
from vitne.errors import Unavailable, VitneError
from vitne.frameworks import Frameworks
from vitne.identifiers import UuidFactory
from vitne.messaging import outbox, topics
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.reading import read_messages
from vitne.messaging.relay import OutboxWatch, Relay
from vitne.runtime import idempotency
from vitne.runtime.application import Application
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.database import open_pool
from vitne.runtime.identity import TokenVerifier
from vitne.runtime.interceptors.access import TokenVerifierProtocol
from vitne.runtime.migrations import Migrations
from vitne.runtime.tls import client_context
from vitne_api.registry.v1 import registry_pb2_grpc

_FOLDER: Final = Path(__file__).parent
#: What ``migrate`` applies, in order.
MIGRATIONS: Final = (
    idempotency.MIGRATIONS,
    Migrations("messaging", Path(outbox.__file__).parent / "sql"),
    Migrations("registry", _FOLDER / "sql"),
)


def service_keys(settings: RegistrySettings) -> str:
    """What the operator registers and verifiers pin: ``[{"use", "public_jwk"}]``; made when there is none."""
    signer = trust_list_signer(FileKeyCustody(settings.state_dir))
    return json.dumps([{"use": "KEY_USE_TRUST_LIST", "public_jwk": signer.public_jwk}], indent=2)


def _kafka(settings: RegistrySettings) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id="registry",
        idempotence=settings.kafka_idempotence,
        tls=client_context(settings.kafka_tls),
    )


async def put_in_step(settings: RegistrySettings) -> Reconciled:
    """Put a database that was restored to an earlier instant in step; no registry may run meanwhile.

    Raises:
        FailedPrecondition: ``SERVICE_RUNNING``.
        DataLoss: ``FACTS_CONTRADICTED``, ``FACTS_INCOMPLETE``, ``UNKNOWN_FACT``.
        Unavailable: database or cluster is out of reach.
    """
    clock = SystemClock()
    kafka = _kafka(settings)
    try:
        told = [
            await read_messages(kafka, topic, SOURCE)
            for topic in (topics.REGISTRY_FACTS, topics.REGISTRY_LEAVES, topics.REGISTRY_HEARTBEAT)
        ]
    except KafkaError as error:
        raise Unavailable("KAFKA_UNAVAILABLE", f"the topics can't be read: {type(error).__name__}") from error
    pool = await open_pool(settings.database_dsn, max_size=2, name="registry-reconcile")
    try:
        return await reconcile(pool, *told, clock=clock, new_id=UuidFactory(clock))
    finally:
        await pool.close()


async def serve(settings: RegistrySettings) -> None:
    """Run the registry until it is told to stop."""
    pool = await open_pool(settings.database_dsn, max_size=settings.database_connections, name="registry")
    try:
        application = build(settings, pool, SystemClock())
        await application.run()
    finally:
        await pool.close()


def build(
    settings: RegistrySettings, pool: Any, clock: Clock, verifier: TokenVerifierProtocol | None = None
) -> Application:
    """The registry's process: RPCs, pages, and what runs beside them.

    Args:
        settings: of the process.
        pool: the registry's database, migrated.
        clock: tells the time.
        verifier: of access tokens; by default against the issuer that the settings name.
    """
    new_id = UuidFactory(clock)
    recorder = Recorder(
        pool,
        Frameworks.load(settings.standings),
        clock,
        new_id,
        operator=settings.operator,
        refresh_seconds=settings.refresh_seconds,
    )
    custody = FileKeyCustody(settings.state_dir)
    credentials = AccreditationCredentials(pool, recorder, custody, clock, settings.registry_uri)
    publisher = TrustListPublisher(
        recorder.projection,
        trust_list_signer(custody),
        recorder.as_of,
        settings.registry_uri,
    )
    kafka = _kafka(settings)
    verifier = verifier or TokenVerifier(
        settings.identity_issuer, settings.audience, clock, allow_http=settings.environment == "development"
    )
    application = Application("registry", settings, clock, verifier=verifier)
    application.add_servicer(
        registry_pb2_grpc.add_RegistryServiceServicer_to_server,
        RegistryRpc(recorder, pool, clock, credentials),
        SERVICE,
    )
    catalogue = CatalogueIndex(recorder.projection, recorder.frameworks)
    application.mount_http(build_pages(recorder, clock.now, publisher, credentials, catalogue, settings.registry_uri))
    application.add_task("facts", recorder.run)
    application.add_task("heartbeat", Heartbeat(pool, clock, new_id, settings.heartbeat_seconds).run)
    application.add_task("accreditation-credentials", credentials.run)
    application.add_task("catalogue", lambda: repeat("catalogue", catalogue.follow, clock, FOLLOW_SECONDS))
    application.add_task("relay", Relay(pool, kafka, clock).run)
    application.add_task("outbox-watch", OutboxWatch(pool, clock).run)

    application.add_task("due", DueWatch(recorder.projection, lambda: recorder.read, clock).run)

    async def facts_ready() -> str | None:
        try:
            recorder.as_of()
        except VitneError as error:
            return error.message
        return None

    application.add_readiness("facts", facts_ready)
    return application
