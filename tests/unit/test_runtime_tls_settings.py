"""What production demands of TLS, service by service, each demand by the name of its variable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from services.issuer import __main__ as issuer
from services.issuer.settings import IssuerSettings
from services.ledger import __main__ as ledger
from services.ledger.settings import LedgerSettings
from services.portal import __main__ as portal
from services.portal.settings import PortalSettings
from services.prober import __main__ as prober
from services.registry import __main__ as registry
from services.registry.settings import RegistrySettings
from services.verifier import __main__ as verifier
from services.verifier.settings import VerifierSettings
from vitne.clock import SystemClock
from vitne.runtime.application import Application
from vitne.runtime.identity import TokenVerifier
from vitne.runtime.main import cli
from vitne.runtime.settings import CommonSettings, load

ISSUER = "https://identity.example"
DSN = "postgresql://vitne:hunter2@db/vitne"
VERIFIED = f"{DSN}?sslmode=verify-full&sslrootcert=/tls/ca.pem"

BARE: dict[str, Any] = {"kafka_bootstrap_servers": "kafka:9092", "database_dsn": DSN, "identity_issuer": "http://id"}
PORTAL: dict[str, Any] = {
    "issuer_address": "issuer:7101",
    "public_url": "https://portal.example",
    "audience": "https://portal.example",
    "client_id": "portal",
    "client_key_file": "/keys/portal.json",
}
#: Settings of a service as it is told where everything is, and nothing of how to protect it.
SERVICES: dict[str, tuple[type[CommonSettings], dict[str, Any]]] = {
    "issuer": (IssuerSettings, BARE | {"ledger_address": "ledger:7103", "learner_keys_dsn": f"{DSN}_keys"}),
    "ledger": (LedgerSettings, BARE),
    "registry": (RegistrySettings, BARE),
    "portal": (PortalSettings, BARE | PORTAL),
    "verifier": (
        VerifierSettings,
        {"ledger_address": "ledger:7103", "kafka_bootstrap_servers": "kafka:9092", "operator": "0192:971035854"},
    ),
}
SERVER = {"VITNE_GRPC_CERTIFICATE_FILE", "VITNE_GRPC_CLIENT_AUTHORITY_FILE", "VITNE_HTTP_CERTIFICATE_FILE"}
STORES = {"VITNE_KAFKA_AUTHORITY_FILE", "VITNE_DATABASE_DSN", "VITNE_IDENTITY_ISSUER"}
CHANNEL = {"VITNE_CHANNEL_AUTHORITY_FILE"}

PROTECTED: dict[str, Any] = {
    "environment": "production",
    "grpc_certificate_file": "/tls/tls.crt",
    "grpc_key_file": "/tls/tls.key",
    "grpc_client_authority_file": "/tls/ca.crt",
    "grpc_allowed_peers": {scope: ["spiffe://vitne.example/issuer"] for scope in LedgerSettings.service_scopes},
    "http_behind_ingress": True,
    "channel_authority_file": "/tls/ca.crt",
    "kafka_authority_file": "/tls/ca.crt",
    "database_dsn": VERIFIED,
    "identity_issuer": ISSUER,
}


def variables(faults: list[str]) -> set[str]:
    return {fault.partition(":")[0] for fault in faults}


def of(name: str, **values: Any) -> CommonSettings:
    kind, bare = SERVICES[name]
    return kind(**(bare | values))


@pytest.mark.parametrize(
    ("name", "demanded"),
    [
        ("issuer", SERVER | STORES | CHANNEL | {"VITNE_LEARNER_KEYS_DSN"}),
        ("ledger", SERVER | STORES | {"VITNE_GRPC_ALLOWED_PEERS"}),
        ("registry", SERVER | STORES),
        ("portal", SERVER | STORES | CHANNEL),
        ("verifier", SERVER | CHANNEL | {"VITNE_KAFKA_AUTHORITY_FILE"}),  # it has no database and no callers
    ],
)
def test_production_names_each_variable_by_which_something_would_go_unprotected(name: str, demanded: set[str]) -> None:
    assert variables(of(name, environment="production").protection_faults()) == demanded
    assert of(name, environment="development").protection_faults() == []


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_protected_starts(name: str) -> None:
    more = {"learner_keys_dsn": f"{VERIFIED}&application_name=keys"} if name == "issuer" else {}
    assert of(name, **(PROTECTED | more)).protection_faults() == []


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ({"grpc_certificate_file": None}, "VITNE_GRPC_CERTIFICATE_FILE"),
        ({"grpc_key_file": None}, "VITNE_GRPC_KEY_FILE"),
        ({"grpc_client_authority_file": None}, "VITNE_GRPC_CLIENT_AUTHORITY_FILE"),
        ({"grpc_public": True}, "VITNE_GRPC_PUBLIC"),
        ({"grpc_allowed_peers": {"vitne:ledger.lease": ["issuer"]}}, "VITNE_GRPC_ALLOWED_PEERS"),
        ({"grpc_allowed_peers": {scope: [] for scope in LedgerSettings.service_scopes}}, "VITNE_GRPC_ALLOWED_PEERS"),
        ({"http_behind_ingress": False}, "VITNE_HTTP_CERTIFICATE_FILE"),
        ({"http_key_file": "/tls/tls.key"}, "VITNE_HTTP_CERTIFICATE_FILE"),
        ({"channel_certificate_file": "/tls/tls.crt"}, "VITNE_CHANNEL_KEY_FILE"),
        ({"kafka_authority_file": None}, "VITNE_KAFKA_AUTHORITY_FILE"),
        ({"kafka_key_file": "/tls/tls.key"}, "VITNE_KAFKA_CERTIFICATE_FILE"),
        ({"database_dsn": f"{DSN}?sslmode=verify-ca"}, "VITNE_DATABASE_DSN"),
        ({"database_dsn": f"{DSN}?sslmode=verify-full&sslmode=prefer"}, "VITNE_DATABASE_DSN"),
        ({"database_dsn": f"{DSN}?application_name=sslmode=verify-full"}, "VITNE_DATABASE_DSN"),
        ({"identity_issuer": "http://127.0.0.1:7100"}, "VITNE_IDENTITY_ISSUER"),
        ({"otlp_endpoint": "http://collector.monitoring.svc:4317"}, "VITNE_OTLP_ENDPOINT"),
        ({"otlp_endpoint": "http://10.0.0.7:4317"}, "VITNE_OTLP_ENDPOINT"),
    ],
)
def test_one_gap_is_enough(values: Mapping[str, Any], variable: str) -> None:
    faults = of("ledger", **(PROTECTED | dict(values))).protection_faults()
    assert variables(faults) == {variable}
    assert "hunter2" not in "".join(faults)


@pytest.mark.parametrize(
    "endpoint", ["https://collector:4317", "http://127.0.0.1:4317", "http://[::1]:4317/", "http://localhost:4317", ""]
)
def test_a_collector_is_reached_over_tls_or_on_this_machine(endpoint: str) -> None:
    assert of("ledger", **(PROTECTED | {"otlp_endpoint": endpoint})).protection_faults() == []


@pytest.mark.parametrize(
    "endpoint", ["collector:4317", "https://collector", "grpc://c:4317", "https://c:4317/v1/traces"]
)
def test_an_endpoint_is_scheme_host_and_port(endpoint: str) -> None:
    with pytest.raises(ValueError, match="https://host:port"):
        of("ledger", otlp_endpoint=endpoint)


def test_a_service_that_outsiders_call_says_so() -> None:
    open_to_all = PROTECTED | {"grpc_client_authority_file": None, "grpc_allowed_peers": {}, "grpc_public": True}
    assert of("registry", **open_to_all).protection_faults() == []
    # What is kept to peers can't be open to those without a certificate.
    assert variables(of("ledger", **open_to_all).protection_faults()) == {
        "VITNE_GRPC_CLIENT_AUTHORITY_FILE",
        "VITNE_GRPC_ALLOWED_PEERS",
    }


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ({"grpc_certificate_file": "/tls/tls.crt"}, "VITNE_GRPC_KEY_FILE"),
        ({"grpc_client_authority_file": "/tls/ca.crt"}, "VITNE_GRPC_CERTIFICATE_FILE"),
        ({"grpc_allowed_peers": {"vitne:ledger.lease": ["issuer"]}}, "VITNE_GRPC_CLIENT_AUTHORITY_FILE"),
        (
            {"channel_certificate_file": "/tls/tls.crt", "channel_key_file": "/tls/tls.key"},
            "VITNE_CHANNEL_AUTHORITY_FILE",
        ),
    ],
)
def test_half_of_it_is_refused_in_development_too(values: Mapping[str, Any], variable: str) -> None:
    assert variables(of("ledger", environment="development", **values).protection_faults()) == {variable}


def test_an_application_of_production_is_not_even_built() -> None:
    settings = of("registry", environment="production")
    with pytest.raises(ValueError, match="VITNE_GRPC_CERTIFICATE_FILE"):
        Application("registry", settings, SystemClock(), verifier=TokenVerifier(ISSUER, "a", SystemClock()))


def test_the_command_line_refuses_in_lines_and_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITNE_ENVIRONMENT", "production")
    monkeypatch.setenv("VITNE_DATABASE_DSN", DSN)
    monkeypatch.setenv("VITNE_GRPC_ALLOWED_PEERS", '{"vitne:ledger.lease": ["spiffe://vitne.example/issuer"]}')
    assert load(CommonSettings).grpc_allowed_peers == {"vitne:ledger.lease": ("spiffe://vitne.example/issuer",)}

    async def serve(_settings: CommonSettings) -> None:
        raise AssertionError("served without TLS")

    told = {}
    for command in ("serve", "migrate"):
        assert cli("x", "X.", serve=serve, migrations=(), settings=CommonSettings, arguments=[command]) == 2
        told[command] = capsys.readouterr().err.splitlines()
    assert variables(told["serve"]) == {*SERVER, "VITNE_DATABASE_DSN"}
    assert variables(told["migrate"]) == {"VITNE_DATABASE_DSN"}
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    ("main", "offered"),
    [
        (issuer.main, True),
        (ledger.main, True),
        (registry.main, True),
        (portal.main, True),
        (verifier.main, False),
        (prober.main, False),
    ],
    ids=["issuer", "ledger", "registry", "portal", "verifier", "prober"],
)
def test_only_services_with_a_database_offer_to_migrate_it(
    main: Callable[[list[str]], int],
    offered: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["--help"], ["nonsense"]):
        with pytest.raises(SystemExit):
            main(arguments)
        told = capsys.readouterr()
        assert ("migrate" in told.out + told.err) is offered


COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[list[str]]]] = {
    "issuer": (issuer.main, [["parked", "list"]]),
    "ledger": (ledger.main, [["parked", "list"], ["rebuild-lists"]]),
    "registry": (registry.main, []),
    "portal": (portal.main, [["parked", "list"], ["rebuild"]]),
    "verifier": (verifier.main, []),
}


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("environment", ["production", None])
def test_no_service_starts_unprotected_when_it_is_production_or_not_said(
    name: str, environment: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own command line, with settings that would do in development."""
    kind, bare = SERVICES[name]
    for variable, value in bare.items():
        monkeypatch.setenv(f"VITNE_{variable.upper()}", str(value))
    monkeypatch.delenv("VITNE_ENVIRONMENT", raising=False)
    if environment is not None:
        monkeypatch.setenv("VITNE_ENVIRONMENT", environment)
    main, commands = COMMANDS[name]
    assert main(["serve"]) == 2
    assert variables(capsys.readouterr().err.splitlines()) == variables(kind(**bare).protection_faults())
    for command in commands:
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 2
        told = variables(capsys.readouterr().err.splitlines())
        assert {"VITNE_DATABASE_DSN", "VITNE_KAFKA_AUTHORITY_FILE"} <= told
        assert not told & SERVER
