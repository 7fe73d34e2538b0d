"""Puts the portal's parts together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from aiokafka.errors import KafkaError

from services.portal import employers, emrex, sharing, wallet
from services.portal.employers.store import Employers
from services.portal.emrex.assembly import Emrex
from services.portal.fetcher import Fetcher
from services.portal.grounds import Outcome, register_all
from services.portal.holdings import (
    Gathered,
    Holdings,
    Imported,
    LoggedInSessions,
    OfferedToWallets,
    SeenByEmployers,
    Shared,
)
from services.portal.notices import Notices
from services.portal.openid import OpenIdClient
from services.portal.providers import Feide, IdPorten
from services.portal.rebuild import Rebuilt
from services.portal.rebuild import rebuild as gather_again
from services.portal.reconcile import Reconciled
from services.portal.reconcile import reconcile as put_in_step
from services.portal.sealing import PortalKeys
from services.portal.sessions import Sessions
from services.portal.settings import PortalSettings
from services.portal.sharing.assembly import Sharing
from services.portal.sharing.store import Shares
from services.portal.store import Store
from services.portal.wallet.store import Offers
from services.portal.web.application import application, largest_body
from services.portal.web.site import Parts, site
from vitne.clock import Clock, SystemClock
from vitne.errors import Unavailable
from vitne.messaging import outbox
from vitne.messaging.consumer import Consumer
from vitne.messaging.hub_notices import ISSUER_SOURCE
from vitne.messaging.kafka import PROMPT_FETCH_MAX_WAIT_MS, KafkaSettings
from vitne.messaging.reading import read_messages
from vitne.messaging.relay import OutboxWatch, Relay
from vitne.messaging.topics import hub_topic
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.application import Application
from vitne.runtime.channel import open_channel
from vitne.runtime.database import open_pool
from vitne.runtime.identity import ClientKey, TokenSource, TokenVerifier
from vitne.runtime.migrations import Migrations
from vitne.runtime.operations import add_operations
from vitne.runtime.tls import client_context
from vitne_api.issuer.v1 import issuer_pb2_grpc, rights_pb2_grpc
from vitne_api.registry.v1 import registry_pb2_grpc
from vitne_api.verifier.v1 import verifier_pb2_grpc

#: What the portal asks for at the issuer of access tokens.
SCOPES: Final = ("vitne:hub.fetch", "vitne:hub.register", "vitne:hub.rights")
#: What it asks for to be told by the registry what credentials add up to.
REGISTRY_SCOPES: Final = ("vitne:registry.stacking",)
#: The consumer's name: its offsets are kept under it.
CONSUMER: Final = "portal"

#: What ``migrate`` applies, in order.
MIGRATIONS: Final = (
    Migrations("messaging", Path(outbox.__file__).parent / "sql"),
    Migrations("portal", Path(__file__).parent / "sql"),
    Migrations("sharing", Path(sharing.__file__).parent / "sql"),
    Migrations("employers", Path(employers.__file__).parent / "sql"),
    Migrations("emrex", Path(emrex.__file__).parent / "sql"),
    Migrations("wallet", Path(wallet.__file__).parent / "sql"),
    Migrations("portal_exports", Path(__file__).parent / "sql_exports"),
)


async def serve(settings: PortalSettings) -> None:
    """Run the portal until it is told to stop."""
    clock = SystemClock()
    pool = await open_pool(settings.database_dsn, max_size=settings.database_connections, name="portal")
    try:
        await build(settings, pool, clock).run()
    finally:
        await pool.close()


@dataclass(frozen=True, slots=True)
class Gathering:
    """What gathers credentials: the consumer of the hub's topic, and what fetches from the issuer."""

    consumer: Consumer
    fetcher: Fetcher
    issuer: Any
    channel: Any
    kafka: KafkaSettings


def gathering(settings: PortalSettings, pool: Any, store: Store, clock: Clock) -> Gathering:
    """Put together what gathers, with nothing running yet."""
    channel = _channel(settings, settings.issuer_address, SCOPES, settings.issuer_audience, clock)
    issuer = issuer_pb2_grpc.IssuerServiceStub(channel)
    fetcher = Fetcher(store, issuer, clock)
    kafka = _kafka(settings)
    consumer = Consumer(
        CONSUMER,
        (hub_topic(settings.hub_id),),
        pool,
        Notices(store, clock, fetcher.wake).handle,
        settings=kafka,
        clock=clock,
    )
    return Gathering(consumer, fetcher, issuer, channel, kafka)


async def rebuild(settings: PortalSettings) -> Rebuilt:
    """Gather everything again from nothing, whether the portal runs or not.

    Raises:
        Unavailable: ``REBUILD_STALLED``.
    """
    clock = SystemClock()
    pool = await open_pool(settings.database_dsn, max_size=settings.database_connections, name="portal-rebuild")
    try:
        store = Store(pool, PortalKeys.load(settings.state_dir, create=False))
        # All partitions, without waiting for a group: a portal that runs meanwhile is no matter, since the offset
        # in the database decides.
        parts = gathering(settings.model_copy(update={"kafka_groups": False}), pool, store, clock)
        try:
            return await gather_again(pool, parts.consumer, parts.fetcher, clock)
        finally:
            await parts.channel.close()
    finally:
        await pool.close()


async def register_on_ground(settings: PortalSettings, ground: UUID, lines: Iterable[str], done: Outcome) -> None:
    """Register the learners of a list on a legal ground, whether the portal runs or not; see :func:`.register_all`.

    Raises:
        Unavailable: the database is out of reach.
    """
    clock = SystemClock()
    pool = await open_pool(settings.database_dsn, max_size=1, name="portal-register")
    try:
        keys = PortalKeys.load(settings.state_dir, create=False)
        channel = _channel(settings, settings.issuer_address, SCOPES, settings.issuer_audience, clock)
        try:
            issuer = issuer_pb2_grpc.IssuerServiceStub(channel)
            store = Store(pool, keys)
            await register_all(lines, ground, done, issuer=issuer, store=store, keys=keys, clock=clock)
        finally:
            await channel.close()
    finally:
        await pool.close()


async def reconcile(settings: PortalSettings, *, keep_access: bool) -> Reconciled:
    """End registrations that the hub's topic says have ended, and what others may see; whether the portal runs or not.

    Args:
        settings: of the portal.
        keep_access: see :func:`services.portal.reconcile.reconcile`.

    Raises:
        Unavailable: database or cluster is out of reach.
    """
    clock = SystemClock()
    now = clock.now()
    try:
        notices = await read_messages(_kafka(settings), hub_topic(settings.hub_id), ISSUER_SOURCE)
    except KafkaError as error:
        raise Unavailable("KAFKA_UNAVAILABLE", f"the topic can't be read: {type(error).__name__}") from error
    pool = await open_pool(settings.database_dsn, max_size=1, name="portal-reconcile")
    try:
        return await put_in_step(pool, notices, now, keep_access=keep_access)
    finally:
        await pool.close()


def _kafka(settings: PortalSettings) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id="portal",
        idempotence=settings.kafka_idempotence,
        groups=settings.kafka_groups,
        fetch_max_wait_ms=PROMPT_FETCH_MAX_WAIT_MS,  # learners look for what they were just issued
        tls=client_context(settings.kafka_tls),
    )


def _channel(settings: PortalSettings, address: str, scopes: Sequence[str], audience: str, clock: Clock) -> Any:
    """A channel to another service, with the portal's own access tokens."""
    tokens = TokenSource(
        settings.identity_issuer,
        _client_key(settings, settings.client_id),
        scopes,
        clock,
        resource=audience or settings.audience,
        allow_http=settings.environment == "development",
    )
    return open_channel(address, tokens, tls=settings.channel_tls)


def _registry_channel(settings: PortalSettings, clock: Clock) -> Any | None:
    if not settings.registry_address:
        return None
    return _channel(settings, settings.registry_address, REGISTRY_SCOPES, settings.registry_audience, clock)


def _verifier_channel(settings: PortalSettings) -> Any | None:
    """To the verifier, as anybody asks it: with no access token."""
    return (
        open_channel(settings.verifier_address, None, tls=settings.channel_tls) if settings.verifier_address else None
    )


def _client_key(settings: PortalSettings, client_id: str) -> ClientKey:
    assert settings.client_key_file is not None  # noqa: S101  (the settings' own check, told to the type checker)
    return ClientKey.read(client_id, settings.client_key_file)


def _openid(settings: PortalSettings, clock: Clock) -> list[OpenIdClient]:
    """The portal's clients of OpenID providers, ID-porten first."""
    allow_http = settings.environment == "development"
    id_porten = IdPorten(
        settings.openid_issuer, _client_key(settings, settings.openid_client_id), clock, allow_http=allow_http
    )
    clients = [OpenIdClient(id_porten, f"{settings.public_url}/callback")]
    if settings.feide_issuer:
        feide = Feide(settings.feide(), clock, allow_http=allow_http)
        clients.append(OpenIdClient(feide, f"{settings.public_url}/callback/{feide.name}"))
    return clients


def build(settings: PortalSettings, pool: Any, clock: Clock) -> Application:
    """The portal's process: its pages, the consumer of its topic, and the fetcher."""
    development = settings.environment == "development"
    keys = PortalKeys.load(settings.state_dir, create=development)
    store = Store(pool, keys)
    parts = gathering(settings, pool, store, clock)
    registry = _registry_channel(settings, clock)
    verifier_channel = _verifier_channel(settings)
    consents = Employers(pool, store)
    offers = Offers(pool)
    exchange = Emrex.assemble(
        pool,
        keys,
        hub=settings.hub_id,
        public_url=settings.public_url,
        state_dir=settings.state_dir,
        certificates=settings.certificates,
        clients_file=settings.emrex_clients_file,
        providers_file=settings.emrex_providers_file,
        development=development,
        clock=clock,
    )
    shares = Shares(pool, keys)
    held = (
        Gathered(pool, store),
        Shared(pool, shares),
        SeenByEmployers(consents, clock),
        Imported(exchange.imports),
        OfferedToWallets(offers),
        LoggedInSessions(pool),
    )
    holdings = Holdings(pool, keys, held, clock)
    frame, routes = site(
        Parts(
            store=store,
            sessions=Sessions(pool),
            keys=keys,
            openid=_openid(settings, clock),
            issuer=parts.issuer,
            rights=rights_pb2_grpc.RightsServiceStub(parts.channel),
            holdings=holdings,
            registry=None if registry is None else registry_pb2_grpc.RegistryServiceStub(registry),
            clock=clock,
            public_url=settings.public_url,
            session=timedelta(seconds=settings.session_seconds),
            employers=consents,
            emrex=exchange,
            offers=offers,
            sharing=Sharing.assemble(
                pool,
                keys,
                None if verifier_channel is None else verifier_pb2_grpc.VerifierServiceStub(verifier_channel),
                hub=settings.hub_id,
                public_url=settings.public_url,
                state_dir=settings.state_dir,
                certificates=settings.certificates,
                development=development,
                clock=clock,
            ),
        )
    )
    verifier = TokenVerifier(settings.identity_issuer, settings.audience, clock, allow_http=development)
    process = Application("portal", settings, clock, verifier=verifier)
    process.mount_http(application(frame, routes), max_body=largest_body(routes))
    add_operations(process, pool, clock, [CONSUMER])
    process.add_task("notices", parts.consumer.run)
    process.add_task("fetcher", parts.fetcher.run)
    process.add_task("exports", holdings.run)
    process.add_task("recent-pages", frame.recent.run)
    process.add_task("imports", exchange.imports.run)
    process.add_task("shares", lambda: shares.run(clock))
    process.add_task("relay", Relay(pool, parts.kafka, clock).run)  # tells operators what could not be handled
    process.add_task("outbox-watch", OutboxWatch(pool, clock).run)

    async def database() -> str | None:
        try:
            await store.ready()
        except DATABASE_OUTAGES as error:
            return type(error).__name__
        return None

    process.add_readiness("database", database)
    process.on_close(parts.channel.close)
    if registry is not None:
        process.on_close(registry.close)
    if verifier_channel is not None:
        process.on_close(verifier_channel.close)
    return process
