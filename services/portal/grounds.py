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
from vitne.errors import VitneError
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId, UuidFactory
from vitne.runtime.status import error_from_rpc
from vitne_api.issuer.v1 import issuer_pb2


@dataclass(slots=True)
class Outcome:
    """What came of a list.

    Attributes:
        registered: how many learners are registered now.
        refused: by number of the line, from 1, the stable reason; never whom it was about.
    """

    registered: int = 0
    refused: dict[int, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


async def register_all(
    lines: Iterable[str], ground: UUID, *, issuer: Any, store: Store, keys: PortalKeys, clock: Clock
) -> Outcome:
    """Register the learner of each line, a Norwegian national identity number; repeated, it changes nothing.

    Args:
        lines: of the input; empty ones are passed over.
        ground: id of the legal ground, granted to this hub.
        issuer: stub of the issuer's service.
        store: what the portal keeps.
        keys: what a learner is found by.
        clock: for the request ids.
    """
    done, new_id = Outcome(), UuidFactory(clock)
    for number, line in enumerate(lines, 1):
        if not (value := line.strip()):
            continue
        try:
            who = LearnerId.parse(NORWEGIAN_NATIONAL_ID, value)
            named = issuer_pb2.OnLegalGround(ground_id=str(ground), scheme=who.scheme, value=who.value)
            answer = await issuer.RegisterLearner(
                issuer_pb2.RegisterLearnerRequest(request_id=str(new_id()), legal_ground=named)
            )
        except VitneError as error:
            done.refused[number] = error.reason
            continue
        except grpc.aio.AioRpcError as error:
            done.refused[number] = error_from_rpc(error).reason
            continue
        await registered(store, keys.lookup(who), answer, clock.now())
        done.registered += 1
    return done
