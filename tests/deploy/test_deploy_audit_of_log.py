"""The audit that walks the published log, too: an overlay that takes it has what it needs."""

from __future__ import annotations

import os
from pathlib import Path

import kubernetes_validate
import pytest

from services.auditor.settings import AuditorSettings
from tests.deploy.manifests import K8S, Installation, render
from tests.deploy.test_deploy_schemas import NEWEST
from tests.unit.log_samples import note_signer, policy_text
from vitne.merkle.policy import Policy
from vitne.runtime.settings import load


def test_it_would_look_and_remember(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy").write_text(policy_text(note_signer(), 2, "all"))
    (tmp_path / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        f"resources: [{os.path.relpath(K8S / 'overlays' / 'production', tmp_path)}]\n"
        f"components: [{os.path.relpath(K8S / 'components' / 'auditor-log', tmp_path)}]\n"
        "configMapGenerator: [{name: log-policy, namespace: vitne, files: [policy]}]\n"
    )
    installation = Installation("with the log", render(tmp_path))
    job = installation.one("CronJob", "auditor")
    for manifest in (job, installation.one("PersistentVolumeClaim", "auditor-memory")):
        kubernetes_validate.validate(manifest, NEWEST[-1], strict=True)
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for name, value in installation.environment(container).items():
        monkeypatch.setenv(name, value)
    settings = load(AuditorSettings)
    assert settings.faults() == []
    assert settings.log_policy_file is not None
    assert settings.log_memory_file is not None
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert settings.log_policy_file.parent == mounts["log-policy"]
    # The policy's file is the one that the overlay made, and it can be read.
    made = installation.one("ConfigMap", volumes["log-policy"]["configMap"]["name"])["data"]
    assert len(Policy.parse(made[settings.log_policy_file.name]).witnesses) == 2
    assert settings.log_memory_file.parent == mounts["memory"]
    assert volumes["memory"]["persistentVolumeClaim"] == {"claimName": "auditor-memory"}
    host = installation.one("HTTPRoute", "log")["spec"]["hostnames"][0]
    assert settings.log_url == f"https://{host}"
