"""Two ways to know the registry: its topics, or its signed trust list over HTTP."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from vitne.accreditation import Projection, instant, read_trust_list
from vitne.accreditation.trust_list import MAX_LENGTH
from vitne.clock import Clock
from vitne.errors import DataLoss, InvalidArgument, VitneError
from vitne.messaging import topics
from vitne.messaging.follower import TopicFollower
from vitne.messaging.headers import Message
from vitne.messaging.kafka import KafkaSettings
from vitne.runtime.fetch import AllowRule, Fetcher
from vitne_api.events.v1 import events_pb2

#: Whole time of fetching a trust list, in seconds: it may have megabytes.
TRUST_LIST_TIMEOUT_SECONDS: Final = 20.0

_log = logging.getLogger(__name__)


def follow_registry(projection: Projection, kafka: KafkaSettings, clock: Clock) -> TopicFollower:
    """A follower that folds the registry's facts and heartbeat into a projection."""

    def apply(message: Message) -> None:
        if message.topic == topics.REGISTRY_HEARTBEAT:
            beat = events_pb2.RegistryHeartbeat.FromString(message.value)
            projection.heartbeat(beat.registry_revision, instant(beat.at), clock.now())
        else:
            projection.fold(events_pb2.RegistryFactRecorded.FromString(message.value).fact)

    followed = (topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT)
    return TopicFollower(followed, kafka, apply, clock, name="verifier")


class TrustListSource:
    """Keeps a projection up with the registry's signed list, of which one key's thumbprint is pinned.

    Args:
        url: of the list.
        key_id: RFC 7638 thumbprint of the key that signs it: all that has to be known before.
        issuer: the URI that the list must come from.
        projection: what to fold into.
        clock: tells the present.
        development: whether plain http to loopback is allowed.
    """

    def __init__(
        self, url: str, key_id: str, issuer: str, projection: Projection, clock: Clock, *, development: bool
    ) -> None:
        # The list's own address is the operator's to choose: the one place its allow-rule covers.
        parts = urlsplit(url)
        if not parts.hostname or not parts.path.strip("/"):
            raise InvalidArgument(
                "BAD_URL",
                "the trust list's address is no absolute URL",
                field="trust_list",
                rule="https://host/path",
                remedy="give the address at which the registry publishes its list",
            )
        folder = url[: url.rfind("/") + 1]
        self._url = url
        self._key_id = key_id
        self._issuer = issuer
        self._projection = projection
        self._clock = clock
        self._fetcher = Fetcher(
            [AllowRule.parse(folder)],
            development=development,
            max_bytes=MAX_LENGTH,
            timeout_seconds=TRUST_LIST_TIMEOUT_SECONDS,
        )

    async def refresh(self) -> None:
        """Fetch the list, check it, and fold it.

        Raises:
            Unavailable: ``FETCH_FAILED`` and its kin, ``TRUST_LIST_EXPIRED``.
            InvalidArgument: ``BAD_TRUST_LIST``, or as :func:`~vitne.credentials.jose.parse_jws`.
            DataLoss: as :meth:`~vitne.accreditation.Projection.adopt`.
        """
        fetched = await self._fetcher.fetch(self._url)
        self.take(fetched.body.decode("ascii", "replace"), self._clock.now())

    def take(self, compact: str, now: datetime) -> None:
        """Check a list and fold it; raises as :meth:`refresh`."""
        read_trust_list(compact, pinned=self._key_id, issuer=self._issuer, now=now).fold_into(self._projection)

    async def run(self, every_seconds: float) -> None:
        """Refresh for ever. A failure is logged: the projection then ages, and past its bound says nothing."""
        while True:
            try:
                await self.refresh()
            except DataLoss:
                raise  # the registry contradicts itself: an operator is needed
            except VitneError as error:
                _log.warning("the registry's trust list was not taken: %s", error)
            await self._clock.sleep(every_seconds)

    async def close(self) -> None:
        """Close connections."""
        await self._fetcher.close()
