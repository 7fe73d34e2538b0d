"""The alerts, tried on series that are made up (promtool, of Debian's package ``prometheus``)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import K8S, read


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (manifest,) = read((K8S / "components" / "monitoring" / "rules.yaml").read_text())
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(manifest["spec"]))
    return file


def test_rules_are_well_formed(rules: Path) -> None:
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_fire_when_they_should_and_only_then(rules: Path) -> None:
    test = rules.with_name("tests.yaml")
    test.write_text((Path(__file__).parent / "alerts.yaml").read_text())
    done = subprocess.run(["promtool", "test", "rules", test], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
