"""Puts the issuer's parts together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError

from services.issuer.acts import LearnerActs
from services.issuer.archive import Archive
from services.issuer.artefacts import Artefacts
from services.issuer.bulk_statuses import BulkStatuses
from services.issuer.certificates import TokenCertificates
from services.issuer.crypto import INDEX_KEY, WRAPPING_KEY, IndexKey
from services.issuer.effects import Effects, EffectTeller
from services.issuer.erasure import Erasures
from services.issuer.events import SOURCE, Events
from services.issuer.flags import Flags
from services.issuer.hubs import Hubs
from services.issuer.issuance import Road
from services.issuer.key_store import LearnerKeyStore, PostgresKeyStore
from services.issuer.learners import Learners
from services.issuer.leases import LeaseKeeper
from services.issuer.legal_grounds import SERVICE as LEGAL_GROUND_SERVICE
from services.issuer.legal_grounds import GroundEndings, LegalGroundRpc
from services.issuer.notices import Notices
from services.issuer.origins import Origins
from services.issuer.parts import Parts
from services.issuer.projection import RegistryView, folder
from services.issuer.quota import Quota
from services.issuer.reconcile import Reconciled, Reconciliation
from services.issuer.renditions import Renditions
from services.issuer.revocation import Revocations
from services.issuer.rights import SERVICE as RIGHTS_SERVICE
from services.issuer.rights import RightsRpc
from services.issuer.rpc import SERVICE, IssuerRpc
from services.issuer.settings import IssuerSettings
from services.issuer.signing import SigningKeys
from services.issuer.statuses import CONSUMER, OPTIONS, Statuses
from services.issuer.subscriptions import SERVICE as SUBSCRIPTION_SERVICE
from services.issuer.subscriptions import SubscriptionChanges, SubscriptionRpc
from services.issuer.webhooks.assembly import Webhooks
from services.issuer.webhooks.endpoints import SERVICE as WEBHOOK_SERVICE
from services.issuer.webhooks.notices import InstitutionNotices
from services.issuer.webhooks.settings import WebhookSettings
from services.issuer.wrapping import WrappingKey
from vitne.accreditation import Projection
from vitne.clock import Clock, SystemClock
from vitne.errors import FailedPrecondition, Unavailable, VitneError
from vitne.frameworks import Frameworks, Standing
from vitne.identifiers import OrganisationId, UuidFactory
from vitne.messaging import outbox, topics
from vitne.messaging.consumer import Consumer
from vitne.messaging.follower import TopicFollower
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.reading import read_messages
from vitne.messaging.relay import OutboxWatch, Relay
from vitne.runtime import idempotency
from vitne.runtime.application import Application
from vitne.runtime.certificates import CertificateFiles, DevelopmentCertificates
from vitne.runtime.channel import open_channel
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.database import open_pool
from vitne.runtime.identity import ClientKey, IdTokenVerifier, TokenSource, TokenVerifier
from vitne.runtime.metrics import watch_projection
from vitne.runtime.migrations import Migrations
from vitne.runtime.operations import add_operations
from vitne.runtime.secret_files import read_secret
from vitne.runtime.settings import PREFIX, load
from vitne.runtime.tls import client_context
from vitne_api.issuer.v1 import issuer_pb2_grpc as issuer_grpc
from vitne_api.issuer.v1 import rights_pb2_grpc as rights_grpc
from vitne_api.issuer.v1 import subscription_pb2_grpc as subscription_grpc
from vitne_api.issuer.v1 import webhooks_pb2_grpc as webhooks_grpc
from vitne_api.ledger.v1 import ledger_pb2_grpc as ledger_grpc

_FOLDER: Final = Path(__file__).parent
#: What ``migrate`` applies to the issuer's database, in order.
MIGRATIONS: Final = (
    idempotency.MIGRATIONS,
    Migrations("messaging", Path(outbox.__file__).parent / "sql"),
    Migrations("issuer", _FOLDER / "sql"),
)
#: What ``migrate`` applies to the database of learners' keys.
KEY_MIGRATIONS: Final = (Migrations("learner_keys", _FOLDER / "sql_keys"),)
#: Settings without which the issuer can't serve, though it can migrate.
REQUIRED: Final = (
    "database_dsn",
    "learner_keys_dsn",
    "ledger_address",
    "ledger_audience",
    "kafka_bootstrap_servers",
    "identity_issuer",
    "audience",
)
#: What the issuer's client may do at the ledger.
LEDGER_SCOPES: Final = ("vitne:ledger.lease", "vitne:ledger.status")


@dataclass(frozen=True, slots=True)
class Issuer:
    """The issuer's parts, put together, with nothing running yet."""

    rpc: IssuerRpc
    rights: RightsRpc
    erasures: Erasures
    subscriptions: SubscriptionRpc
    subscription_changes: SubscriptionChanges
    legal_grounds: LegalGroundRpc
    ground_endings: GroundEndings
    registry: RegistryView
    keys: LearnerKeyStore
    unary: Road
    bulk: Road
    artefacts: Artefacts
    leases: LeaseKeeper
    statuses: Statuses
    flags: Flags
    effects: EffectTeller
    webhooks: Webhooks

    @classmethod
    def assemble(
        cls,
        settings: IssuerSettings,
        clock: Clock,
        *,
        pool: Any,
        keys_pool: Any,
        ledger: Any,
        projection: Projection,
        verifier: IdTokenVerifier,
        webhook_settings: WebhookSettings | None = None,
    ) -> Issuer:
        """Put the parts together.

        Args:
            settings: of the issuer.
            clock: tells the time.
            pool: the issuer's database.
            keys_pool: the database of learners' keys.
            ledger: stub of the ledger.
            projection: of the registry, folded by whoever calls this.
            verifier: of learners' ID tokens.
            webhook_settings: of the webhooks; read from the environment unless given.

        Raises:
            FailedPrecondition: a key file is missing, exposed or malformed.
        """
        new_id = UuidFactory(clock)
        development = settings.environment == "development"
        index = IndexKey(read_secret(settings.state_dir, INDEX_KEY, create=development))
        wrapping = WrappingKey(read_secret(settings.state_dir, WRAPPING_KEY, create=development))
        keys: LearnerKeyStore = PostgresKeyStore(keys_pool, wrapping, clock)
        archive = Archive(keys_pool, wrapping, clock)
        learners = Learners(keys, index, clock, new_id)
        custody = FileKeyCustody(settings.state_dir)
        signing = SigningKeys(pool, custody, clock)
        frameworks = Frameworks.load(settings.standings)
        registry = RegistryView(projection, frameworks, clock, settings.registry_staleness)
        events = Events(clock, new_id, registration_ends=settings.hub_registration_ends)
        notices = InstitutionNotices(learners, events, clock, new_id)
        parts = Parts(pool, keys, index, settings.part_grace, clock)
        certificates = (
            DevelopmentCertificates(custody, clock)
            if development and settings.certificates is None
            else CertificateFiles(settings.certificates)
        )
        on_tokens = TokenCertificates(certificates, settings.x5c, clock)
        unary, bulk = (
            Road(
                pool,
                registry=registry,
                learners=learners,
                keys=keys,
                signing=signing,
                certificates=on_tokens,
                events=events,
                notices=notices,
                index=index,
                parts=parts,
                clock=clock,
                new_id=new_id,
                overlapping=many,
            )
            for many in (False, True)
        )
        statuses = Statuses(pool, ledger, notices, parts, clock)
        acts = LearnerActs(verifier, settings.hubs)
        artefacts = Artefacts(pool, events, Origins(index))
        renditions = Renditions(
            pool,
            artefacts=artefacts,
            registry=registry,
            signing=signing,
            certificates=certificates,
            on_tokens=on_tokens,
            clock=clock,
            new_id=new_id,
        )
        hubs = Hubs(
            pool,
            learners=learners,
            keys=keys,
            notices=notices,
            renditions=renditions,
            acts=acts,
            index=index,
            clock=clock,
            new_id=new_id,
        )
        leases = LeaseKeeper(
            pool,
            ledger,
            registry.countries,
            clock,
            new_id,
            block=settings.lease_block,
            low_water=settings.lease_low_water,
        )
        flags = Flags(pool, projection, registry, settings.registry_staleness, parts=parts, clock=clock)
        effects = Effects(flags, projection, registry, frameworks, clock)
        teller = EffectTeller(pool, flags, events, projection, staleness=settings.registry_staleness, clock=clock)
        quota = Quota(pool, clock, default=settings.daily_quota, own=settings.daily_quotas)
        erasures = Erasures(pool, keys=keys, notices=notices, renditions=renditions, clock=clock)
        rights = RightsRpc(
            pool,
            acts=acts,
            learners=learners,
            erasures=erasures,
            archive=archive,
            renditions=renditions,
            index=index,
            clock=clock,
        )
        subscriptions = SubscriptionRpc(pool, acts=acts, frameworks=Frameworks.load(Standing), clock=clock)
        changes = SubscriptionChanges(pool, keys=keys, learners=learners, notices=notices, clock=clock)
        rpc = IssuerRpc(
            pool,
            archive=archive,
            renditions=renditions,
            flags=flags,
            effects=effects,
            revocations=Revocations(ledger, flags, projection, registry),
            parts=parts,
            quota=quota,
            unary=unary,
            bulk=bulk,
            signing=signing,
            keys=keys,
            statuses=statuses,
            bulk_statuses=BulkStatuses(pool, ledger, statuses),
            hubs=hubs,
            clock=clock,
        )
        webhooks = Webhooks.assemble(
            webhook_settings or load(WebhookSettings),
            clock,
            pool=pool,
            state_dir=settings.state_dir,
            development=development,
            index=index,
            new_id=new_id,
        )
        return cls(
            rpc,
            rights,
            erasures,
            subscriptions,
            changes,
            LegalGroundRpc(pool, acts=acts, clock=clock, new_id=new_id),
            GroundEndings(pool, hubs, clock),
            registry,
            keys,
            unary,
            bulk,
            artefacts,
            leases,
            statuses,
            flags,
            teller,
            webhooks,
        )


async def serve(settings: IssuerSettings) -> None:
    """Run the issuer until it is told to stop.

    Raises:
        FailedPrecondition: ``SETTING_MISSING``, ``NO_CLIENT``, or a key file is missing, exposed or malformed.
    """
    for name in REQUIRED:
        if not getattr(settings, name):
            raise FailedPrecondition("SETTING_MISSING", f"{PREFIX}{name.upper()} must be set")
    clock = SystemClock()
    pool = await open_pool(settings.database_dsn, max_size=settings.database_connections, name="issuer")
    try:
        keys_pool = await open_pool(
            settings.learner_keys_dsn, max_size=settings.learner_keys_connections, name="issuer-keys"
        )
        try:
            channel = open_channel(settings.ledger_address, _ledger_tokens(settings, clock), tls=settings.channel_tls)
            try:
                await build(settings, clock, pool=pool, keys_pool=keys_pool, channel=channel).run()
            finally:
                await channel.close()
        finally:
            await keys_pool.close()
    finally:
        await pool.close()


async def reconcile(settings: IssuerSettings) -> Reconciled:
    """Put a database that was restored to an earlier instant in step; no issuer may run meanwhile.

    Raises:
        FailedPrecondition: ``SERVICE_RUNNING``, or a key file is missing, exposed or malformed.
        Unavailable: a database or the cluster is out of reach.
    """
    clock = SystemClock()
    new_id = UuidFactory(clock)
    kafka = _kafka(settings)
    try:
        leaves = await read_messages(kafka, topics.ISSUER_LEAVES, SOURCE)
        effects = await read_messages(kafka, topics.ISSUER_EFFECTS, SOURCE)
        hubs = {
            hub: await read_messages(kafka, topics.hub_topic(OrganisationId.parse(hub)), SOURCE)
            for hub in settings.hubs
        }
    except KafkaError as error:
        raise Unavailable("KAFKA_UNAVAILABLE", f"the topics can't be read: {type(error).__name__}") from error
    pool = await open_pool(settings.database_dsn, max_size=2, name="issuer-reconcile")
    try:
        keys_pool = await open_pool(settings.learner_keys_dsn, max_size=2, name="issuer-reconcile-keys")
        try:
            index = IndexKey(read_secret(settings.state_dir, INDEX_KEY, create=False))
            keys = PostgresKeyStore(
                keys_pool, WrappingKey(read_secret(settings.state_dir, WRAPPING_KEY, create=False)), clock
            )
            learners = Learners(keys, index, clock, new_id)
            work = Reconciliation(
                pool,
                keys=keys,
                learners=learners,
                notices=Notices(learners, Events(clock, new_id, registration_ends=settings.hub_registration_ends)),
                origins=Origins(index),
                clock=clock,
                new_id=new_id,
            )
            return await work.run(leaves, hubs, effects)
        finally:
            await keys_pool.close()
    finally:
        await pool.close()


def _kafka(settings: IssuerSettings) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id="issuer",
        idempotence=settings.kafka_idempotence,
        groups=settings.kafka_groups,
        tls=client_context(settings.kafka_tls),
    )


def build(settings: IssuerSettings, clock: Clock, *, pool: Any, keys_pool: Any, channel: Any) -> Application:
    """The issuer's process: RPCs, and what runs beside them."""
    plain_http = settings.environment == "development"
    projection = Projection()
    watch_projection(projection, clock)
    issuer = Issuer.assemble(
        settings,
        clock,
        pool=pool,
        keys_pool=keys_pool,
        ledger=ledger_grpc.LedgerServiceStub(channel),
        projection=projection,
        verifier=IdTokenVerifier(settings.learner_issuer or settings.identity_issuer, clock, allow_http=plain_http),
    )
    kafka = _kafka(settings)
    follower = TopicFollower(
        (topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT), kafka, folder(projection, clock), clock, name="issuer"
    )
    access = TokenVerifier(settings.identity_issuer, settings.audience, clock, allow_http=plain_http)

    async def lease() -> None:
        await follower.caught_up.wait()  # Before, the countries are not known.
        await issuer.leases.run()

    application = Application("issuer", settings, clock, verifier=access)
    application.add_servicer(
        issuer_grpc.add_IssuerServiceServicer_to_server,
        issuer.rpc,
        SERVICE,
        checks_own_streams=["IssueBatch", "ChangeStatuses"],
    )
    application.add_servicer(rights_grpc.add_RightsServiceServicer_to_server, issuer.rights, RIGHTS_SERVICE)
    application.add_servicer(
        subscription_grpc.add_SubscriptionServiceServicer_to_server, issuer.subscriptions, SUBSCRIPTION_SERVICE
    )
    application.add_servicer(
        subscription_grpc.add_LegalGroundServiceServicer_to_server, issuer.legal_grounds, LEGAL_GROUND_SERVICE
    )
    application.add_servicer(webhooks_grpc.add_WebhookServiceServicer_to_server, issuer.webhooks.rpc, WEBHOOK_SERVICE)
    application.add_task("registry", follower.run)
    application.add_task("flags", issuer.flags.run)
    application.add_task("effects", issuer.effects.run)
    application.add_task("leases", lease)
    application.add_task("completion", issuer.unary.run)
    application.add_task("erasures", issuer.erasures.run)
    application.add_task("subscriptions", issuer.subscription_changes.run)
    application.add_task("legal grounds", issuer.ground_endings.run)
    add_operations(application, pool, clock, [CONSUMER])
    application.add_task("webhooks", issuer.webhooks.dispatcher.run)
    application.add_task("relay", Relay(pool, kafka, clock).run)
    application.add_task("outbox-watch", OutboxWatch(pool, clock).run)
    application.add_task(
        "statuses",
        Consumer(
            CONSUMER, [topics.LEDGER_STATUS], pool, issuer.statuses.handle, settings=kafka, clock=clock, options=OPTIONS
        ).run,
    )

    async def registry_ready() -> str | None:
        # Not whether it is fresh: while the registry is down issuing is refused, and all else goes on.
        return None if follower.caught_up.is_set() else "the registry's topics are not read yet"

    async def leases_ready() -> str | None:
        # Not whether there are any: while the ledger is down all else goes on.
        return None if issuer.leases.looked else "status indexes were not looked for yet"

    async def databases_ready() -> str | None:
        try:
            await pool.execute("SELECT 1")
            await issuer.keys.ready()
        except VitneError as error:
            return error.message
        return None

    application.add_readiness("registry", registry_ready)
    application.add_readiness("databases", databases_ready)
    application.add_readiness("leases", leases_ready)
    application.on_close(issuer.artefacts.close)
    application.on_close(issuer.bulk.close)
    application.on_close(issuer.unary.close)
    return application


def _ledger_tokens(settings: IssuerSettings, clock: Clock) -> TokenSource:
    """Access tokens for the ledger.

    Raises:
        FailedPrecondition: ``NO_CLIENT``.
    """
    if not settings.client_id or settings.client_key_file is None:
        raise FailedPrecondition(
            "NO_CLIENT",
            "the issuer has no client at the token issuer",
            remedy="set VITNE_CLIENT_ID and VITNE_CLIENT_KEY_FILE",
        )
    return TokenSource(
        settings.identity_issuer,
        ClientKey.read(settings.client_id, settings.client_key_file),
        LEDGER_SCOPES,
        clock,
        resource=settings.ledger_audience,
        allow_http=settings.environment == "development",
    )
