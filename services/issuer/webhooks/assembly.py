"""Puts the webhooks' parts together."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp.abc import AbstractResolver

from services.issuer.crypto import IndexKey
from services.issuer.webhooks.address import Guard
from services.issuer.webhooks.dispatcher import Dispatcher, Limits
from services.issuer.webhooks.endpoints import WEBHOOK_KEY, Endpoints, Seals
from services.issuer.webhooks.rpc import WebhookRpc
from services.issuer.webhooks.schedule import Schedule
from services.issuer.webhooks.sender import TIMEOUT_SECONDS, Sender
from services.issuer.webhooks.settings import WebhookSettings
from vitne.clock import Clock
from vitne.runtime.secret_files import read_secret


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The webhooks' parts, with nothing running yet: what is asked for, and what sends."""

    rpc: WebhookRpc
    dispatcher: Dispatcher

    @classmethod
    def assemble(
        cls,
        settings: WebhookSettings,
        clock: Clock,
        *,
        pool: Any,
        state_dir: Path,
        development: bool,
        index: IndexKey,
        new_id: Callable[[], UUID],
        timeout_seconds: float = TIMEOUT_SECONDS,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Webhooks:
        """Put the parts together.

        Args:
            settings: of the webhooks.
            clock: tells the time.
            pool: the issuer's database.
            state_dir: the issuer's own folder, with the key file.
            development: whether this machine itself may be posted to.
            index: key of the keyed hashes.
            new_id: makes UUIDv7.
            timeout_seconds: whole time of an attempt.
            resolver: of host names; the system's own unless said otherwise.
            tls: how certificates are checked; against the system's authorities unless said otherwise.

        Raises:
            FailedPrecondition: the key file is missing, exposed or malformed.
        """
        seals = Seals(read_secret(state_dir, WEBHOOK_KEY, create=development))
        guard = Guard(frozenset(settings.webhook_ports), development)
        endpoints = Endpoints(
            pool,
            seals=seals,
            guard=guard,
            index=index,
            overlap=settings.webhook_secret_overlap,
            clock=clock,
            new_id=new_id,
        )
        sender = Sender(
            guard,
            clock,
            connections=settings.webhook_parallel,
            timeout_seconds=timeout_seconds,
            resolver=resolver,
            tls=tls,
        )
        dispatcher = Dispatcher(
            pool,
            sender=sender,
            seals=seals,
            schedule=Schedule(settings.webhook_schedule_scale),
            limits=Limits(settings.webhook_parallel, settings.webhook_parallel_endpoint, settings.webhook_retention),
            clock=clock,
            new_id=new_id,
        )
        return cls(WebhookRpc(endpoints), dispatcher)
