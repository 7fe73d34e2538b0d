"""Where the parts of an embedded stack are, for :mod:`vitne.inspection`."""

from __future__ import annotations

from collections.abc import Sequence

from vitne.audit.snapshots import IssuedAnswer, StatusAnswer, WorldSnapshot
from vitne.dev.stack import STATUS_BASE, Stack
from vitne.inspection import installation
from vitne.inspection.installation import Installation


def installation_of(stack: Stack) -> Installation:
    """The stack as an installation to be looked into."""
    return Installation(
        issuer=stack.dsn("issuer"),
        ledger=stack.dsn("ledger"),
        registry=stack.dsn("registry"),
        portals={stack.cases.hub: stack.dsn("portal")},
        kafka=stack.kafka_settings(),
        lists_served_at={STATUS_BASE: f"{stack.http_url('ledger')}/"},
        lists_trust=stack.trust,
    )


async def observe(
    stack: Stack, issued: Sequence[IssuedAnswer] = (), changed: Sequence[StatusAnswer] = ()
) -> WorldSnapshot:
    """Everything that the stack holds, and what its callers were answered; see :mod:`vitne.inspection.installation`."""
    return await installation.observe(installation_of(stack), issued, changed)
