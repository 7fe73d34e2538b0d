"""The Job that puts a restored service in step is the service, with another command."""

from __future__ import annotations

import os
import stat
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.manifests import K8S, Installation
from tests.deploy.test_deploy_schemas import NEWEST

#: Answers the Deployment, and keeps what is created.
KUBECTL = """#!/bin/sh
case "$*" in
  *get*) cat "$FOLDER/deployment.json" ;;
  *create*) cat > "$FOLDER/created.json"; echo job.batch/made ;;
  *wait*) exit "${WAIT:-0}" ;;
  *) echo "$*" > "$FOLDER/logs" ;;
esac
"""


@pytest.fixture(scope="module")
def command() -> ModuleType:
    loader = SourceFileLoader("reconcile", str(K8S / "reconcile"))
    spec = spec_from_loader("reconcile", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("service", ["registry", "issuer", "ledger", "portal"])
def test_it_is_the_service_with_another_command(command: ModuleType, production: Installation, service: str) -> None:
    deployment = production.one("Deployment", service)
    job: dict[str, Any] = command.job(deployment)
    kubernetes_validate.validate(job, NEWEST[-1], strict=True)
    template, own = job["spec"]["template"], deployment["spec"]["template"]
    # NetworkPolicies know the service by these.
    assert template["metadata"]["labels"] == own["metadata"]["labels"]
    (container,), (served,) = template["spec"]["containers"], own["spec"]["containers"]
    assert container["command"] == ["python", "-m", f"services.{service}", "reconcile"]
    for field in ("image", "env", "envFrom", "volumeMounts", "securityContext"):
        assert container[field] == served[field]
    assert template["spec"]["volumes"] == own["spec"]["volumes"]
    # Services know it by them, too: it is never ready.
    assert container["readinessProbe"]["exec"]["command"] == ["false"]
    assert served["command"][-1] == "serve"


@pytest.mark.parametrize(("replicas", "wait", "code"), [(0, 0, 0), (0, 1, 1), (2, 0, 1)])
def test_it_ends_as_the_job_does_and_leaves_what_runs_alone(
    command: ModuleType,
    production: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicas: int,
    wait: int,
    code: int,
) -> None:
    deployment = production.one("Deployment", "issuer")
    deployment = deployment | {"spec": deployment["spec"] | {"replicas": replicas}}
    (tmp_path / "deployment.json").write_text(command.json.dumps(deployment))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("WAIT", str(wait))
    assert command.main(["issuer", "--context=kind"]) == code
    assert (tmp_path / "created.json").exists() is (replicas == 0)
    assert command.main(["verifier"]) == 2


def test_a_portal_that_was_not_restored_keeps_what_others_may_see(
    command: ModuleType, production: Installation
) -> None:
    job = command.job(production.one("Deployment", "portal"), command.KEEP_ACCESS)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][-2:] == ["reconcile", "--keep-access"]
