"""What every service is told by its environment: variables with the prefix ``VITNE_``.

Services subclass :class:`CommonSettings` and add their own. A wrong or missing
variable ends the process at the start with the variable's name.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId

#: Prefix of every variable.
PREFIX: Final = "VITNE_"
#: Any free port of the loopback interface: safe wherever nobody said otherwise.
DEFAULT_LISTEN: Final = "127.0.0.1:0"
#: Partitions of each topic: room for as many consumers; more than keys need at national size.
DEFAULT_TOPIC_PARTITIONS: Final = 6
#: Seconds that running calls get to finish after SIGTERM; below Kubernetes' 30 until SIGKILL.
DEFAULT_SHUTDOWN_GRACE_SECONDS: Final = 10.0
#: Connections to the database: group commit needs few, and 2 cores serve no more at once.
DEFAULT_DATABASE_CONNECTIONS: Final = 10
#: Exit code of a process whose settings are wrong (as argparse's for wrong arguments).
EXIT_WRONG_SETTINGS: Final = 2


_UNREADABLE = re.compile(r'field "(\w+)"')


def _check_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("write it as host:port, port 0 for any free one")
    return text


def _check_organisation(text: str) -> str:
    try:
        return str(OrganisationId.parse(text))
    except InvalidArgument as error:
        raise ValueError(str(error)) from error


#: ``host:port``; port 0 takes any free one.
Address = Annotated[str, AfterValidator(_check_address)]
#: ``scheme:value``, as in :class:`~vitne.identifiers.OrganisationId`.
OrganisationText = Annotated[str, AfterValidator(_check_organisation)]


class CommonSettings(BaseSettings):
    """Settings of every service.

    Attributes:
        environment: ``production`` refuses what is only fit for development.
        grpc_listen: where gRPC is served.
        http_listen: where HTTP (``/livez``, ``/readyz``, the service's own pages) is served.
        database_dsn: ``postgresql://…``; empty for a service without a database.
        database_connections: most connections to the database.
        kafka_bootstrap_servers: ``host:port``, comma-separated.
        kafka_groups: whether replicas share out topics as a Kafka group; off, a single instance
            takes all, without the seconds that a group takes to form on the development broker.
        kafka_idempotence: whether the producer is idempotent; Apache Kafka can, the
            development broker cannot.
        topic_partitions: partitions of topics that this service creates.
        identity_issuer: issuer URL of access tokens; keys are found by its metadata (RFC 8414).
        audience: what access tokens for this service name as ``aud``.
        state_dir: folder of this service's own files (signing keys).
        trace_file: where spans are appended; none are recorded without it.
        log_level: least level that is logged.
        operator: organisation that operates this installation.
        client_id: this service's client at the token issuer; empty when it calls nobody.
        client_key_file: private JWK that proves it.
        shutdown_grace_seconds: what running calls get to finish after SIGTERM.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Literal["development", "production"] = "production"
    grpc_listen: Address = DEFAULT_LISTEN
    http_listen: Address = DEFAULT_LISTEN
    database_dsn: str = ""
    database_connections: int = Field(default=DEFAULT_DATABASE_CONNECTIONS, ge=1, le=200)
    kafka_bootstrap_servers: str = ""
    kafka_groups: bool = True
    kafka_idempotence: bool = True
    topic_partitions: int = Field(default=DEFAULT_TOPIC_PARTITIONS, ge=1, le=1000)
    identity_issuer: str = ""
    audience: str = ""
    state_dir: Path = Path("state")
    trace_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    operator: OrganisationText | None = None
    client_id: str = ""
    client_key_file: Path | None = None
    shutdown_grace_seconds: float = Field(default=DEFAULT_SHUTDOWN_GRACE_SECONDS, ge=0, le=600)


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
        lines.append(f"{PREFIX}{name.upper()}{place}: {'must be set' if entry['type'] == 'missing' else entry['msg']}")
    return lines
