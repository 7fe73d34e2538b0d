"""The manifests as kubectl renders them, and how tests find their way in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
K8S: Final = ROOT / "deploy" / "k8s"
SERVICES: Final = ("registry", "issuer", "ledger", "verifier", "portal")
OVERLAYS: Final = ("kind", "production")

Manifest = dict[str, Any]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # one of two, by what was built
    """YAML as Kubernetes reads it: what looks like a date, or is an equals sign, is text."""


_TEXT: Final = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in entries if tag not in _TEXT]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str) -> list[Manifest]:
    """All documents of a YAML text."""
    return [document for document in yaml.load_all(text, _Loader) if document]


@cache
def render(folder: Path) -> tuple[Manifest, ...]:
    """What ``kubectl kustomize`` makes of a folder."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # deprecations of kustomize's
    return tuple(read(done.stdout))


@dataclass(frozen=True)
class Installation:
    """One overlay."""

    name: str
    manifests: tuple[Manifest, ...]

    def all(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        (found,) = (manifest for manifest in self.all(kind) if manifest["metadata"]["name"] == name)
        return found

    def workloads(self) -> Iterator[tuple[str, Manifest]]:
        """Everything that makes pods of our image, with the pod's template."""
        for kind in ("Deployment", "Job", "CronJob", "StatefulSet", "DaemonSet"):
            for manifest in self.all(kind):
                spec = manifest["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else manifest["spec"]
                yield f"{kind}/{manifest['metadata']['name']}", spec["template"]

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """The variables of a container, as the kubelet puts them together; what a Secret holds is ``SECRET``."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            values |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for entry in container.get("env", ()):
            text = entry.get("value", "SECRET")
            for name, value in values.items():
                text = text.replace(f"$({name})", value)
            values[entry["name"]] = text
        return values


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All containers of a pod's template, those that run before included."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
