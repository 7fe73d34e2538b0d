"""What every service is told by its environment: variables with the prefix ``VITNE_``.

Services subclass :class:`CommonSettings` and add their own. A wrong or missing
variable ends the process at the start with the variable's name.
"""

from __future__ import annotations

import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.runtime.arguments import check_thumbprint
from vitne.runtime.fetch import AllowRule
from vitne.runtime.tls import TlsFiles

#: Prefix of every variable.
PREFIX: Final = "VITNE_"
#: Any free port of the loopback interface: safe wherever nobody said otherwise.
DEFAULT_LISTEN: Final = "127.0.0.1:0"
#: Seconds that running calls get to finish after SIGTERM; below Kubernetes' 30 until SIGKILL.
DEFAULT_SHUTDOWN_GRACE_SECONDS: Final = 10.0
#: Connections to the database: group commit needs few, and 2 cores serve no more at once.
DEFAULT_DATABASE_CONNECTIONS: Final = 10
#: The ledger keeps four for its locks (relay, sequencer, witnesses, static files); with fewer than these it would wait
#: for itself, and say nothing.
MIN_DATABASE_CONNECTIONS: Final = 6
#: Exit code of a process whose settings are wrong (as argparse's for wrong arguments).
EXIT_WRONG_SETTINGS: Final = 2


_UNREADABLE = re.compile(r'field "(\w+)"')


def _check_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("write it as host:port, port 0 for any free one")
    return text


def _check_address_or_none(text: str) -> str:
    return _check_address(text) if text else text


def _check_endpoint(text: str) -> str:
    parts = urlsplit(text)
    # Asked for the port: urlsplit checks it only then.
    if text and (parts.scheme not in ("http", "https") or not parts.port or parts.path.strip("/") or parts.query):
        raise ValueError("write it as https://host:port, or http://host:port for plain text")
    return text.rstrip("/")


def _check_organisation(text: str) -> str:
    try:
        return str(OrganisationId.parse(text))
    except InvalidArgument as error:
        raise ValueError(str(error)) from error


def _check_rule(text: str) -> str:
    try:
        AllowRule.parse(text)
    except InvalidArgument as error:
        raise ValueError(str(error)) from error
    return text


def _check_thumbprint_or_none(value: str) -> str:
    return check_thumbprint(value) if value else value


#: ``host:port``; port 0 takes any free one.
Address = Annotated[str, AfterValidator(_check_address)]
#: The same, or empty.
OptionalAddress = Annotated[str, AfterValidator(_check_address_or_none)]
#: ``https://host:port``, ``http://host:port``, or empty.
Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
#: ``scheme:value``, as in :class:`~vitne.identifiers.OrganisationId`.
OrganisationText = Annotated[str, AfterValidator(_check_organisation)]
#: ``PREFIX=BASE``, as in :class:`~vitne.runtime.fetch.AllowRule`.
AllowRuleText = Annotated[str, AfterValidator(_check_rule)]
#: RFC 7638 thumbprint of a key that is pinned, as in :func:`~vitne.runtime.arguments.check_thumbprint`.
Thumbprint = Annotated[str, AfterValidator(check_thumbprint)]
#: The same, or empty.
OptionalThumbprint = Annotated[str, AfterValidator(_check_thumbprint_or_none)]


#: Settings that mean nothing, or less than they seem to, without another one.
_TOGETHER: Final = (
    ("grpc_certificate_file", "grpc_key_file"),
    ("grpc_key_file", "grpc_certificate_file"),
    ("grpc_client_authority_file", "grpc_certificate_file"),
    ("grpc_allowed_peers", "grpc_client_authority_file"),
    ("http_certificate_file", "http_key_file"),
    ("http_key_file", "http_certificate_file"),
    ("channel_certificate_file", "channel_key_file"),
    ("channel_key_file", "channel_certificate_file"),
    ("channel_certificate_file", "channel_authority_file"),
    ("kafka_certificate_file", "kafka_key_file"),
    ("kafka_key_file", "kafka_certificate_file"),
    ("kafka_certificate_file", "kafka_authority_file"),
)


class CommonSettings(BaseSettings):
    """Settings of every service.

    Attributes:
        environment: ``production`` refuses what is only fit for development.
        grpc_listen: where gRPC is served.
        http_listen: where HTTP (``/livez``, ``/readyz``, the service's own pages) is served.
        http_port_shared: several processes of the service serve HTTP at the same port: one a core. Else a port that is
            taken ends the start.
        database_dsn: ``postgresql://…``; empty for a service without a database.
        database_connections: most connections to the database; the ledger has one more, by which it looks whether
            a list that is asked for is the newest.
        kafka_bootstrap_servers: ``host:port``, comma-separated.
        kafka_groups: whether replicas share out topics as a Kafka group; off, a single instance
            takes all, without the seconds that a group takes to form on the development broker.
        kafka_idempotence: whether the producer is idempotent; Apache Kafka can, the
            development broker cannot.
        identity_issuer: issuer URL of access tokens; keys are found by its metadata (RFC 8414).
        audience: what access tokens for this service name as ``aud``.
        state_dir: folder of this service's own files (signing keys).
        trace_file: where spans are appended; none are recorded without it and without ``otlp_endpoint``.
        trace_sampling_ratio: share of the traces that is recorded, 0 to 1.
        otlp_endpoint: collector that spans are sent to by OTLP over gRPC, ``https://host:4317``; with the
            channel's authority and certificate where these are set. Production takes ``http://`` for this machine only.
        metrics_listen: where ``/metrics`` is served for Prometheus, with the HTTP server's TLS, and nothing else;
            empty: nowhere.
        log_level: least level that is logged.
        operator: organisation that operates this installation.
        client_id: this service's client at the token issuer; empty when it calls nobody.
        client_key_file: private JWK that proves it.
        shutdown_grace_seconds: what running calls get to finish after SIGTERM.
        grpc_certificate_file: PEM, certificate of the gRPC server; none: plain text, which production refuses.
        grpc_key_file: PEM, its key; may be the same file, as everywhere here.
        grpc_client_authority_file: PEM, what clients' certificates must lead to; set, a client without one is refused.
        grpc_public: callers without a certificate are meant to come: they show tokens only.
        grpc_allowed_peers: by scope the names (URI or DNS, of ``subjectAltName``), one of which the certificate
            of who uses it has to carry, beside the token.
        http_certificate_file: PEM, certificate of the HTTP server.
        http_key_file: PEM, its key.
        http_behind_ingress: TLS for HTTP ends before this process, at an ingress in the same network.
        channel_authority_file: PEM, what the certificates of the services that are called must lead to.
        channel_certificate_file: PEM, the certificate that is shown to them.
        channel_key_file: PEM, its key.
        kafka_authority_file: PEM, what the brokers' certificates must lead to; none: plain text.
        kafka_certificate_file: PEM, the certificate that is shown to them.
        kafka_key_file: PEM, its key.

    What a service has of what must be protected, it says in these names of its settings:

    Attributes:
        databases: DSNs of databases.
        identity_issuers: URLs of issuers of tokens.
        grpc_targets: addresses of services that it calls.
        service_scopes: scopes at its own server that only other services hold.
    """

    databases: ClassVar[tuple[str, ...]] = ("database_dsn",)
    identity_issuers: ClassVar[tuple[str, ...]] = ("identity_issuer",)
    grpc_targets: ClassVar[tuple[str, ...]] = ()
    service_scopes: ClassVar[tuple[str, ...]] = ()

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Literal["development", "production"] = "production"
    grpc_listen: Address = DEFAULT_LISTEN
    http_listen: Address = DEFAULT_LISTEN
    http_port_shared: bool = False
    database_dsn: str = ""
    database_connections: int = Field(default=DEFAULT_DATABASE_CONNECTIONS, ge=MIN_DATABASE_CONNECTIONS, le=200)
    kafka_bootstrap_servers: str = ""
    kafka_groups: bool = True
    kafka_idempotence: bool = True
    identity_issuer: str = ""
    audience: str = ""
    state_dir: Path = Path("state")
    trace_file: Path | None = None
    trace_sampling_ratio: float = Field(default=1.0, ge=0, le=1)
    otlp_endpoint: Endpoint = ""
    metrics_listen: OptionalAddress = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    operator: OrganisationText | None = None
    client_id: str = ""
    client_key_file: Path | None = None
    shutdown_grace_seconds: float = Field(default=DEFAULT_SHUTDOWN_GRACE_SECONDS, ge=0, le=600)
    grpc_certificate_file: Path | None = None
    grpc_key_file: Path | None = None
    grpc_client_authority_file: Path | None = None
    grpc_public: bool = False
    grpc_allowed_peers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    http_certificate_file: Path | None = None
    http_key_file: Path | None = None
    http_behind_ingress: bool = False
    channel_authority_file: Path | None = None
    channel_certificate_file: Path | None = None
    channel_key_file: Path | None = None
    kafka_authority_file: Path | None = None
    kafka_certificate_file: Path | None = None
    kafka_key_file: Path | None = None

    @property
    def grpc_tls(self) -> TlsFiles | None:
        """The gRPC server's TLS; None for plain text."""
        if self.grpc_certificate_file is None:
            return None
        return TlsFiles(self.grpc_certificate_file, self.grpc_key_file, self.grpc_client_authority_file)

    @property
    def http_tls(self) -> TlsFiles | None:
        """The HTTP server's TLS; None for plain text."""
        if self.http_certificate_file is None:
            return None
        return TlsFiles(self.http_certificate_file, self.http_key_file)

    @property
    def channel_tls(self) -> TlsFiles | None:
        """TLS towards the services that are called; None for plain text."""
        if self.channel_authority_file is None:
            return None
        return TlsFiles(self.channel_certificate_file, self.channel_key_file, self.channel_authority_file)

    @property
    def kafka_tls(self) -> TlsFiles | None:
        """TLS towards Kafka; None for plain text."""
        if self.kafka_authority_file is None:
            return None
        return TlsFiles(self.kafka_certificate_file, self.kafka_key_file, self.kafka_authority_file)

    def protection_faults(self) -> list[str]:
        """Why ``serve`` must not start: a line for each variable by which something would go unprotected.

        What is half said is a fault everywhere; what is not said at all, in production only.
        """
        faults = [
            _line(needed, f"must be set, since {_name(given)} is")
            for given, needed in _TOGETHER
            if self._is_set(given) and not self._is_set(needed)
        ]
        if self.grpc_public and self.grpc_client_authority_file is not None:
            faults.append(_line("grpc_public", f"can't be true, since {_name('grpc_client_authority_file')} is set"))
        if self.environment == "production":
            faults += self._server_faults() + self._client_faults() + self.database_faults()
        return faults

    def command_faults(self) -> list[str]:
        """What of that concerns commands, which call others and serve nobody."""
        return self._client_faults() + self.database_faults() if self.environment == "production" else []

    def database_faults(self) -> list[str]:
        """What of that concerns databases: all that ``migrate`` needs."""
        if self.environment != "production":
            return []
        return [
            _line(name, "must say sslmode=verify-full in production")
            for name in self.databases
            if self._is_set(name) and not is_verified(getattr(self, name))
        ]

    def _server_faults(self) -> list[str]:
        faults = []
        if self.grpc_certificate_file is None:
            faults.append(_line("grpc_certificate_file", "must be set in production: gRPC is served over TLS only"))
        if self.grpc_client_authority_file is None and (self.service_scopes or not self.grpc_public):
            way_out = "" if self.service_scopes else f", or {_name('grpc_public')}=true to let in who has none"
            faults.append(
                _line("grpc_client_authority_file", f"must be set in production: clients show certificates{way_out}")
            )
        faults += [
            _line("grpc_allowed_peers", f"must say in production who may use the scope {scope}")
            for scope in self.service_scopes
            if not self.grpc_allowed_peers.get(scope)
        ]
        if self.http_tls is None and not self.http_behind_ingress:
            way_out = f"or {_name('http_behind_ingress')}=true where an ingress ends TLS"
            faults.append(_line("http_certificate_file", f"must be set in production, {way_out}"))
        return faults

    def _client_faults(self) -> list[str]:
        called = [("channel_authority_file", name) for name in self.grpc_targets]
        called.append(("kafka_authority_file", "kafka_bootstrap_servers"))
        faults = [
            _line(authority, f"must be set in production: {_name(name)} is reached over TLS only")
            for authority, name in called
            if self._is_set(name) and not self._is_set(authority)
        ]
        faults += [
            _line(name, "must be https in production")
            for name in self.identity_issuers
            if self._is_set(name) and urlsplit(getattr(self, name)).scheme != "https"
        ]
        collector = urlsplit(self.otlp_endpoint)
        if collector.scheme == "http" and not _is_this_machine(collector.hostname or ""):
            faults.append(_line("otlp_endpoint", "must be https in production, but for a collector on this machine"))
        return faults

    def _is_set(self, name: str) -> bool:
        return bool(getattr(self, name))


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name: whatever it leads to now, it may lead elsewhere tomorrow
        return False


def is_verified(dsn: str) -> bool:
    """Whether PostgreSQL's certificate, and the name in it, are checked (libpq, section 32.19.1)."""
    return parse_qs(urlsplit(dsn).query).get("sslmode", [""])[-1] == "verify-full"


def _name(field: str) -> str:
    return f"{PREFIX}{field.upper()}"


def _line(field: str, what: str) -> str:
    return f"{_name(field)}: {what}"


S = TypeVar("S", bound=CommonSettings)


def load(kind: type[S], **values: Any) -> S:
    """Read settings from the environment, or end the process with the names of the wrong variables.

    Args:
        kind: the settings to read.
        values: values that win over the environment.
    """
    try:
        return kind(**values)
    except (ValidationError, SettingsError) as error:
        for line in explain(error):
            sys.stderr.write(f"{line}\n")
        raise SystemExit(EXIT_WRONG_SETTINGS) from None


def load_protected(kind: type[S]) -> S:
    """The same for a command beside ``serve``, which has to be as protected as that.

    Raises:
        SystemExit: with 2, once the names of the variables were told.
    """
    settings = load(kind)
    if faults := settings.command_faults():
        sys.stderr.writelines(f"{fault}\n" for fault in faults)
        raise SystemExit(EXIT_WRONG_SETTINGS)
    return settings


def load_with_database(kind: type[S]) -> S:
    """The same for a command that works on the service's own database.

    Raises:
        SystemExit: with 2, once the names of the variables were told.
    """
    settings = load_protected(kind)
    if not settings.database_dsn:
        sys.stderr.write(f"{PREFIX}DATABASE_DSN: must be set\n")
        raise SystemExit(EXIT_WRONG_SETTINGS)
    return settings


def explain(error: ValidationError | SettingsError) -> list[str]:
    """One line for each wrong variable: its name and what is wrong; never its value, which may be a secret."""
    if isinstance(error, SettingsError):
        # Lists and tables are written as JSON; pydantic tells only in words which one is none.
        field = _UNREADABLE.search(str(error))
        return [f"{PREFIX}{field[1].upper()}: must be JSON" if field else str(error)]
    lines = []
    for entry in error.errors(include_input=False, include_url=False, include_context=False):
        name, *inner = [str(part) for part in entry["loc"]] or ["settings"]
        place = f" (at {'.'.join(inner)})" if inner else ""
        # Pydantic puts its own two words before ours.
        said = "must be set" if entry["type"] == "missing" else entry["msg"].removeprefix("Value error, ")
        lines.append(f"{PREFIX}{name.upper()}{place}: {said}")
    return lines
