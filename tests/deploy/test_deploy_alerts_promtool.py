"""Every alert, tried on series that are made up (promtool, of Debian's package ``prometheus``)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import read
from tools.monitoring.__main__ import FOLDER, made
from tools.monitoring.slos import URGENCIES, Slo, rule_groups
from tools.monitoring.slos import read as read_slos

HERE = Path(__file__).parent
SLOS = read_slos(FOLDER / "slos.toml")
SYMPTOMS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "symptoms.yaml").read_text())
#: Good events, in two minutes, in the tests of objectives.
EVENTS = 10_000


def _write(file: Path, groups: list[dict[str, Any]]) -> Path:
    file.write_text(yaml.safe_dump({"groups": groups}))
    return file


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the groups of each file of rules, as Prometheus reads them."""
    folder = tmp_path_factory.mktemp("rules")
    for name in ("kubernetes", "services", "slos"):
        (manifest,) = read((FOLDER / f"{name}.yaml").read_text())
        _write(folder / f"{name}.yaml", manifest["spec"]["groups"])
    return folder


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _try(rules: Path, tests: list[dict[str, Any]], interval: str) -> None:
    file = rules.with_name(f"{rules.stem}-tests.yaml")
    file.write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": interval, "tests": tests}))
    _promtool("test", "rules", file)


def _case(series: dict[str, str], alert: str, at: str, fires: bool, interval: str = "1m") -> dict[str, Any]:
    expr = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    return {
        "name": f"{alert} {'fires' if fires else 'is quiet'}",
        "interval": interval,
        "input_series": [
            {"series": name.replace("{}{", '{namespace="vitne", '), "values": values} for name, values in series.items()
        ],
        "promql_expr_test": [
            {"expr": expr, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}
        ],
    }


def test_rules_are_well_formed(rules: Path) -> None:
    _promtool("check", "rules", *sorted(rules.glob("*.yaml")))


def test_rules_of_kubernetes_fire_when_they_should_and_only_then(rules: Path) -> None:
    test = rules / "kubernetes-tests.yaml"
    test.write_text((HERE / "alerts.yaml").read_text())
    _promtool("test", "rules", test)


def test_symptoms_raise_their_alert_and_what_is_just_below_does_not(rules: Path) -> None:
    tests = [
        _case(case[kind], alert, case["at"], kind == "fires")
        for alert, case in SYMPTOMS.items()
        for kind in ("fires", "quiet")
    ]
    tests.append(_case({'up{}{job="issuer"}': "1x20"}, "VitneProbeSilent", "10m", True))
    # It never came through once.
    tests.append(_case({'kube_cronjob_created{}{cronjob="auditor"}': "-129600x20"}, "VitneAuditMissing", "10m", True))
    _try(rules / "services.yaml", tests, "1m")


def _series(slo: Slo, bad: str, good: str) -> dict[str, str]:
    """Series of what counts for an objective; ``bad`` and ``good`` are in promtool's notation, for each minute."""
    if slo.name == "issue-availability":
        name = "vitne_issue_credentials_total"
        return {f'{name}{{}}{{outcome="failed"}}': bad, f'{name}{{}}{{outcome="issued"}}': good}
    metric = slo.counts.partition("(rate(")[2].partition("_count{")[0]
    bound = {"revoke-to-published": "1", "portal-freshness": "5", "log-integration": "2.5"}[slo.name]
    # The bucket up to the bound has what is good.
    return {
        f'{metric}_bucket{{}}{{le="{bound}"}}': good,
        f'{metric}_count{{}}{{part="good"}}': good,
        f'{metric}_count{{}}{{part="bad"}}': bad,
    }


def _burning(slo: Slo) -> Iterator[dict[str, Any]]:
    """Tests of an objective's two alerts; points are two minutes apart.

    Seven hours do for all windows: over a longer one the rates are those of as much as there is.
    """
    fast, slow = (slo.alert + urgency.suffix for urgency in URGENCIES)

    def case(bad: str, good: str, alert: str, minutes: int, fires: bool) -> dict[str, Any]:
        return _case(_series(slo, bad, good), alert, f"{minutes}m", fires, "2m")

    def at_rate(budgets: float) -> str:
        return f"0+{EVENTS * slo.budget * budgets / (1 - slo.budget * budgets):.3f}x220"

    steady = f"0+{EVENTS}x220"
    # Six times the budget for six hours is what "fast" means, the budget itself is "slow".
    yield case(at_rate(6.2), steady, fast, 420, True)
    yield case(at_rate(5.8), steady, fast, 420, False)
    yield case(at_rate(1.05), steady, slow, 420, True)
    yield case(at_rate(0.95), steady, slow, 420, False)
    # A sudden outage is told after minutes.
    sudden = f"0x200 0+{EVENTS}x20"
    yield case(sudden, steady, fast, 420, True)
    yield case(sudden, steady, fast, 398, False)
    # At night two failures are two failures, whatever share of the traffic they are.
    yield case("0x5 1x10 2x200", "0+0.2x220", fast, 60, False)


@pytest.mark.parametrize("slo", SLOS, ids=lambda slo: slo.name)
def test_budgets_that_burn_raise_alerts(rules: Path, slo: Slo) -> None:
    own = _write(rules / f"{slo.name}.yaml", rule_groups([slo]))
    _try(own, list(_burning(slo)), "2m")


def test_every_panel_is_a_question_that_prometheus_understands(tmp_path: Path) -> None:
    file = tmp_path / "panels.yaml"
    expressions = {
        target["expr"].replace("$__rate_interval", "5m")
        for name, text in made().items()
        if name.suffix == ".json"
        for panel in yaml.safe_load(text)["panels"]
        for target in panel.get("targets", ())
    }
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(sorted(expressions))]
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    _promtool("check", "rules", file)
