"""A witness's manifests: what somebody else runs, who knows nothing of ours but the log's key."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest

from services.witness.__main__ import parser
from services.witness.memory import Memory
from tests.deploy.manifests import K8S, Installation, render
from tests.deploy.test_deploy_schemas import NEWEST
from vitne.errors import FailedPrecondition

WITNESS = Installation("witness", render(K8S / "witness"))


@pytest.mark.parametrize("version", NEWEST)
def test_its_manifests_are_valid_and_of_a_namespace_of_its_own(version: str) -> None:
    for manifest in WITNESS.manifests:
        kubernetes_validate.validate(manifest, version, strict=True)
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "witness"


def test_it_would_start_and_keeps_its_memory() -> None:
    ((_, pod),) = WITNESS.workloads()
    (container,) = pod["spec"]["containers"]
    environment = WITNESS.environment(container)
    words = container["command"][3:]
    for name, value in environment.items():
        words = [word.replace(f"$({name})", value) for word in words]
    asked = parser().parse_args(words)
    assert (asked.command, asked.name, len(asked.log)) == ("serve", "witness.example/w1", 1)
    port = int(asked.listen.rpartition(":")[2])
    assert [each["containerPort"] for each in container["ports"]] == [port]
    (claim,) = WITNESS.one("StatefulSet", "witness")["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
    assert asked.folder.is_relative_to(mounts[claim["metadata"]["name"]])


def test_there_is_one_and_never_two(tmp_path: Path) -> None:
    spec = WITNESS.one("StatefulSet", "witness")["spec"]
    assert spec["replicas"] == 1
    assert spec["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    with Memory(tmp_path), pytest.raises(FailedPrecondition, match="WITNESS_RUNNING"):
        Memory(tmp_path).__enter__()


def test_it_is_restricted_and_asks_nobody() -> None:
    (policy,) = WITNESS.all("NetworkPolicy")
    assert policy["spec"]["podSelector"] == {}
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert "egress" not in policy["spec"]
    ((_, pod),) = WITNESS.workloads()
    context = pod["spec"]["securityContext"]
    assert context["runAsNonRoot"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    (container,) = pod["spec"]["containers"]
    own = container["securityContext"]
    assert own["readOnlyRootFilesystem"]
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
