"""Which calls a channel repeats by itself, how often, and when it stops repeating.

The contract says what is safe to repeat: ``idempotency_level`` of its methods. The
repeating is gRPC's own (gRFC A6), so that deadlines, cancellation and what a server
pushes back are honoured by the library: exponential back-off with jitter, and a
budget for all calls to a server, so that one that is down is not also flooded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import registry_pb2
from vitne_api.verifier.v1 import verifier_pb2

#: The services of the contract.
CONTRACT: Final[tuple[ServiceDescriptor, ...]] = tuple(
    service
    for module in (issuer_pb2, ledger_pb2, registry_pb2, verifier_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)

#: Tries of one call, the first included; gRPC allows no more than 5.
MAX_ATTEMPTS: Final = 5
#: Pauses between tries: 0.1, 0.2, 0.4 and 0.8 s, each more or less a fifth by chance. Together they
#: outlast the restart of a service; a deadline that passes before ends them.
INITIAL_BACKOFF: Final = "0.1s"
BACKOFF_MULTIPLIER: Final = 2
MAX_BACKOFF: Final = "1s"
#: The budget for a server: a try that fails takes one token, one that succeeds gives back a tenth. Repeating stops
#: while half of the tokens or more are gone: after 50 failures in a row at the latest, and when more than about a
#: tenth of all tries fail for long.
BUDGET_TOKENS: Final = 100
BUDGET_RATIO: Final = 0.1
#: Only what says "not now". A server that stops cancels what it has just accepted; a caller who cancels gets no answer,
#: so this one is not the caller's. RESOURCE_EXHAUSTED says "too much": to repeat that would make it worse.
RETRYABLE: Final = ("UNAVAILABLE", "CANCELLED")

_SAFE: Final = (MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT)


def is_repeatable(method: MethodDescriptor) -> bool:
    """Whether a channel may repeat a call of this method without being asked.

    Streams of requests never are, however idempotent: whoever has the items decides from where to resume.
    """
    return method.GetOptions().idempotency_level in _SAFE and not method.client_streaming


@cache
def service_config(services: tuple[ServiceDescriptor, ...]) -> str:
    """The service config, as JSON, for a channel to servers of these services (gRFC A6)."""
    names = [
        {"service": service.full_name, "method": method.name} for service in services for method in _repeatable(service)
    ]
    policy = {
        "maxAttempts": MAX_ATTEMPTS,
        "initialBackoff": INITIAL_BACKOFF,
        "maxBackoff": MAX_BACKOFF,
        "backoffMultiplier": BACKOFF_MULTIPLIER,
        "retryableStatusCodes": RETRYABLE,
    }
    return json.dumps(
        {
            "methodConfig": [{"name": names, "retryPolicy": policy}],
            "retryThrottling": {"maxTokens": BUDGET_TOKENS, "tokenRatio": BUDGET_RATIO},
        }
    )


def _repeatable(service: ServiceDescriptor) -> Iterable[MethodDescriptor]:
    return (method for method in service.methods if is_repeatable(method))
