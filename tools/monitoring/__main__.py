"""``python -m tools.monitoring``: write rules and dashboards to deploy/k8s/components/monitoring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from tools.monitoring.dashboards import dashboards
from tools.monitoring.slos import read, rule_groups

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "k8s" / "components" / "monitoring"
_HEADER: Final = "# Made by `python -m tools.monitoring` from slos.toml: change that.\n"


def made() -> dict[Path, str]:
    """Every file that is made, with what has to be in it."""
    slos = read(FOLDER / "slos.toml")
    files = {FOLDER / "slos.yaml": _HEADER + yaml.safe_dump(_rules(rule_groups(slos)), sort_keys=False, width=1000)}
    for dashboard in dashboards(slos):
        name = f"{dashboard.uid.removeprefix('vitne-')}.json"
        files[FOLDER / "dashboards" / name] = json.dumps(dashboard.to_json(), indent=2, ensure_ascii=False) + "\n"
    return files


def _rules(groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "vitne-slos", "namespace": "vitne", "labels": {"vitne.no/stage": "platform"}},
        "spec": {"groups": groups},
    }


if __name__ == "__main__":
    for file, text in made().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
