"""``python -m services.portal register``: learners who did not ask for it, on a recorded legal ground.

Whom to register is read from the standard input, and is told to nobody but the issuer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import grpc
import msgspec

from services.portal.registering import registered
from services.portal.sealing import PortalKeys
from services.portal.store import Store
from vitne.clock import Clock
from vitne.errors import Unavailable, VitneError
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId, UuidFactory
from vitne.runtime.status import error_from_rpc
from vitne_api.issuer.v1 import issuer_pb2


@dataclass(slots=True)
class Outcome:
    """What came of a list.

    Attributes:
        registered: how many learners are registered now.
        refused: by number of the line, from 1, the stable reason; never whom it was about. Where the issuer does not
            answer that line is the last: those after it were not tried.
    """

    registered: int = 0
    refused: dict[int, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


async def register_all(
    lines: Iterable[str], ground: UUID, done: Outcome, *, issuer: Any, store: Store, keys: PortalKeys, clock: Clock
) -> None:
    """Register the learner of each line, a Norwegian national identity number; repeated, it changes nothing.

    Args:
        lines: of the input; empty ones are passed over.
        ground: id of the legal ground, granted to this hub.
        done: is told of each line as it is done, so that it says what was done by then if an outage ends this.
        issuer: stub of the issuer's service.
        store: what the portal keeps.
        keys: what a learner is found by.
        clock: for the request ids.
    """
    new_id = UuidFactory(clock)
    for number, line in enumerate(lines, 1):
        if not (value := line.strip()):
            continue
        try:
            who = LearnerId.parse(NORWEGIAN_NATIONAL_ID, value)
            answer = await _register(issuer, ground, who, str(new_id()))
        except VitneError as error:
            done.refused[number] = error.reason
            if isinstance(error, Unavailable):
                return
            continue
        await registered(store, keys.lookup(who), answer, clock.now())
        done.registered += 1


async def _register(issuer: Any, ground: UUID, who: LearnerId, request_id: str) -> issuer_pb2.RegisterLearnerResponse:
    named = issuer_pb2.OnLegalGround(ground_id=str(ground), scheme=who.scheme, value=who.value)
    request = issuer_pb2.RegisterLearnerRequest(request_id=request_id, legal_ground=named)
    try:
        answer: issuer_pb2.RegisterLearnerResponse = await issuer.RegisterLearner(request)
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
    return answer
