"""Puts the prober's parts together."""

from __future__ import annotations

from services.prober.road import Road, Round
from services.prober.rounds import Rounds
from services.prober.settings import ProberSettings
from services.prober.world import World
from vitne.clock import Clock, SystemClock
from vitne.identifiers import UuidFactory
from vitne.runtime.application import Application
from vitne.runtime.identity import TokenVerifier


async def serve(settings: ProberSettings) -> None:
    """Probe at the interval until told to stop."""
    clock = SystemClock()
    async with World(settings, clock) as world:
        await build(settings, world, clock).run()


async def once(settings: ProberSettings) -> Round:
    """Probe once."""
    clock = SystemClock()
    async with World(settings, clock) as world:
        return await rounds(settings, world, clock).once()


def rounds(settings: ProberSettings, world: World, clock: Clock) -> Rounds:
    """What runs the road."""
    return Rounds(Road(settings, world, clock, UuidFactory(clock)), clock, settings.interval_seconds)


def build(settings: ProberSettings, world: World, clock: Clock) -> Application:
    """The prober's process: probes of its own, metrics, and the rounds. It serves nothing else.

    That Vitne does not answer makes it no less ready: telling so is its work.
    """
    development = settings.environment == "development"
    verifier = TokenVerifier(settings.identity_issuer, settings.audience, clock, allow_http=development)
    application = Application("prober", settings, clock, verifier=verifier)
    application.add_task("rounds", rounds(settings, world, clock).run)
    return application
