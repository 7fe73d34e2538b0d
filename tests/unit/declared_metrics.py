"""Everything that any service measures: loaded, and found by name."""

from __future__ import annotations

from typing import Final

import services.issuer.metrics as issuer
import services.ledger.metrics as ledger
import services.portal.metrics as portal
import services.prober.metrics as prober
import services.registry.metrics as registry
import services.verifier.metrics as verifier
import vitne.messaging.metrics as messaging
import vitne.runtime.metrics as runtime
from vitne.metrics import Declaration, declared

#: One for each layer that measures.
MODULES: Final = (issuer, ledger, portal, prober, registry, verifier, messaging, runtime)
DECLARED: Final[dict[str, Declaration]] = {one.declaration.name: one.declaration for one in declared()}
