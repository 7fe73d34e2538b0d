"""Variables that look like settings and are none: a misspelt one would be passed over in silence.

They are told and not refused: an environment that several services share, or that is of the release after the one to
which an installation goes back, has names that one of them does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from vitne.runtime.settings import PREFIX, CommonSettings

#: What the services have beside :class:`CommonSettings`, all of them together: an installation may have one environment
#: for several. A test holds this to their settings.
_OF_SERVICES: Final = """
    achievement achievement_version allow certificates changes_told_together daily_quota daily_quotas due_lead_days
    emrex_clients_file emrex_providers_file feide_acr feide_client_id feide_issuer feide_number_claim feide_scope
    feide_secret_file heartbeat_seconds hub hub_client_id hub_client_key_file hub_registration_ends hubs
    interval_seconds issuer_address issuer_audience issuer_dsn learner learner_client_id learner_issuer
    learner_keys_connections learner_keys_dsn lease_block lease_low_water ledger_address ledger_audience ledger_dsn
    list_lifetime_seconds list_size list_ttl_seconds lists_served_at log_memory_file log_origin log_policy_file log_url
    part_grace_days portals public_url publication_interval_seconds publish_interval_seconds refresh_seconds
    registry_address registry_audience registry_dsn registry_key registry_staleness_seconds registry_uri
    sequence_interval_seconds session_seconds standings status_base_url step_seconds storage storage_key_id
    storage_region storage_secret_file trust_anchors trust_list_refresh_seconds trust_list_url verifier_address
    verifier_source verifier_url webhook_parallel webhook_parallel_endpoint webhook_ports webhook_retention_days
    webhook_schedule_scale webhook_secret_overlap_hours witness_interval_seconds witness_quorum witnesses x5c
"""
#: What a shell beside the embedded stack has (``. .vitne/up/environment``), and what make and the tests go by.
_OF_SHELLS: Final = """
    allow_rule authority authority_client authority_key_file channel_ca_file fault_seed home hub_client hub_key_file
    hub_topic identity_url issuer issuer_metrics_url issuer_url kafka ledger ledger_metrics_url ledger_url log_policy
    oracle_graphs portal_metrics_url portal_url provider provider_client provider_key_file registry
    registry_metrics_url registry_url subscriber_dsn test_crds test_kafka test_kills verifier verifier_metrics_url
"""
SERVICES: Final = frozenset(_OF_SERVICES.split())
BESIDE: Final = frozenset(_OF_SHELLS.split())
#: How much alike two names are that may be meant for each other, as :mod:`difflib` counts it.
_ALIKE: Final = 0.8


def unknown_settings(kind: type[CommonSettings], environment: Iterable[str]) -> Iterator[str]:
    """A line for each variable with the prefix of settings that no service knows; never its value.

    Args:
        kind: the settings of the process, which has them from variables of any case.
        environment: the names of its variables.
    """
    own = {*kind.model_fields}
    known = own | {*CommonSettings.model_fields} | SERVICES | BESIDE
    for name in sorted(environment):
        field = name.upper().removeprefix(PREFIX).lower()
        if not name.upper().startswith(PREFIX) or field in known:
            continue
        # One that this service goes by, rather than one of another's.
        near = get_close_matches(field, own, 1, _ALIKE) or get_close_matches(field, known, 1, _ALIKE)
        meant = f"write {PREFIX}{near[0].upper()} if that is meant, or" if near else "--help names all settings; else"
        yield f"{name}: ignored: no setting is called that; remedy: {meant} take it away"
