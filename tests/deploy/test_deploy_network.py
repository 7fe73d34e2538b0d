"""Who may talk to whom: exactly those that the services' wiring lets talk, and nobody else."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import Mock

import pytest
from fastapi.routing import APIRoute
from google.protobuf import descriptor_pool

from services.registry.recorder import Recorder
from services.registry.wallet_pages import wallet_routes
from tests.deploy.manifests import K8S, SERVICES, Installation, render
from tests.unit.portal_site import learner_site
from vitne_api.access.v1 import access_pb2
from vitne_api.issuer.v1 import issuer_pb2_grpc, rights_pb2_grpc, subscription_pb2_grpc, webhooks_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2_grpc
from vitne_api.registry.v1 import registry_pb2_grpc
from vitne_api.verifier.v1 import verifier_pb2_grpc

CONTRACTS = (
    *(issuer_pb2_grpc, rights_pb2_grpc, subscription_pb2_grpc, webhooks_pb2_grpc),
    *(ledger_pb2_grpc, registry_pb2_grpc, verifier_pb2_grpc),
)
DATABASES = {
    "registry": {"registry-db"},
    "issuer": {"issuer-db", "learner-keys-db"},
    "ledger": {"ledger-db"},
    "verifier": set(),
    "portal": {"portal-db"},
}
PROTOS = K8S.parents[1] / "proto"
PORTS = {50051: "grpc", 8443: "https", 9464: "metrics"}

#: Who connects to what, as read from each service's wiring: (from, to, port).
CALLS = {
    ("issuer", "ledger", 50051),
    ("verifier", "ledger", 50051),
    ("portal", "issuer", 50051),
    ("portal", "registry", 50051),
    ("portal", "verifier", 50051),
    ("gateway", "registry", 50051),
    ("gateway", "registry", 8443),
    ("gateway", "issuer", 50051),
    ("gateway", "ledger", 50051),
    ("gateway", "ledger", 8443),
    ("gateway", "verifier", 50051),
    ("gateway", "verifier", 8443),
    ("gateway", "portal", 8443),
    *((service, database, 5432) for service, databases in DATABASES.items() for database in databases),
    *((f"{service}-migrate", database, 5432) for service, databases in DATABASES.items() for database in databases),
    *((service, "kafka", 9093) for service in SERVICES),
    *((service, "world", 443) for service in SERVICES),
    *(("prometheus", service, 9464) for service in SERVICES),
    *((service, "collector", 4317) for service in SERVICES),
}
#: The auditor reads every database but that of learners' keys; what is due is looked for in the registry's; the log is
#: ended in the ledger's.
CALLS |= {("auditor", database, 5432) for found in DATABASES.values() for database in found - {"learner-keys-db"}}
CALLS |= {("auditor", "kafka", 9093), ("auditor", "world", 443)}
CALLS |= {("due", "registry-db", 5432), ("close", "ledger-db", 5432)}
#: The prober comes from outside, as callers do.
ONLY_PRODUCTION = {("prober", "world", 443), ("prometheus", "prober", 9464)}
#: The kind overlay has no public address by which to fetch status lists.
ONLY_KIND = {("verifier", "ledger", 8443), ("auditor", "ledger", 8443)}
TRIED = (50051, 8443, 9464, 4317, 5432, 9093, 443, 80)
#: They come by public addresses, which a cluster may lead to the gateway's pods itself; these listen where they like.
BY_THE_GATEWAY = {"kind": {"verifier", "auditor"}, "production": {"verifier", "auditor", "prober"}}

MONITORING = {"kubernetes.io/metadata.name": "monitoring", "vitne.no/monitoring": "true"}

Party = tuple[dict[str, str], dict[str, str]]  # labels of the namespace, labels of the pod


def _parties() -> dict[str, Party]:
    ours = {"kubernetes.io/metadata.name": "vitne"}
    parties: dict[str, Party] = {
        "gateway": ({"kubernetes.io/metadata.name": "gateways", "vitne.no/ingress": "true"}, {"app": "envoy"}),
        "kafka": (
            {"kubernetes.io/metadata.name": "kafka"},
            {"strimzi.io/cluster": "kafka", "strimzi.io/kind": "Kafka"},
        ),
        "prometheus": (MONITORING, {"app.kubernetes.io/name": "prometheus"}),
        "collector": (MONITORING, {"app.kubernetes.io/name": "opentelemetry-collector"}),
        "stranger": ({"kubernetes.io/metadata.name": "default"}, {"app.kubernetes.io/name": "issuer"}),
        "neighbour": (ours, {"app.kubernetes.io/name": "shell"}),
    }
    for component, name in {"auditor": "auditor", "due": "registry", "close": "ledger", "prober": "prober"}.items():
        parties[component] = (ours, {"app.kubernetes.io/name": name, "app.kubernetes.io/component": component})
    for service in SERVICES:
        parties[service] = (ours, {"app.kubernetes.io/name": service, "app.kubernetes.io/component": "service"})
        if DATABASES[service]:
            labels = {"app.kubernetes.io/name": service, "app.kubernetes.io/component": "migrate"}
            parties[f"{service}-migrate"] = (ours, labels)
        for database in DATABASES[service]:
            parties[database] = (ours, {"cnpg.io/cluster": database})
    return parties


def _matches(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    if selector is None:
        return False
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In", "this evaluator knows no other"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _peer(peer: dict[str, Any], party: Party | None) -> bool:
    """Whether a peer of a rule means the party; None is an address of the world."""
    if "ipBlock" in peer:
        return party is None
    if party is None:
        return False
    namespace, pod = party
    if "namespaceSelector" in peer:
        inside = _matches(peer["namespaceSelector"], namespace)
    else:
        inside = namespace["kubernetes.io/metadata.name"] == "vitne"
    return inside and _matches(peer.get("podSelector", {}), pod)


def _allows(
    installation: Installation, direction: str, subject: Party, other: Party | None, port: int, name: str | None
) -> bool:
    namespace, labels = subject
    if namespace["kubernetes.io/metadata.name"] != "vitne":
        return True
    end = {"Ingress": "from", "Egress": "to"}[direction]
    for policy in installation.all("NetworkPolicy"):
        spec = policy["spec"]
        if direction in spec["policyTypes"] and _matches(spec["podSelector"], labels):
            for rule in spec.get(direction.lower(), ()):
                ports = {entry["port"] for entry in rule.get("ports", ({"port": port},))}
                # A rule without an end means all; those of the databases' egress are told apart in a test of theirs.
                if end in rule and ports & {port, name} and any(_peer(peer, other) for peer in rule[end]):
                    return True
    return False


def test_exactly_what_the_wiring_says_is_allowed(installation: Installation) -> None:
    parties = _parties()
    allowed = set()
    for source, party in parties.items():
        for target in (*parties, "world"):
            to = parties.get(target)
            for port in TRIED:
                name = PORTS.get(port)
                out = _allows(installation, "Egress", party, to, port, name)
                into = to is None or _allows(installation, "Ingress", to, party, port, name)
                if out and into and source != target:
                    allowed.add((source, target, port))
    # The collector is told by all in its namespaces, as Prometheus asks from there.
    allowed -= {(service, "prometheus", 4317) for service in SERVICES}
    allowed -= {("collector", service, 9464) for service in (*SERVICES, "prober")}
    outside = {"gateway", "stranger", "kafka", "prometheus", "collector"}  # what these do among themselves is not ours
    allowed = {call for call in allowed if not (call[0] in outside and call[1] in outside | {"world"})}
    expected = CALLS | (ONLY_KIND if installation.name == "kind" else ONLY_PRODUCTION)
    expected |= {(caller, "gateway", port) for caller in BY_THE_GATEWAY[installation.name] for port in TRIED}
    assert allowed == expected


def test_a_restored_database_is_reached_and_reaches_as_the_lost_one_does(production: Installation) -> None:
    restored = Installation("recovery", render(K8S / "recovery"))
    (policy,) = restored.all("NetworkPolicy")
    (cluster,) = restored.all("Cluster")
    name = cluster["metadata"]["name"]
    lost = name.removesuffix("-restored")
    assert policy["spec"]["podSelector"]["matchLabels"] == {"cnpg.io/cluster": name}
    parties = _parties()
    parties["restored"] = (parties[lost][0], {"cnpg.io/cluster": name})

    def reached(installation: Installation, database: str) -> set[tuple[str, int]]:
        return {
            (source, port)
            for source, party in parties.items()
            for port in TRIED
            if _allows(installation, "Ingress", parties[database], party, port, None)
        }

    itself = {(lost, 5432), ("restored", 5432)}
    assert reached(restored, "restored") - itself == reached(production, lost) - itself
    assert policy["spec"]["egress"][1:] == production.one("NetworkPolicy", lost)["spec"]["egress"][1:]


def test_nothing_is_allowed_that_no_policy_allows(installation: Installation) -> None:
    spec = installation.one("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_databases_reach_any_address(installation: Installation) -> None:
    """They need Kubernetes' API and the object store, at addresses that only the installation knows."""
    for policy in installation.all("NetworkPolicy"):
        rules = [rule for rule in policy["spec"].get("egress", ()) if "to" not in rule]
        if rules:
            assert policy["metadata"]["name"].endswith("-db")
            assert [entry["port"] for rule in rules for entry in rule["ports"]] == [443, 6443]
        for rule in policy["spec"].get("ingress", ()):
            assert rule["from"]


def test_private_addresses_are_not_the_world(installation: Installation) -> None:
    blocks = [
        peer["ipBlock"]
        for policy in installation.all("NetworkPolicy")
        for rule in policy["spec"].get("egress", ())
        for peer in rule.get("to", ())
        if "ipBlock" in peer
    ]
    parties = len(SERVICES) + (2 if installation.name == "production" else 1)  # the auditor, the prober
    assert len(blocks) == 2 * parties
    for block in blocks:
        private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}
        assert private <= set(block["except"]) or block["cidr"] == "::/0"


def _methods(installation: Installation) -> set[tuple[str, str]]:
    """What the gateway lets in, method by method."""
    reached = set()
    for rule in installation.one("GRPCRoute", "api")["spec"]["rules"]:
        (backend,) = rule["backendRefs"]
        for match in rule["matches"]:
            service = descriptor_pool.Default().FindServiceByName(match["method"]["service"])
            assert service.full_name == f"vitne.{backend['name']}.v1.{service.name}"
            names = {method.name for method in service.methods}
            wanted = {match["method"]["method"]} if "method" in match["method"] else names
            assert wanted <= names
            reached |= {(service.full_name, name) for name in wanted}
    return reached


def test_the_gateway_lets_in_what_is_for_outsiders(installation: Installation) -> None:
    """All methods, but those of the ledger that only the issuer's scopes open."""
    expected, seen = set(), set()
    for contract in CONTRACTS:
        for service in _services(contract):
            seen.add(service.full_name)
            for method in service.methods:
                access = method.GetOptions().Extensions[access_pb2.access]
                if not access.scope.startswith("vitne:ledger."):
                    expected.add((service.full_name, method.name))
    declared = {
        f"vitne.{path.parts[-3]}.v1.{name}"
        for service in SERVICES
        for path in PROTOS.glob(f"vitne/{service}/v1/*.proto")
        for name in re.findall(r"^service (\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert seen == declared, "whoever adds a service adds it to CONTRACTS"
    assert _methods(installation) == expected


def _services(contract: Any) -> list[Any]:
    """The services of a module that protoc made for gRPC."""
    package = contract.__name__.removeprefix("vitne_api.").removesuffix("_pb2_grpc").replace(".", "/")
    file = descriptor_pool.Default().FindFileByName(f"vitne/{package}.proto")
    return list(file.services_by_name.values())


def test_every_page_of_the_portal_is_reached_by_way_of_the_gateway(installation: Installation) -> None:
    rules = installation.one("HTTPRoute", "portal")["spec"]["rules"]
    let_in = [match["path"] for rule in rules for match in rule["matches"]]
    addresses = [route.path for route in learner_site([], None).routes if isinstance(route, APIRoute)]
    addresses.remove("/{path:path}")  # what there is no page for
    assert "/erased" in addresses
    for address in addresses:
        assert any(
            address == one["value"] or (one["type"] == "PathPrefix" and address.startswith(f"{one['value']}/"))
            for one in let_in
        ), address


def test_wallets_reach_what_they_ask_about_a_credential(installation: Installation) -> None:
    (rule,) = installation.one("HTTPRoute", "registry")["spec"]["rules"]
    prefixes = [match["path"]["value"] for match in rule["matches"] if match["path"]["type"] == "PathPrefix"]
    asked = [route.path for route in wallet_routes(Mock(Recorder)).routes if isinstance(route, APIRoute)]
    assert len(asked) == 3
    for path in asked:
        assert any(path.startswith(f"{prefix}/") for prefix in prefixes), path


def test_routes_lead_through_the_gateway_to_services(installation: Installation) -> None:
    listeners = {entry["name"]: entry for entry in installation.one("Gateway", "vitne")["spec"]["listeners"]}
    used = set()
    for route in (*installation.all("HTTPRoute"), *installation.all("GRPCRoute")):
        (parent,) = route["spec"]["parentRefs"]
        assert route["spec"]["hostnames"] == [listeners[parent["sectionName"]]["hostname"]]
        used.add(parent["sectionName"])
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                ports = installation.one("Service", backend["name"])["spec"]["ports"]
                assert backend["port"] in {port["port"] for port in ports}
            for match in rule["matches"]:
                path = match.get("path", {"type": "Exact", "value": "-"})
                # Probes are nobody's business outside: no prefix that covers them.
                assert path["type"] != "PathPrefix" or path["value"] != "/"
                assert path["value"] not in {"/livez", "/readyz"}
    assert used == set(listeners)
    for listener in listeners.values():
        assert listener["protocol"] == "HTTPS"


@pytest.mark.parametrize("service", SERVICES)
def test_behind_the_gateway_it_is_tls_again(installation: Installation, service: str) -> None:
    policy = installation.one("BackendTLSPolicy", service)["spec"]
    assert [target["name"] for target in policy["targetRefs"]] == [service]
    assert policy["validation"]["hostname"] in installation.one("Certificate", service)["spec"]["dnsNames"]
    certificate = installation.one("Gateway", "vitne")["spec"]["tls"]["backend"]["clientCertificateRef"]["name"]
    shown = installation.one("Certificate", "gateway-client")["spec"]
    assert shown["secretName"] == certificate
    assert "client auth" in shown["usages"]
