"""Puts the verifier's parts together."""

from __future__ import annotations

from typing import Final

from services.verifier.evidence import Inclusions, LogProofs, StatusLists
from services.verifier.knowledge import Knowledge
from services.verifier.memory import KeptMemory
from services.verifier.pages import MAX_BODY, build_pages
from services.verifier.rpc import VerifierRpc
from services.verifier.settings import VerifierSettings
from services.verifier.sources import follow_registry
from services.verifier.verification import Verifier
from vitne.accreditation import Projection
from vitne.clock import Clock, SystemClock
from vitne.frameworks import Frameworks
from vitne.messaging.kafka import KafkaSettings
from vitne.runtime.application import Application
from vitne.runtime.channel import open_channel
from vitne.runtime.fetch import Fetcher
from vitne.runtime.identity import TokenVerifier
from vitne.runtime.metrics import watch_projection
from vitne.runtime.tls import client_context
from vitne.runtime.trust_list import TrustListSource, trust_list_fetcher
from vitne_api.ledger.v1 import ledger_pb2_grpc
from vitne_api.verifier.v1 import verifier_pb2_grpc

SERVICE: Final = "vitne.verifier.v1.VerifierService"


async def serve(settings: VerifierSettings) -> None:
    """Run the verifier until it is told to stop."""
    await build(settings, SystemClock()).run()


def build(settings: VerifierSettings, clock: Clock) -> Application:
    """The verifier's process: RPC, pages, and what keeps it up with the registry."""
    development = settings.environment == "development"
    tokens = None
    if settings.identity_issuer:
        tokens = TokenVerifier(settings.identity_issuer, settings.audience, clock, allow_http=development)
    application = Application("verifier", settings, clock, verifier=tokens)
    projection = Projection()
    watch_projection(projection, clock)
    knowledge = Knowledge(
        projection=projection,
        frameworks=Frameworks.load(settings.standings),
        operator=settings.operator or "",
        registry_key=settings.registry_key,
        bound=settings.registry_staleness,
        catalogue=settings.verifier_source == "topics",
        anchors=settings.anchors,
    )

    if settings.verifier_source == "topics":
        kafka = KafkaSettings(
            settings.kafka_bootstrap_servers, client_id="verifier", tls=client_context(settings.kafka_tls)
        )
        follower = follow_registry(projection, kafka, clock)
        application.add_task("registry", follower.run)

        async def caught_up() -> str | None:
            if follower.blocked:
                return f"the registry's topic holds what can't be handled: {sorted(set(follower.blocked.values()))}"
            return None if follower.caught_up.is_set() else "the registry's topics are still being read"

        application.add_readiness("registry", caught_up)
    else:
        lists = trust_list_fetcher(settings.trust_list_url, development=development)
        source = TrustListSource(
            settings.trust_list_url, settings.registry_key, settings.registry_uri, projection, clock, fetcher=lists
        )
        application.add_task("registry", lambda: source.run(settings.trust_list_refresh_seconds))
        application.on_close(lists.close)

        async def fetched() -> str | None:
            return None if source.taken else "the registry's trust list was not taken yet"

        application.add_readiness("registry", fetched)

    fetcher = Fetcher(settings.allow_rules, development=development)
    channel = open_channel(settings.ledger_address, None, tls=settings.channel_tls)
    application.on_close(fetcher.close)
    application.on_close(channel.close)
    policy = settings.log_policy
    proofs = LogProofs(ledger_pb2_grpc.LedgerServiceStub(channel), witnessed=policy is not None)
    log = Inclusions(proofs, knowledge, settings.log_origin, clock, policy, memory=settings.log_memory)
    if settings.log_memory_file:
        memory = KeptMemory(settings.log_memory_file, log, clock)
        application.add_task("log memory", memory.run)
        application.on_close(memory.keep)
    verifier = Verifier(knowledge, StatusLists(fetcher, knowledge, clock), log, clock)
    application.add_servicer(verifier_pb2_grpc.add_VerifierServiceServicer_to_server, VerifierRpc(verifier), SERVICE)
    application.mount_http(build_pages(verifier), max_body=MAX_BODY)
    return application
