"""Institutions' events, written down where hubs' notices are made: in the transaction of the state.

Hubs' own notices are not made here: the database copies them out of the outbox (``sql/0002_webhooks.sql``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from services.issuer.events import Events
from services.issuer.learners import Learners
from services.issuer.notices import Issued, Notices
from services.issuer.store import Holding
from services.issuer.webhooks import store
from services.issuer.webhooks.payload import TYPES, Kind, credential_value
from vitne.clock import Clock
from vitne.messaging import outbox
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks


class InstitutionNotices(Notices):
    """Works out what hubs are to be told, and writes down what institutions are to be told.

    The credential's row is locked by whoever calls, so a credential's events are numbered in the order in which
    they happened.

    Args:
        learners: opens learners' secrets.
        events: makes hubs' events.
        clock: for the events' time.
        new_id: makes their UUIDv7.
    """

    def __init__(self, learners: Learners, events: Events, clock: Clock, new_id: Callable[[], UUID]) -> None:
        super().__init__(learners, events)
        self._clock = clock
        self._new_id = new_id

    async def issued(self, connection: Any, issued: Sequence[Issued]) -> list[outbox.Event]:
        told = [(item.provider, item.credential) for item in issued]
        await self._write(connection, webhooks.WEBHOOK_EVENT_KIND_CREDENTIAL_ISSUED, told)
        return await super().issued(connection, issued)

    async def status_changed(self, connection: Any, changed: Sequence[tuple[Holding, str]]) -> list[outbox.Event]:
        told = [(holding.provider, holding.id) for holding, _ in changed]
        await self._write(connection, webhooks.WEBHOOK_EVENT_KIND_CREDENTIAL_STATUS_CHANGED, told)
        return await super().status_changed(connection, changed)

    async def _write(self, connection: Any, kind: Kind, told: Sequence[tuple[str, UUID]]) -> None:
        listening = await store.listening(connection, {provider for provider, _ in told})
        if not listening:  # As most have none: what nobody is told need not be put together.
            return
        now = self._clock.now()
        await store.write(
            connection,
            [
                store.Told(self._new_id(), provider, str(credential), TYPES[kind], now, credential_value(credential))
                for provider, credential in told
                if provider in listening
            ],
        )
