"""Types of events, as the CloudEvents header ``ce_type`` has them; docs/events.md says what each holds."""

from __future__ import annotations

from typing import Final

#: A fact of the registry's (``vitne.events.v1.RegistryFactRecorded``).
REGISTRY_FACT: Final = "vitne.registry.fact.v1"
#: That the registry has said nothing newer (``RegistryHeartbeat``).
REGISTRY_HEARTBEAT: Final = "vitne.registry.heartbeat.v1"
#: A record for the log (``LogLeafSubmitted``).
LOG_LEAF: Final = "vitne.log.leaf.v1"
#: A status that changed (``StatusChanged``).
STATUS_CHANGED: Final = "vitne.ledger.status_changed.v1"
#: Statuses that changed together (``StatusesChanged``).
STATUSES_CHANGED: Final = "vitne.ledger.statuses_changed.v1"
#: A status list that was published (``StatusListPublished``).
LIST_PUBLISHED: Final = "vitne.ledger.list_published.v1"
#: Leaves that the log took in (``LogExtended``).
LOG_EXTENDED: Final = "vitne.ledger.log_extended.v1"
#: A notice to a hub (``HubNotice``).
HUB_NOTICE: Final = "vitne.hub.notice.v1"
#: What a change of an accreditation touches (``EffectsCounted``).
EFFECTS_COUNTED: Final = "vitne.issuer.effects_counted.v1"
#: A message that a consumer gave up.
DEAD_LETTER: Final = "vitne.dead_letter.v1"
