"""What each process of the embedded stack is told by its environment, and what a shell beside the stack is."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from vitne.dev import emrex
from vitne.dev.cases import Cases
from vitne.dev.identity import ClientCredentials
from vitne.dev.identity.feide import PATH as FEIDE_PATH
from vitne.dev.protection import Protection
from vitne.frameworks import Standing

#: What access tokens for the services name as ``aud``.
AUDIENCE: Final = "https://api.vitne.example"
#: What addresses of status lists begin with, as they are signed into credentials.
STATUS_BASE: Final = "https://status.vitne.example/"
#: The services, in the order in which their pages are listed.
SERVICES: Final = ("registry", "issuer", "ledger", "verifier", "portal")
#: Services that hold issuances against the national rules, and the standings that they apply: what is shown and tested
#: here includes pilots and proposals.
DECIDING: Final = ("registry", "issuer", "verifier")
STANDINGS: Final = tuple(Standing)
#: Role of PostgreSQL's, and its password here, that reads what an audit compares and nothing else.
AUDITOR: Final = "auditor"
#: Databases of each service; the issuer keeps learners' keys apart.
DATABASES: Final[Mapping[str, tuple[str, ...]]] = {
    "registry": ("registry",),
    "issuer": ("issuer", "issuer_keys"),
    "ledger": ("ledger",),
    "portal": ("portal",),
}
#: A database that belongs to no service: for whoever tries the client package.
SUBSCRIBER: Final = "subscriber"
#: Seconds between two rounds in which witnesses are asked: short, so that the demonstration need not wait for it.
WITNESS_SECONDS: Final = 0.2


class Places(Protocol):
    """Where everything of a stack is; :class:`~vitne.dev.stack.Stack` is one."""

    #: Where all state lives.
    folder: Path
    cases: Cases
    clients: dict[str, ClientCredentials]
    protection: Protection | None
    #: Sources of another release, which the services are run from; None: these.
    release: Path | None
    #: ``host:port`` of the broker.
    kafka: str
    #: Whether it is Apache Kafka.
    apache: bool

    @property
    def production(self) -> bool:
        """Whether the services run as in production."""
        ...

    @property
    def witness_urls(self) -> Mapping[str, str]:
        """Addresses of the log's witnesses, by their verifier keys."""
        ...

    @property
    def identity_url(self) -> str: ...
    @property
    def portal_url(self) -> str: ...
    @property
    def trace_file(self) -> Path: ...
    @property
    def log_policy(self) -> Path: ...
    @property
    def feide_secret_file(self) -> Path: ...

    def grpc_address(self, service: str) -> str: ...
    def http_address(self, service: str) -> str: ...
    def http_url(self, service: str) -> str: ...
    def metrics_address(self, service: str) -> str: ...
    def metrics_url(self, service: str) -> str: ...
    def state_of(self, service: str) -> Path: ...
    def dsn(self, database: str) -> str: ...
    def own_dsn(self, database: str) -> str:
        """Where a database is reached on this machine, without TLS."""
        ...

    def hub_topic(self) -> str: ...
    def kafka_files(self, service: str) -> Mapping[str, str]:
        """Settings by which a service shows its certificate to the broker; empty without TLS there."""
        ...


def environment_of(places: Places, service: str) -> dict[str, str]:
    """All settings of a process, as its environment; of those here nothing of ours comes along."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VITNE_")}
    environment |= {
        # The token issuer is one for development; and nothing in production speaks plain text.
        "VITNE_ENVIRONMENT": "production" if places.production and service in SERVICES else "development",
        "VITNE_AUDIENCE": AUDIENCE,
        "VITNE_IDENTITY_ISSUER": places.identity_url,
        "VITNE_KAFKA_BOOTSTRAP_SERVERS": places.kafka,
        # The embedded broker can't; a real cluster can.
        "VITNE_KAFKA_IDEMPOTENCE": str(places.apache).lower(),
        # The embedded broker forms groups slowly, and there is one process of each service.
        "VITNE_KAFKA_GROUPS": str(places.apache).lower(),
        "VITNE_OPERATOR": places.cases.operator,
        "VITNE_STATE_DIR": str(places.state_of(service)),
        "VITNE_TRACE_FILE": str(places.trace_file),
    }
    if service in SERVICES and places.release is not None:
        environment["PYTHONPATH"] = str(places.release)
    if service in SERVICES:
        environment["VITNE_GRPC_LISTEN"] = places.grpc_address(service)
        environment["VITNE_HTTP_LISTEN"] = places.http_address(service)
        environment["VITNE_METRICS_LISTEN"] = places.metrics_address(service)
        if places.protection is not None:
            environment |= places.protection.environment(service)
        environment |= places.kafka_files(service)
    elif places.protection is not None:
        environment |= places.protection.trust_environment
    if service in DECIDING:
        environment["VITNE_STANDINGS"] = json.dumps(STANDINGS)
    if service in DATABASES:
        environment["VITNE_DATABASE_DSN"] = places.dsn(DATABASES[service][0])
    return environment | _own(places, service)


def allow_rule(places: Places) -> str:
    """Where the status lists are really fetched in this stack."""
    return f"{STATUS_BASE}={places.http_url('ledger')}/"


def shell_environment(places: Places, registry_key: str) -> dict[str, str]:
    """For a shell: the addresses, and a client of each kind, for the examples in docs/."""
    provider, authority = places.cases.providers["uio"].message.id, places.cases.authorities[0].id
    values = {f"VITNE_{service.upper()}": places.grpc_address(service) for service in SERVICES if service != "portal"}
    values |= {f"VITNE_{service.upper()}_URL": places.http_url(service) for service in SERVICES}
    values |= {f"VITNE_{service.upper()}_METRICS_URL": places.metrics_url(service) for service in SERVICES}
    values |= {
        "VITNE_IDENTITY_URL": places.identity_url,
        "VITNE_AUDIENCE": AUDIENCE,
        "VITNE_KAFKA": places.kafka,
        "VITNE_HUB_TOPIC": places.hub_topic(),
        "VITNE_SUBSCRIBER_DSN": places.own_dsn(SUBSCRIBER),
        "VITNE_ALLOW_RULE": allow_rule(places),
        "VITNE_REGISTRY_KEY": registry_key,
    }
    if places.witness_urls:
        values["VITNE_LOG_POLICY"] = str(places.log_policy)
    for name, organisation in (("PROVIDER", provider), ("AUTHORITY", authority), ("HUB", places.cases.hub)):
        values[f"VITNE_{name}"] = organisation
        values[f"VITNE_{name}_CLIENT"] = places.clients[organisation].client_id
        values[f"VITNE_{name}_KEY_FILE"] = str(places.clients[organisation].key_file)
    if places.protection is not None:
        values |= places.protection.client_environment()
    return values


def write_exports(path: Path, values: Mapping[str, str]) -> Path:
    """A file for a shell to source, for nobody else to read: it holds passwords."""
    path.touch(mode=0o600)
    path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
    return path


def _own(places: Places, service: str) -> dict[str, str]:
    match service:
        case "issuer":
            client = places.clients["issuer"]
            return {
                "VITNE_LEARNER_KEYS_DSN": places.dsn("issuer_keys"),
                "VITNE_LEDGER_ADDRESS": places.grpc_address("ledger"),
                "VITNE_LEDGER_AUDIENCE": AUDIENCE,
                "VITNE_HUBS": json.dumps({places.cases.hub: places.clients[places.cases.hub].client_id}),
                # One institution's tokens carry certificates, so that both ways can be seen.
                "VITNE_X5C": json.dumps([places.cases.providers["ucl"].message.id]),
                "VITNE_CLIENT_ID": client.client_id,
                "VITNE_CLIENT_KEY_FILE": str(client.key_file),
            }
        case "ledger":
            return {
                # What a relying party may keep: short, so that the demonstration need not wait for it.
                "VITNE_LIST_TTL_SECONDS": "2",
                "VITNE_WITNESSES": json.dumps(dict(places.witness_urls)),
                "VITNE_WITNESS_INTERVAL_SECONDS": str(WITNESS_SECONDS),
            }
        case "verifier":
            return {
                **({"VITNE_LOG_POLICY_FILE": str(places.log_policy)} if places.witness_urls else {}),
                "VITNE_LEDGER_ADDRESS": places.grpc_address("ledger"),
                "VITNE_ALLOW": json.dumps([allow_rule(places)]),
            }
        case "portal":
            client = places.clients[places.cases.hub]
            return {
                "VITNE_HUB": places.cases.hub,
                "VITNE_ISSUER_ADDRESS": places.grpc_address("issuer"),
                "VITNE_REGISTRY_ADDRESS": places.grpc_address("registry"),
                "VITNE_VERIFIER_ADDRESS": places.grpc_address("verifier"),
                "VITNE_PUBLIC_URL": places.portal_url,
                "VITNE_CLIENT_ID": client.client_id,
                "VITNE_CLIENT_KEY_FILE": str(client.key_file),
                "VITNE_FEIDE_ISSUER": f"{places.identity_url}{FEIDE_PATH}",
                "VITNE_FEIDE_CLIENT_ID": client.client_id,
                "VITNE_FEIDE_SECRET_FILE": str(places.feide_secret_file),
                **emrex.settings(places.folder, places.state_of("portal"), places.portal_url),
            }
        case "auditor":
            return {
                **{
                    f"VITNE_{name.upper()}_DSN": _read_only(places.dsn(name))
                    for name in ("issuer", "ledger", "registry")
                },
                "VITNE_PORTALS": json.dumps({places.cases.hub: _read_only(places.dsn("portal"))}),
                "VITNE_LISTS_SERVED_AT": json.dumps({STATUS_BASE: f"{places.http_url('ledger')}/"}),
                **(
                    {"VITNE_LOG_URL": places.http_url("ledger"), "VITNE_LOG_POLICY_FILE": str(places.log_policy)}
                    if places.witness_urls
                    else {}
                ),
            }
        case _:
            return {}


def _read_only(dsn: str) -> str:
    """The same as the role that may read what an audit compares."""
    parts = urlsplit(dsn)
    _, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{AUDITOR}:{AUDITOR}@{place}").geturl()
