"""What controllers and kubelets of a Kubernetes cluster make of what was applied."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

Object = dict[str, Any]

CREATED: Final = "2026-11-21T10:00:00Z"


def containers(pod: Mapping[str, Any]) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def status_of(stored: Object) -> Object:
    """What controllers say once all is done."""
    conditions = [{"type": type_, "status": "True"} for type_ in ("Ready", "Complete", "Available")]
    if stored["kind"] == "Deployment":
        count = stored["spec"].get("replicas", 1)
        kinds = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        return {"observedGeneration": 1, "conditions": conditions} | dict.fromkeys(kinds, count)
    return {"conditions": conditions}


def uid_of(kind: str, namespace: str, name: str) -> str:
    """The same at every start, so that an event can name what it is about."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{namespace}/{name}"))


def made_of(stored: Object) -> Iterable[Object]:
    """Pods of a workload; pods and Service of a PostgreSQL cluster; a CronJob's last Job."""
    kind, meta, spec = stored["kind"], stored["metadata"], stored.get("spec", {})
    if kind == "CronJob":
        job = spec["jobTemplate"]
        labels = job.get("metadata", {}).get("labels", {})
        named = {"name": f"{meta['name']}-29385", "namespace": meta["namespace"], "labels": labels}
        yield {"apiVersion": "batch/v1", "kind": "Job", "metadata": named, "spec": job["spec"]}
    if kind in ("Deployment", "Job") and "template" in spec:
        template = spec["template"]
        labels = template["metadata"].get("labels", {}) | {"batch.kubernetes.io/job-name": meta["name"]}
        yield _pod(meta, f"{meta['name']}-1", labels, template["spec"], ended=kind != "Deployment")
    if kind == "Cluster" and stored["apiVersion"].startswith("postgresql.cnpg.io"):
        instance = {"initContainers": [{"name": "plugin-barman-cloud"}], "containers": [{"name": "postgres"}]}
        primary = {"cnpg.io/cluster": meta["name"], "cnpg.io/instanceRole": "primary"}
        named = {"name": f"{meta['name']}-rw", "namespace": meta["namespace"]}
        ports = [{"name": "postgres", "port": 5432, "targetPort": 5432}]
        yield {"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": {"selector": primary, "ports": ports}}
        for number in range(1, spec["instances"] + 1):
            role = "primary" if number == 1 else "replica"
            labels = {"cnpg.io/cluster": meta["name"], "cnpg.io/instanceRole": role}
            yield _pod(meta, f"{meta['name']}-{number}", labels, instance, ended=False)


def _pod(owner: Object, name: str, labels: Object, spec: Object, *, ended: bool) -> Object:
    state = {"terminated": {"exitCode": 1, "reason": "Error"}} if ended else {"running": {"startedAt": CREATED}}
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    statuses = [
        {"name": each["name"], "state": state, "lastState": last, "ready": not ended} for each in containers(spec)
    ]
    status = {"phase": "Failed" if ended else "Running", "containerStatuses": statuses}
    meta = {"name": name, "namespace": owner.get("namespace", ""), "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def event(pod: str, namespace: str, message: str) -> Object:
    """A warning of the kubelet's about a pod."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{pod}.1", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "uid": uid_of("Pod", namespace, pod)},
        "type": "Warning",
        "reason": "Unhealthy",
        "message": message,
        "lastTimestamp": now,
    }
