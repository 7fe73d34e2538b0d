"""Everything that any service measures: loaded, and found by name."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry

import services.issuer.metrics as issuer
import services.ledger.metrics as ledger
import services.portal.metrics as portal
import services.prober.metrics as prober
import services.registry.metrics as registry
import services.verifier.metrics as verifier
import vitne.messaging.metrics as messaging
import vitne.runtime.metrics as runtime
from vitne.metrics import REGISTRY, Counter, Declaration, Gauge, Histogram

#: One for each layer that measures.
MODULES: Final = (issuer, ledger, portal, prober, registry, verifier, messaging, runtime)
DECLARED: Final[dict[str, Declaration]] = {
    one.declaration.name: one.declaration
    for module in MODULES
    for one in vars(module).values()
    if isinstance(one, Counter | Gauge | Histogram)
}


def samples(name: str, process: CollectorRegistry = REGISTRY) -> dict[tuple[str, ...], float]:
    """What a process shows under a name of the page, by the values of the labels in their order."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in process.collect()
        for sample in family.samples
        if sample.name == name
    }
