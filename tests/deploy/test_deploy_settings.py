"""The settings in the manifests are settings of the services, and a service starts with them in production."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.auditor.settings import AuditorSettings
from services.issuer.crypto import INDEX_KEY, WRAPPING_KEY
from services.issuer.settings import IssuerSettings
from services.issuer.webhooks.endpoints import WEBHOOK_KEY
from services.issuer.wiring import REQUIRED
from services.ledger.leases import SECRET_FILE
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import prepare as ledger_keys
from services.portal.__main__ import main as portal
from services.portal.sealing import INDEX_KEY_FILE, WRAPPING_KEY_FILE
from services.portal.settings import PortalSettings
from services.prober.settings import ProberSettings
from services.registry.settings import RegistrySettings
from services.registry.wiring import service_keys as registry_keys
from services.verifier.settings import VerifierSettings
from tests.deploy.manifests import SERVICES, Installation, Manifest
from vitne.runtime.secret_files import is_exposed
from vitne.runtime.settings import PREFIX, CommonSettings, load

SETTINGS: dict[str, type[CommonSettings]] = {
    "registry": RegistrySettings,
    "issuer": IssuerSettings,
    "ledger": LedgerSettings,
    "verifier": VerifierSettings,
    "portal": PortalSettings,
}
CALLS_NOBODY = ("channel_authority_file", "channel_certificate_file", "channel_key_file")
#: Workloads that are told settings: of which kind, and which settings.
WORKLOADS: dict[str, tuple[str, type[CommonSettings]]] = {
    **{service: ("Deployment", kind) for service, kind in SETTINGS.items()},
    "auditor": ("CronJob", AuditorSettings),
    "prober": ("Deployment", ProberSettings),
}
#: What a service can't do its work without, though its settings have a default (wiring.py of each).
NEEDED = {
    "registry": ("database_dsn", "kafka_bootstrap_servers", "identity_issuer", "audience", "operator"),
    "issuer": (*REQUIRED, "client_id", "client_key_file", "hubs"),
    "ledger": ("database_dsn", "kafka_bootstrap_servers", "identity_issuer", "audience", "grpc_allowed_peers"),
    "verifier": ("kafka_bootstrap_servers", "identity_issuer", "operator", "ledger_address", "allow"),
    "portal": (
        "database_dsn",
        "issuer_address",
        "registry_address",
        "public_url",
        "client_id",
        "client_key_file",
        "hub",
    ),
}
#: What the manifests leave at its default on purpose, for any workload, and why.
LEFT: dict[str, tuple[str, ...]] = {
    "for development, or for machines that are no cluster": (
        "grpc_public",
        "http_behind_ingress",
        "http_port_shared",
        "kafka_groups",
        "kafka_idempotence",
        "trace_file",
    ),
    "measured as they are (docs/benchmarks.md), or terms that somebody decides on": (
        "daily_quota",
        "daily_quotas",
        "database_connections",
        "due_lead_days",
        "heartbeat_seconds",
        "interval_seconds",
        "learner_keys_connections",
        "lease_block",
        "lease_low_water",
        "list_lifetime_seconds",
        "list_size",
        "list_ttl_seconds",
        "part_grace_days",
        "publication_interval_seconds",
        "publish_interval_seconds",
        "refresh_seconds",
        "registry_staleness_seconds",
        "sequence_interval_seconds",
        "session_seconds",
        "step_seconds",
        "trust_list_refresh_seconds",
        "witness_interval_seconds",
    ),
    "an installation chooses more than law and readings of it (docs/decisions/0011)": ("standings",),
    "a collector of the installation's own": ("otlp_endpoint",),
    "witnesses, once there are some (docs/operating/log.md)": ("log_policy_file",),
    "a store of objects for the static files of log and lists, where there is one (services/ledger/README.md)": (
        "storage",
        "storage_key_id",
        "storage_region",
        "storage_secret_file",
    ),
    "EMREX, once somebody is to be answered or asked (docs/emrex.md)": ("emrex_clients_file", "emrex_providers_file"),
    "Feide, once the portal is registered there (services/portal/README.md)": (
        "feide_acr",
        "feide_client_id",
        "feide_issuer",
        "feide_number_claim",
        "feide_scope",
        "feide_secret_file",
    ),
    "EMREX, once the portal is registered in its register (services/portal/README.md)": (
        "emrex_clients_file",
        "emrex_providers_file",
    ),
    "lists of trusted certificates, where an operator keeps some (docs/verify.md)": ("trust_anchors",),
}
#: The same for what others need: who calls nobody shows nothing, and who asks for no scope of its own demands none.
LEFT_BY: dict[str, tuple[str, ...]] = {
    "registry": (*CALLS_NOBODY, "client_id", "client_key_file", "grpc_allowed_peers"),
    # Nobody's tokens carry certificates until an operator says whose (docs/decisions/0035).
    "issuer": ("grpc_allowed_peers", "x5c", "hub_registration_ends"),
    "ledger": (*CALLS_NOBODY, "client_id", "client_key_file", "changes_told_together"),
    # It follows topics, and asks the ledger without a token.
    "verifier": (
        "client_id",
        "client_key_file",
        "database_dsn",
        "grpc_allowed_peers",
        "registry_key",
        "trust_list_url",
    ),
    "portal": ("grpc_allowed_peers",),
    # The hosts that it calls by their public names want no certificate of it; the first version of its achievement; and
    # no synthetic learner can log in with production's ID-porten (docs/decisions/0033).
    "prober": (
        "hub",
        "hub_client_id",
        "hub_client_key_file",
        "achievement_version",
        "channel_certificate_file",
        "channel_key_file",
        "database_dsn",
        "grpc_allowed_peers",
    ),
    # It reads databases and topics, and only portals of one's own.
    "auditor": (*CALLS_NOBODY, "client_id", "client_key_file", "database_dsn", "grpc_allowed_peers", "hubs"),
}
#: Variables that others than our settings read.
OTHERS = {"SSL_CERT_FILE", "DB_USER", "DB_PASSWORD", "KEYS_DB_USER", "KEYS_DB_PASSWORD"}


def _pods(installation: Installation, service: str) -> list[Manifest]:
    found = [installation.one("Deployment", service)]
    found += [job for job in installation.all("Job") if job["metadata"]["name"] == f"{service}-migrate"]
    return [manifest["spec"]["template"] for manifest in found]


def _load(monkeypatch: pytest.MonkeyPatch, installation: Installation, service: str) -> CommonSettings:
    (container,) = installation.one("Deployment", service)["spec"]["template"]["spec"]["containers"]
    for name, value in installation.environment(container).items():
        monkeypatch.setenv(name, value)
    return SETTINGS[service]()


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting(installation: Installation, service: str) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in SETTINGS[service].model_fields} | OTHERS
    for pod in _pods(installation, service):
        (container,) = pod["spec"]["containers"]
        assert set(installation.environment(container)) <= known


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_setting_is_given_or_left_on_purpose(production: Installation, workload: str) -> None:
    kind, settings = WORKLOADS[workload]
    pod = production.one(kind, workload)["spec"]
    (container,) = (pod["jobTemplate"]["spec"] if kind == "CronJob" else pod)["template"]["spec"]["containers"]
    given = set(production.environment(container))
    silent = {name for name in settings.model_fields if f"{PREFIX}{name.upper()}" not in given}
    anywhere = {name for names in LEFT.values() for name in names}
    assert silent - anywhere == set(LEFT_BY[workload])


def test_nothing_is_said_to_be_left_that_no_workload_has() -> None:
    known = {name for _, settings in WORKLOADS.values() for name in settings.model_fields}
    assert {name for names in LEFT.values() for name in names} <= known


@pytest.mark.parametrize("service", SERVICES)
def test_the_service_would_start(installation: Installation, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, installation, service)
    assert settings.environment == "production"
    assert settings.protection_faults() == []
    assert [name for name in NEEDED[service] if not getattr(settings, name)] == []
    assert settings.kafka_groups
    assert settings.kafka_idempotence
    assert settings.trace_file is None  # the root is read-only


@pytest.mark.parametrize("service", SERVICES)
def test_files_that_settings_name_are_mounted(
    installation: Installation, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _load(monkeypatch, installation, service)
    for pod in _pods(installation, service):
        (container,) = pod["spec"]["containers"]
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        environment = installation.environment(container)
        files = re.findall(r"sslrootcert=(/[^&\s]+)", " ".join(environment.values()))
        if "serve" in container["command"]:
            named = [getattr(settings, name) for name in type(settings).model_fields if name.endswith("_file")]
            folders = [getattr(settings, "certificates", None)]
            files += [str(path) for path in (*named, *(folder and folder / "any.pem" for folder in folders)) if path]
        assert files or service == "verifier"
        for file in files:
            assert any(file.startswith(f"{mount}/") for mount in mounts), file


@pytest.mark.parametrize(
    ("service", "files"),
    [
        ("registry", ("keys", "labels")),
        ("ledger", ("keys", "labels", SECRET_FILE)),
        ("issuer", ("keys", "labels")),
        ("portal", ("keys", "labels")),
    ],
)
def test_state_lies_where_the_service_looks(installation: Installation, service: str, files: tuple[str, ...]) -> None:
    (container,) = installation.one("Deployment", service)["spec"]["template"]["spec"]["containers"]
    folder = installation.environment(container)["VITNE_STATE_DIR"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    for file in files:
        # Keys are made nowhere but in the issuer's custody: a replica with keys of its own would split the service.
        assert mounts[f"{folder}/{file}"].get("readOnly", False) == (service != "issuer")


def test_keys_are_made_as_they_are_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of ``keys`` and ``labels`` become entries of Secrets: flat, with names that a Secret can have."""
    for service in ("registry", "ledger", "portal"):
        monkeypatch.setenv("VITNE_STATE_DIR", str(tmp_path / service))
        if service == "registry":
            registry_keys(RegistrySettings())
        elif service == "ledger":
            ledger_keys(LedgerSettings())
        else:
            assert portal(["keys"]) == 0
        files = [path.relative_to(tmp_path / service) for path in (tmp_path / service).rglob("*") if path.is_file()]
        assert {path.parts[0] for path in files} - {SECRET_FILE} == {"keys", "labels"}
        for path in files:
            assert len(path.parts) <= 2
            assert re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", path.name)


@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("issuer", (WRAPPING_KEY, INDEX_KEY, WEBHOOK_KEY)),
        ("ledger", (SECRET_FILE,)),
        ("portal", (WRAPPING_KEY_FILE, INDEX_KEY_FILE)),
    ],
)
def test_key_files_are_mounted_by_name_as_the_service_takes_them(
    installation: Installation, service: str, names: tuple[str, ...]
) -> None:
    pod = installation.one("Deployment", service)["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    (container,) = pod["containers"]
    (volume,) = (each["secret"] for each in pod["volumes"] if each["name"] == "secrets")
    user = pod["securityContext"]["runAsUser"]
    assert volume["secretName"] == f"{service}-secrets"
    # A mounted Secret belongs to root; the group by which the process reads it is the pod's.
    assert pod["securityContext"]["fsGroup"]
    assert not is_exposed(volume["defaultMode"], owner=0, user=user)
    folder = installation.environment(container)["VITNE_STATE_DIR"]
    mounted = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
    assert all(mount["readOnly"] for mount in mounted)
    found = {mount["mountPath"]: mount.get("subPath") for mount in mounted}
    assert found in ({folder: None}, {f"{folder}/{name}": name for name in names})


def test_one_issuer_is_behind_several_replicas_keys(production: Installation) -> None:
    claim = production.one("PersistentVolumeClaim", "issuer-custody")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_auditor_would_look(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = installation.one("CronJob", "auditor")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = installation.environment(container)
    assert set(environment) <= {f"{PREFIX}{name.upper()}" for name in AuditorSettings.model_fields} | OTHERS
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load(AuditorSettings)
    assert settings.faults() == []
    assert settings.portals
    # Where lists have no public address it is told another, and whom to trust there.
    assert bool(settings.lists_served_at) == (installation.name == "kind") == ("SSL_CERT_FILE" in environment)


def test_the_prober_would_start(production: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = production.one("Deployment", "prober")["spec"]["template"]["spec"]["containers"]
    environment = production.environment(container)
    assert set(environment) <= {f"{PREFIX}{name.upper()}" for name in ProberSettings.model_fields} | OTHERS
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load(ProberSettings)
    assert settings.protection_faults() == []
    # It goes through the gateway, to hosts that lead somewhere.
    hosts = {
        host
        for kind in ("HTTPRoute", "GRPCRoute")
        for each in production.all(kind)
        for host in each["spec"]["hostnames"]
    }
    assert {address.partition(":")[0] for address in (settings.issuer_address, settings.ledger_address)} <= hosts
    assert {urlsplit(url).hostname for url in (settings.verifier_url, settings.trust_list_url)} <= hosts


def test_the_look_for_what_is_due_would_start(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = installation.one("CronJob", "accreditations-due")["spec"]["jobTemplate"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    for name, value in installation.environment(container).items():
        monkeypatch.setenv(name, value)
    settings = RegistrySettings()
    assert settings.database_faults() == []
    assert container["command"][:4] == ["python", "-m", "services.registry", "due"]
    # It records what it finds: as somebody, and where one can write.
    assert "--record" in container["command"]
    assert settings.operator
    assert "-rw." in settings.database_dsn


def test_the_end_of_a_log_would_come_when_somebody_wants_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = installation.one("CronJob", "close-log")["spec"]
    assert job["suspend"] is True
    pod = job["jobTemplate"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    environment = installation.environment(container)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = LedgerSettings()
    assert settings.database_faults() == []
    # It names the year after that of the settings, which a log that ended can't be followed by.
    *command, following = container["command"]
    assert command == ["python", "-m", "services.ledger", "close", "--next"]
    host, _, year = settings.log_origin.rpartition("/")
    assert following == f"{host}/{int(year) + 1}"
    # Both keys sign, and it makes none.
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    service = installation.one("Deployment", "ledger")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    for name in ("keys", "labels"):
        assert mounts[name] in service
        assert mounts[name]["readOnly"]


@pytest.mark.parametrize("service", SERVICES)
def test_addresses_lead_to_services(installation: Installation, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, installation, service)
    known = {
        f"{manifest['metadata']['name']}.vitne.svc:{port['port']}"
        for manifest in installation.all("Service")
        for port in manifest["spec"]["ports"]
    }
    for target in settings.grpc_targets:
        address = getattr(settings, target)
        assert address in known
        # The callee's certificate bears the name that it is called by.
        callee = address.split(".")[0].removesuffix("-pods")
        assert address.split(":")[0] in installation.one("Certificate", callee)["spec"]["dnsNames"]
    for name in settings.databases:
        if dsn := getattr(settings, name):
            parts = urlsplit(dsn)
            cluster = installation.one("Cluster", (parts.hostname or "").split(".")[0].removesuffix("-rw"))
            initdb = cluster["spec"]["bootstrap"]["initdb"]
            assert parts.path == f"/{initdb['database']}"
    broker = installation.one("Kafka", "kafka")["spec"]["kafka"]["listeners"][0]
    host, _, port = settings.kafka_bootstrap_servers.partition(":")
    assert int(port) == broker["port"]
    assert host in installation.one("Certificate", "kafka-listener")["spec"]["dnsNames"]


def test_who_may_use_a_scope_has_the_certificate_for_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = _load(monkeypatch, installation, "ledger").grpc_allowed_peers
    names = {uri for certificate in installation.all("Certificate") for uri in certificate["spec"].get("uris", ())}
    assert {name for allowed in peers.values() for name in allowed} <= names
    assert set(peers) == set(LedgerSettings.service_scopes)


def test_all_agree_on_what_is_signed(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {}
    for service in SERVICES:
        with monkeypatch.context() as patch:
            loaded[service] = _load(patch, installation, service)
    registry, issuer, ledger, verifier, portal = (loaded[service] for service in SERVICES)
    assert isinstance(registry, RegistrySettings)
    assert isinstance(issuer, IssuerSettings)
    assert isinstance(ledger, LedgerSettings)
    assert isinstance(verifier, VerifierSettings)
    assert isinstance(portal, PortalSettings)
    assert verifier.registry_uri == registry.registry_uri
    assert registry.standings == issuer.standings == verifier.standings
    assert verifier.log_origin == ledger.log_origin
    assert any(rule.prefix == f"{ledger.status_base_url}/" for rule in verifier.allow_rules)
    assert issuer.ledger_audience == ledger.audience
    assert issuer.hubs[portal.hub] == (portal.learner_client_id or portal.client_id)
    assert len({settings.operator for settings in loaded.values()}) == 1
    hosts = {name for route in installation.all("HTTPRoute") for name in route["spec"]["hostnames"]}
    for url in (registry.registry_uri, ledger.status_base_url, portal.public_url):
        assert urlsplit(url).hostname in hosts


def test_databases_have_room_for_all_connections(production: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """All replicas, one more during a roll-out, the migration, and CloudNativePG's own."""
    for service in ("registry", "issuer", "ledger", "portal"):
        with monkeypatch.context() as patch:
            settings = _load(patch, production, service)
        by_lag = [each for each in production.all("ScaledObject") if each["metadata"]["name"] == service]
        if by_lag:
            replicas = by_lag[0]["spec"]["maxReplicaCount"] + 1
        else:
            replicas = production.one("HorizontalPodAutoscaler", service)["spec"]["maxReplicas"] + 1
        limit = int(production.one("Cluster", f"{service}-db")["spec"]["postgresql"]["parameters"]["max_connections"])
        assert replicas * settings.database_connections + 20 <= limit


def test_examples_of_overlays_are_the_only_place_with_names_of_the_installation() -> None:
    common = (Path(__file__).parents[2] / "deploy/k8s/base/settings/common.env").read_text()
    for name in ("VITNE_OPERATOR", "VITNE_IDENTITY_ISSUER", "VITNE_AUDIENCE"):
        assert name not in common
