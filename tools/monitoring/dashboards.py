"""What each role looks at: the operator, the authority, the institution."""

from __future__ import annotations

from collections.abc import Sequence

from tools.monitoring.grafana import Dashboard, Panel, Query, Row, quantiles
from tools.monitoring.slos import Slo


def dashboards(slos: Sequence[Slo]) -> tuple[Dashboard, ...]:
    """All of them."""
    return (_operator(slos), _authority(), _institution())


def _operator(slos: Sequence[Slo]) -> Dashboard:
    return Dashboard(
        uid="vitne-operator",
        title="Vitne: operator",
        description="Is it well, and if not, where? From the objectives down to the machinery.",
        rows=(
            Row("Objectives, of the last 30 days' budgets", tuple(_burn(slo) for slo in slos)),
            Row("The road as callers see it", _PROBE),
            Row("Issuing", (_ISSUED, _ISSUE_SECONDS, _DECIDE, _SIGN, _CALLS, _CALL_SECONDS)),
            Row("Events", (_OUTBOX_DELAY, _OUTBOX_OLDEST, _LAG, _PARKED, _PORTAL_DELAY, _WEBHOOKS)),
            Row("Status lists and log", (_PUBLISHED, _INTEGRATED, _LOG_SIZE)),
            Row("Witnesses", (_WITNESSED, _WITNESS_ANSWERS)),
            Row("Machinery", (_STALENESS, _POOL_WAIT, _POOL, _CPU, _MEMORY, _HTTP)),
        ),
    )


def _authority() -> Dashboard:
    return Dashboard(
        uid="vitne-authority",
        title="Vitne: authority",
        description="Whether decisions about accreditations reach those who issue, and what is coming to an end.",
        rows=(
            Row(
                "Accreditations",
                (
                    Panel(
                        "Ending soon",
                        "Accreditations whose validity ends within so many days. Which they are, the log of the "
                        "CronJob accreditations-due says.",
                        "short",
                        (
                            Query(
                                'max by (within_days) (vitne_registry_accreditations_due{namespace="vitne"})',
                                "within {{within_days}} days",
                            ),
                        ),
                    ),
                    Panel(
                        "Refused",
                        "Credentials that were asked for and refused by a rule: who asks for what nobody accredited. A "
                        "refusal is a right answer.",
                        "ops",
                        (
                            Query(
                                "sum(rate(vitne_issue_credentials_total"
                                '{namespace="vitne", outcome="refused"}[$__rate_interval]))',
                                "refused",
                            ),
                        ),
                    ),
                    Panel(
                        "Flagged credentials",
                        "Credentials that a fact touches which became known only after they were issued; "
                        "ListAccreditationFlags names them.",
                        "short",
                        (
                            Query(
                                'max by (cause) (vitne_issuer_flagged_credentials{namespace="vitne"})',
                                "{{cause}}",
                            ),
                        ),
                    ),
                ),
            ),
            Row("How soon a decision counts", (_STALENESS, _DECIDE, _OUTBOX_DELAY)),
            Row("What can be proved", (_LOG_SIZE, _INTEGRATED, _AUDIT)),
        ),
    )


def _institution() -> Dashboard:
    return Dashboard(
        uid="vitne-institution",
        title="Vitne: institution",
        description="What all who issue get, together: how fast, how surely, and when others see it.",
        rows=(
            Row("Issuing", (_ISSUED, _ISSUE_SECONDS, _FAILED_SHARE)),
            Row("What others see", (_PUBLISHED, _PORTAL_DELAY, _VERIFIED)),
            Row("Events by webhook", (_WEBHOOKS, _WEBHOOKS_OUTCOME)),
        ),
    )


def _burn(slo: Slo) -> Panel:
    return Panel(
        slo.title,
        f"{slo.sentence}. The share that misses it; at the line the budget lasts exactly the month.",
        "percentunit",
        tuple(
            Query(f'slo:vitne_bad:ratio_rate{window}{{slo="{slo.name}"}}', f"over {window}")
            for window in ("1h", "6h", "3d")
        ),
        width=6,
        bad=slo.budget,
    )


_PROBE = (
    Panel(
        "Last round",
        "1 when the prober's last round came through.",
        "short",
        (Query('max(vitne_probe_success{namespace="vitne"})', "success"),),
        kind="stat",
        width=4,
        bad=1,
        good_above=True,
    ),
    Panel(
        "Since it last came through",
        "Seconds since a round of the prober came through; one begins every minute.",
        "s",
        (Query('time() - max(vitne_probe_last_success_seconds{namespace="vitne"})', "since"),),
        kind="stat",
        width=4,
        bad=300,
    ),
    Panel(
        "Steps",
        "99th percentile of what each step of the prober takes.",
        "s",
        (
            Query(
                "histogram_quantile(0.99, sum by (le, step) "
                '(rate(vitne_probe_step_duration_seconds_bucket{namespace="vitne"}[10m])))',
                "{{step}}",
                exemplars=True,
            ),
        ),
        width=16,
    ),
)
_ISSUED = Panel(
    "Credentials asked for",
    "By outcome: issued, refused by a rule (a right answer), failed (a fault of ours).",
    "ops",
    (
        Query(
            'sum by (outcome) (rate(vitne_issue_credentials_total{namespace="vitne"}[$__rate_interval]))', "{{outcome}}"
        ),
    ),
)
_FAILED_SHARE = Panel(
    "Share that failed",
    "Of the credentials that no rule refuses. Repeat the same request: it is answered once.",
    "percentunit",
    (Query('slo:vitne_bad:ratio_rate1h{slo="issue-availability"}', "over 1h"),),
    bad=0.001,
)
_ISSUE_SECONDS = Panel(
    "Time to issue",
    "From the request to the answer, durable; batches as a whole.",
    "s",
    quantiles("vitne_issue_duration_seconds", "mode"),
)
_DECIDE = Panel(
    "Time to decide",
    "Whether the provider may issue it, at that instant, as known then: in memory.",
    "s",
    quantiles("vitne_decide_duration_seconds"),
)
_SIGN = Panel(
    "Time to sign", "In the key custody, by purpose.", "s", quantiles("vitne_sign_duration_seconds", "purpose")
)
_CALLS = Panel(
    "Calls by status",
    "gRPC calls that were served. INTERNAL, UNKNOWN and DATA_LOSS are faults of ours.",
    "ops",
    (
        Query(
            "sum by (rpc_response_status_code) "
            '(rate(rpc_server_call_duration_seconds_count{namespace="vitne"}[$__rate_interval]))',
            "{{rpc_response_status_code}}",
        ),
    ),
)
_CALL_SECONDS = Panel(
    "Time of calls",
    "99th percentile by method.",
    "s",
    (
        Query(
            "histogram_quantile(0.99, sum by (le, rpc_method) "
            '(rate(rpc_server_call_duration_seconds_bucket{namespace="vitne"}[$__rate_interval])))',
            "{{rpc_method}}",
            exemplars=True,
        ),
    ),
)
_OUTBOX_DELAY = Panel(
    "Events to Kafka",
    "From when it happened to when Kafka had it.",
    "s",
    quantiles("vitne_outbox_delay_seconds", "job"),
)
_OUTBOX_OLDEST = Panel(
    "Oldest event that waits",
    "Age of the oldest event that is not in Kafka yet. Above seconds: the broker, or the relay.",
    "s",
    (Query('max by (job) (vitne_outbox_oldest_seconds{namespace="vitne"})', "{{job}}"),),
    bad=30,
)
_LAG = Panel(
    "Consumers behind",
    "Age of the oldest message that a consumer has not dealt with. Autoscalers follow it.",
    "s",
    (Query('max by (consumer, topic) (vitne_consumer_lag_seconds{namespace="vitne"})', "{{consumer}}: {{topic}}"),),
    bad=30,
)
_PARKED = Panel(
    "Parked keys",
    "Keys that wait for an operator (failed) or for a missing revision (waiting).",
    "short",
    (Query('max by (consumer, state) (vitne_consumer_parked_keys{namespace="vitne"})', "{{consumer}} {{state}}"),),
    bad=1,
)
_PORTAL_DELAY = Panel(
    "Visible in the portal",
    "From when something happened to a credential to when the portal shows it.",
    "s",
    quantiles("vitne_portal_visible_delay_seconds"),
    bad=5,
)
_WEBHOOKS = Panel(
    "Events to webhooks",
    "From when it happened to when the institution's or hub's endpoint had taken it.",
    "s",
    quantiles("vitne_webhooks_delay_seconds"),
)
_WEBHOOKS_OUTCOME = Panel(
    "Attempts at webhooks",
    "By how they came out. An endpoint that refuses for days is disabled, and its owner can replay.",
    "ops",
    (
        Query(
            'sum by (outcome) (rate(vitne_webhooks_attempts_total{namespace="vitne"}[$__rate_interval]))', "{{outcome}}"
        ),
    ),
)
_PUBLISHED = Panel(
    "Revoked to published",
    "From a change of status to a signed list that says so, served over HTTP.",
    "s",
    quantiles("vitne_status_publication_delay_seconds"),
    bad=1,
)
_INTEGRATED = Panel(
    "Leaves to the log",
    "From what happened to a signed checkpoint over its leaf.",
    "s",
    quantiles("vitne_log_integration_delay_seconds"),
    bad=2.5,
)
_LOG_SIZE = Panel(
    "Leaves in the log",
    "It only ever grows.",
    "short",
    (Query('max(vitne_log_size{namespace="vitne"})', "leaves"),),
)
_WITNESSED = Panel(
    "Since the log was cosigned",
    "Time since enough witnesses last cosigned the log that grows. A log at rest is cosigned each minute.",
    "s",
    (Query('time() - max(vitne_log_witnessed_seconds{namespace="vitne"})', "since"),),
    bad=300,
)
_WITNESS_ANSWERS = Panel(
    "Answers of witnesses",
    "What came of asking each for its cosignature; without a reason: it gave one.",
    "ops",
    (
        Query(
            'sum by (vitne_witness, vitne_reason) (rate(vitne_log_witness_answers_total{namespace="vitne"}[5m]))',
            "{{vitne_witness}} {{vitne_reason}}",
        ),
    ),
)
_AUDIT = Panel(
    "Since all was found in agreement",
    "Time since an audit last compared the services' records and found no difference. It runs once a day.",
    "s",
    (
        Query(
            'time() - max(kube_cronjob_status_last_successful_time{namespace="vitne", cronjob="auditor"})', "since then"
        ),
    ),
    bad=129_600,
)
_VERIFIED = Panel(
    "Verified",
    "Verifications by verdict. Not determinable: a list or the registry was out of reach.",
    "ops",
    (
        Query(
            'sum by (verdict) (rate(vitne_verify_duration_seconds_count{namespace="vitne"}[$__rate_interval]))',
            "{{verdict}}",
        ),
    ),
)
_STALENESS = Panel(
    "Age of the registry's word",
    "How long ago each service last heard of the registry. At ten minutes the issuer refuses.",
    "s",
    (Query('max by (job) (vitne_projection_staleness_seconds{namespace="vitne"})', "{{job}}"),),
    bad=120,
)
_POOL_WAIT = Panel(
    "Waiting for a connection",
    "99th percentile of the time that statements wait for a connection of the pool.",
    "s",
    (
        Query(
            "histogram_quantile(0.99, sum by (le, job, database) "
            '(rate(vitne_database_pool_wait_duration_seconds_bucket{namespace="vitne"}[$__rate_interval])))',
            "{{job}}: {{database}}",
            exemplars=True,
        ),
    ),
    bad=0.25,
)
_POOL = Panel(
    "Connections to databases",
    "By state, over all replicas.",
    "short",
    (Query('sum by (database, state) (vitne_database_pool_connections{namespace="vitne"})', "{{database}} {{state}}"),),
)
_CPU = Panel(
    "Cores in use",
    "CPU seconds a second, of each service; one process uses one core at most.",
    "short",
    (Query('sum by (job) (rate(process_cpu_seconds_total{namespace="vitne"}[$__rate_interval]))', "{{job}}"),),
)
_MEMORY = Panel(
    "Memory",
    "The largest replica of each service.",
    "bytes",
    (Query('max by (job) (process_resident_memory_bytes{namespace="vitne"})', "{{job}}"),),
)
_HTTP = Panel(
    "Time of HTTP requests",
    "99th percentile by service.",
    "s",
    (
        Query(
            "histogram_quantile(0.99, sum by (le, job) "
            '(rate(http_server_request_duration_seconds_bucket{namespace="vitne"}[$__rate_interval])))',
            "{{job}}",
            exemplars=True,
        ),
    ),
)
