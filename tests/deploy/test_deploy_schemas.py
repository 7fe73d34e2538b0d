"""Every manifest is what Kubernetes' own schemas allow, with no field that they don't know."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from tests.deploy.manifests import K8S, Installation, Manifest, render

#: Two minor versions of Kubernetes, "1.36" and "1.37"; the library lists each once for each kind of schema.
NEWEST = list(dict.fromkeys(utils.major_minor(version) for version in utils.all_versions()))[-2:]
#: Groups that bring their own schemas (test_deploy_crds.py); whoever adds a kind decides here whether it is checked.
CUSTOM = {
    "barmancloud.cnpg.io/v1",
    "cert-manager.io/v1",
    "external-secrets.io/v1",
    "gateway.networking.k8s.io/v1",
    "kafka.strimzi.io/v1",
    "keda.sh/v1alpha1",
    "monitoring.coreos.com/v1",
    "postgresql.cnpg.io/v1",
    "trust.cert-manager.io/v1alpha1",
}


@pytest.fixture(scope="module", autouse=True)
def schemas_read_once() -> Iterator[None]:
    """The library reads a megabyte of definitions for every manifest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        yield


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


@pytest.mark.parametrize("version", NEWEST)
def test_manifests_are_valid(installation: Installation, version: str) -> None:
    checked = 0
    for manifest in (*installation.manifests, *render(K8S / "recovery")):
        if manifest["apiVersion"] not in CUSTOM:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                pytest.fail(f"{_name(manifest)} in Kubernetes {version}: {error.message}")
            checked += 1
    assert checked > 50


def test_a_field_that_does_not_exist_is_noticed(production: Installation) -> None:
    broken = production.one("Deployment", "issuer") | {"spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, NEWEST[-1], strict=True)


def test_nothing_is_there_twice(installation: Installation) -> None:
    names = [(_name(manifest), manifest["metadata"].get("namespace")) for manifest in installation.manifests]
    assert len(names) == len(set(names))


def test_everything_belongs_to_a_stage_of_the_roll_out(installation: Installation) -> None:
    for manifest in installation.manifests:
        stage = manifest["metadata"].get("labels", {}).get("vitne.no/stage")
        expected = {"Job": {"migrate"}, "Deployment": {"serve"}, "CronJob": {"serve"}}.get(
            manifest["kind"], {"platform", "serve"}
        )
        assert stage in expected, _name(manifest)


def test_what_has_a_namespace_says_so(installation: Installation) -> None:
    without = {"Namespace", "ClusterIssuer", "Bundle"}
    for manifest in installation.manifests:
        assert ("namespace" in manifest["metadata"]) == (manifest["kind"] not in without), _name(manifest)


def test_the_recovery_is_of_the_cluster_that_it_names(production: Installation) -> None:
    (restored,) = (each for each in render(K8S / "recovery") if each["kind"] == "Cluster")
    spec = restored["spec"]
    (origin,) = spec["externalClusters"]
    assert spec["bootstrap"]["recovery"]["source"] == origin["name"]
    parameters = origin["plugin"]["parameters"]
    source = production.one("Cluster", parameters["serverName"])
    (plugin,) = source["spec"]["plugins"]
    assert plugin["parameters"]["barmanObjectName"] == parameters["barmanObjectName"]
    assert spec["imageName"] == source["spec"]["imageName"]
    assert spec["bootstrap"]["recovery"]["database"] == source["spec"]["bootstrap"]["initdb"]["database"]
