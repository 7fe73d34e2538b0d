"""Custom resources against the schemas of their makers, with ``VITNE_TEST_CRDS=1`` only: needs Go, for its proxy.

Each module is named with its version and its checksum, and comes from the module cache after the first time.
CloudNativePG and Strimzi publish their schemas in no package registry; theirs are read from the folder that
``VITNE_CRDS`` names, when it does (``kubectl get crd -o yaml`` of a cluster that has them will do).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.deploy.manifests import K8S, Installation, Manifest, read, render

#: Module, version, checksum (as in a go.sum), folder of the definitions.
MODULES = [
    ("github.com/cert-manager/cert-manager", "v1.21.2", "UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=", "deploy/crds"),
    (
        "github.com/cert-manager/trust-manager",
        "v0.25.0",
        "nGtkHH9wEacI5uACdsq8wqCKWsCw1PMrwHPJcrUFUXA=",
        "deploy/crds",
    ),
    (
        "github.com/cloudnative-pg/plugin-barman-cloud",
        "v0.15.0",
        "gNVytrzzYUE08wxLDrjfJqy1FPPSFkMe1OEr4s4pVI0=",
        "config/crd/bases",
    ),
    (
        "github.com/external-secrets/external-secrets",
        "v1.3.2",
        "u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ=",
        "config/crds/bases",
    ),
    ("github.com/kedacore/keda/v2", "v2.21.0", "R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=", "config/crd/bases"),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "example/prometheus-operator-crd",
    ),
    ("sigs.k8s.io/gateway-api", "v1.6.3", "lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=", "config/crd/standard"),
]
#: Kinds whose schemas are in no registry.
UNPUBLISHED = {"postgresql.cnpg.io/v1", "kafka.strimzi.io/v1"}


def _fetch(module: str, version: str, checksum: str) -> Path:
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    answer = json.loads(done.stdout or "{}")
    assert done.returncode == 0, answer.get("Error") or done.stderr
    assert answer["Sum"] == f"h1:{checksum}", f"{module} is not what was pinned"
    return Path(answer["Dir"])


def _strict(schema: Any) -> Any:
    """The schema as an API server with field validation "Strict" reads it: what is not named is refused."""
    if isinstance(schema, list):
        return [_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if strict.pop("x-kubernetes-int-or-string", False) is True:
        strict.pop("anyOf", None)
        strict["type"] = ["integer", "string"]
    if isinstance(strict.get("properties"), dict) and not strict.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


def _definitions() -> Iterator[Manifest]:
    folders = [_fetch(module, version, checksum) / folder for module, version, checksum, folder in MODULES]
    folders += [Path(folder) for folder in [os.environ.get("VITNE_CRDS", "")] if folder]
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            for document in read(file.read_text()):
                yield from document["items"] if document["kind"] == "List" else [document]


@pytest.fixture(scope="session")
def validators() -> dict[tuple[str, str], Draft202012Validator]:
    """By (apiVersion, kind)."""
    found = {}
    for definition in _definitions():
        if definition["kind"] == "CustomResourceDefinition":
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = Draft202012Validator(schema)
    return found


def _check(validators: dict[tuple[str, str], Draft202012Validator], manifests: list[Manifest]) -> None:
    for manifest in manifests:
        validator = validators.get((manifest["apiVersion"], manifest["kind"]))
        if validator is None:
            assert manifest["apiVersion"] in UNPUBLISHED, manifest["kind"]
            continue
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]
        assert not errors, f"{manifest['kind']}/{manifest['metadata']['name']}: {errors}"


def _custom(manifests: Iterator[Manifest] | tuple[Manifest, ...]) -> list[Manifest]:
    own = ("networking.k8s.io/v1",)
    found = [manifest for manifest in manifests if "." in manifest["apiVersion"] and manifest["apiVersion"] not in own]
    assert found
    return found


def test_custom_resources_are_valid(
    installation: Installation, validators: dict[tuple[str, str], Draft202012Validator]
) -> None:
    _check(validators, _custom(installation.manifests))


def test_so_are_those_outside_the_overlays(validators: dict[tuple[str, str], Draft202012Validator]) -> None:
    _check(validators, _custom(render(K8S / "recovery")))


def test_a_field_that_does_not_exist_is_noticed(
    production: Installation, validators: dict[tuple[str, str], Draft202012Validator]
) -> None:
    broken = production.one("Certificate", "issuer")
    broken = broken | {"spec": broken["spec"] | {"dnsName": "issuer"}}
    with pytest.raises(AssertionError, match="dnsName"):
        _check(validators, [broken])
