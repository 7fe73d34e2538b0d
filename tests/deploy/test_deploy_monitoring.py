"""What is watched is measured, what alerts has a runbook, and what is made is what was written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.issuer.statuses import CONSUMER as ISSUER
from services.ledger.intake import CONSUMER as LEDGER
from services.portal.wiring import CONSUMER as PORTAL
from tests.deploy.manifests import K8S, ROOT, SERVICES, Installation, read
from tests.unit.declared_metrics import DECLARED
from tools.monitoring.__main__ import FOLDER, made
from tools.monitoring.slos import RUNBOOKS
from tools.monitoring.slos import read as read_slos
from vitne.metrics import Declaration

#: What others measure: Prometheus' own client, Prometheus, kube-state-metrics, cert-manager, CloudNativePG.
OTHERS = re.compile(r"(process_|kube_|certmanager_|cnpg_|barman_cloud_)\w+|up|ALERTS")
#: Words of PromQL that look like metrics.
WORDS = {"sum", "max", "rate", "increase", "count", "time", "vector", "absent", "histogram_quantile", "label_replace"}
#: What an operator reads in each runbook, in this order.
PARTS = ("**You see**", "**It means**", "**Look**", "**Do**", "**It is over**")
RUNBOOK_FOLDER = ROOT / "docs" / "operating"


def _rules() -> list[dict[str, Any]]:
    found = [manifest for file in sorted(FOLDER.glob("*.yaml")) for manifest in read(file.read_text())]
    groups = [group for each in found if each["kind"] == "PrometheusRule" for group in each["spec"]["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def _alerts() -> list[dict[str, Any]]:
    return [rule for rule in _rules() if "alert" in rule]


def _dashboards() -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(text) for file, text in made().items() if file.suffix == ".json"}


def _panels() -> list[dict[str, Any]]:
    return [panel for each in _dashboards().values() for panel in each["panels"] if panel["type"] != "row"]


def _names(expression: str) -> set[str]:
    """Metrics that a PromQL expression names: what stands before braces, or as the only thing in brackets."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\b(by|on|without|ignoring) *\([^)]*\)", " ", bare)
    return set(re.findall(r"([a-zA-Z_:][\w:]*)\{", bare)) | {
        word for word in re.findall(r"(?<![\w:$])([a-z_]\w*:[\w:]+)", bare) if word not in WORDS
    }


def _measured() -> dict[str, Declaration]:
    """What services measure, by the names that Prometheus sees."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {about.prometheus_name + suffix: about for about in DECLARED.values() for suffix in suffixes[about.kind]}


def test_what_is_made_is_what_lies_there() -> None:
    for file, text in made().items():
        assert file.read_text() == text, f"{file.name}: make monitoring"
    assert {file.name for file in (FOLDER / "dashboards").iterdir()} == {
        file.name for file in made() if file.parent.name == "dashboards"
    }


def test_rules_and_panels_name_only_what_is_measured() -> None:
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    expressions = [rule["expr"] for rule in _rules()]
    expressions += [target["expr"] for panel in _panels() for target in panel["targets"]]
    known, asked = _measured(), set[str]()
    for expression in expressions:
        for name in _names(expression):
            asked.add(name)
            assert name in recorded or name in known or OTHERS.fullmatch(name), f"nobody measures {name}"
    # The check would see nothing if it found no names.
    assert {"vitne_log_size", "vitne_issue_credentials_total", "slo:vitne_bad:ratio_rate1h"} <= asked


def test_labels_that_are_asked_for_are_told() -> None:
    known = _measured()
    target = {"namespace", "job", "pod", "container", "le", "slo"}  # of Prometheus and of its recording rules
    expressions = [rule["expr"] for rule in _rules()]
    expressions += [each["expr"] for panel in _panels() for each in panel["targets"]]
    for expression in expressions:
        for name, selector in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expression):
            if name in known:
                labels = set(re.findall(r"(\w+) *(?:=~|!=|!~|=)", selector))
                told = {attribute.replace(".", "_") for attribute in known[name].attributes}
                assert labels <= told | target, f"{name} has no {labels - told - target}"


def test_objectives_are_bounds_of_buckets() -> None:
    """A histogram tells how many were within a bound only where a bucket ends at it."""
    for slo in read_slos(FOLDER / "slos.toml"):
        for name, bound in re.findall(r'(\w+_bucket)\{[^}]*le=~"([^"]*)"', slo.bad):
            buckets = {f"{each:g}" for each in _measured()[name].buckets}
            assert bound.replace(r"(\\.0)?", "").replace(r"\\.", ".") in buckets, slo.name
        assert 0.9 <= slo.objective < 1


def test_every_alert_says_what_to_do_and_where_it_is_written() -> None:
    names = [alert["alert"] for alert in _alerts()]
    assert len(names) == len(set(names))
    for alert in _alerts():
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        page, _, anchor = alert["annotations"]["runbook_url"].removeprefix(f"{RUNBOOKS}/").partition("#")
        assert anchor == alert["alert"].lower()
        runbook = _runbook(page, alert["alert"])
        places = [runbook.find(part) for part in PARTS]
        assert -1 not in places, f"{alert['alert']} lacks {PARTS[places.index(-1)]}"
        assert places == sorted(places), alert["alert"]


def _runbook(page: str, alert: str) -> str:
    text = (RUNBOOK_FOLDER / f"{page}.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert alert in sections, f"{page}.md has no section {alert}"
    return str(sections[alert])


def test_runbooks_are_of_alerts_that_exist() -> None:
    names = {alert["alert"] for alert in _alerts()}
    for file in RUNBOOK_FOLDER.glob("*.md"):
        assert set(re.findall(r"^## (Vitne\w+)$", file.read_text(), re.MULTILINE)) <= names, file.name


def test_reasons_in_runbooks_are_reasons_of_the_code() -> None:
    code = "".join(path.read_text() for folder in ("vitne", "services") for path in (ROOT / folder).rglob("*.py"))
    for file in RUNBOOK_FOLDER.glob("*.md"):
        for reason in re.findall(r"[`\"]([A-Z]{3,}(?:_[A-Z]+)+)[`\"]", file.read_text()):
            assert f'"{reason}"' in code or reason.startswith("VITNE_") or f"{reason}:" in code, (
                f"{file.name}: {reason}"
            )


def test_log_lines_in_runbooks_are_lines_of_the_code() -> None:
    """What a runbook shows as a line of JSON begins with a message that some code logs."""
    code = "".join(path.read_text() for folder in ("vitne", "services") for path in (ROOT / folder).rglob("*.py"))
    runbooks = "".join(file.read_text() for file in RUNBOOK_FOLDER.glob("*.md"))
    shown = re.findall(r"\"message\":\"([^\"%…'\n]*)", runbooks)
    assert shown
    for message in shown:
        assert message.strip() in code, message


def test_every_alert_is_tried() -> None:
    tests = Path(__file__).parent
    tried = set(yaml.safe_load((tests / "symptoms.yaml").read_text()))
    text = (tests / "alerts.yaml").read_text()
    for alert in _alerts():
        assert alert["alert"] in tried or alert["alert"] in text or "slo" in alert["labels"], alert["alert"]


@pytest.mark.parametrize("role", ["operator", "authority", "institution"])
def test_dashboards_can_be_read(role: str) -> None:
    dashboard = _dashboards()[role]
    rows = [place for place, panel in enumerate(dashboard["panels"]) if panel["type"] == "row"]
    for place in rows:
        assert dashboard["panels"][place + 1]["type"] != "row", "an empty row"
    assert dashboard["panels"][-1]["type"] != "row"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["targets"]
            for target in panel["targets"]:
                assert target["legendFormat"]
                assert target["exemplar"] == ("histogram_quantile" in target["expr"]), panel["title"]


def test_dashboards_are_delivered(production: Installation) -> None:
    maps = [each for each in production.all("ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    delivered = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert delivered == {f"{name}.json": dashboard for name, dashboard in _dashboards().items()}


def test_every_service_is_scraped_over_tls_by_its_own_name(production: Installation) -> None:
    monitors = {monitor["metadata"]["name"]: monitor["spec"] for monitor in production.all("PodMonitor")}
    assert monitors.pop("databases")["selector"] == {"matchLabels": {"cnpg.io/podRole": "instance"}}
    assert set(monitors) == {*SERVICES, "prober"}
    for name, monitor in monitors.items():
        pod = production.one("Deployment", name)["spec"]["template"]
        assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert pod["metadata"]["labels"][monitor["jobLabel"]] == name
        (endpoint,) = monitor["podMetricsEndpoints"]
        (container,) = pod["spec"]["containers"]
        assert endpoint["port"] in {port["name"] for port in container["ports"]}
        assert endpoint["scheme"] == "https"
        assert endpoint["tlsConfig"]["serverName"] in production.one("Certificate", name)["spec"]["dnsNames"]
        bundle = production.one("Bundle", endpoint["tlsConfig"]["ca"]["configMap"]["name"])
        assert bundle["spec"]["target"]["configMap"]["key"] == endpoint["tlsConfig"]["ca"]["configMap"]["key"]


def test_scaling_by_lag_asks_for_what_is_measured(production: Installation) -> None:
    known = _measured()
    consumers = {"issuer": ISSUER, "ledger": LEDGER, "portal": PORTAL}
    scaled = {each["metadata"]["name"]: each["spec"] for each in production.all("ScaledObject")}
    assert set(scaled) == set(consumers)
    assert not {each["metadata"]["name"] for each in production.all("HorizontalPodAutoscaler")} & set(scaled)
    for name, spec in scaled.items():
        (query,) = [each["metadata"]["query"] for each in spec["triggers"] if each["type"] == "prometheus"]
        assert _names(query) <= set(known)
        assert f'consumer="{consumers[name]}"' in query
        assert spec["scaleTargetRef"]["name"] == name
        behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert behaviour == production.one("HorizontalPodAutoscaler", "registry")["spec"]["behavior"]


def test_what_production_wants_monitoring_has(production: Installation) -> None:
    assert {each["metadata"]["name"] for each in production.all("PrometheusRule")} == {
        "vitne-kubernetes",
        "vitne-services",
        "vitne-slos",
    }
    for each in production.all("PrometheusRule"):
        assert each["metadata"]["namespace"] == "vitne"
    assert (K8S / "components" / "monitoring" / "slos.toml").exists()
