"""What every workload owes those who run it."""

from __future__ import annotations

import re

import pytest

from tests.deploy.manifests import SERVICES, Installation, containers
from vitne.runtime.application import READINESS_TIMEOUT_SECONDS

PROBES = {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
#: What keeps migrations and services apart from those of other overlays' installations.
EXACT = re.compile(r"[^:]+(:[0-9]+\.[0-9]+\.[0-9]+|@sha256:[0-9a-f]{64})\Z")


def test_there_is_a_deployment_for_each_service(installation: Installation) -> None:
    found = {manifest["metadata"]["name"] for manifest in installation.all("Deployment")}
    assert found == {*SERVICES, *(["prober"] if installation.name == "production" else [])}


def test_there_is_one_prober_and_never_two(production: Installation) -> None:
    deployment = production.one("Deployment", "prober")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    (container,) = deployment["template"]["spec"]["containers"]
    for probe, path in PROBES.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "https", "scheme": "HTTPS"}
    grace = float(production.environment(container)["VITNE_SHUTDOWN_GRACE_SECONDS"])
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] >= 2 * grace + 5


def test_what_is_due_daily_runs_once_at_a_time_and_ends(installation: Installation) -> None:
    jobs = {manifest["metadata"]["name"]: manifest["spec"] for manifest in installation.all("CronJob")}
    assert set(jobs) == {"auditor", "accreditations-due", "close-log"}
    for name, spec in jobs.items():
        assert spec["concurrencyPolicy"] == "Forbid", name
        assert spec["timeZone"], name
        assert spec["startingDeadlineSeconds"] >= 600, name
        job = spec["jobTemplate"]["spec"]
        assert job["activeDeadlineSeconds"] < 86_400, name
        assert job["template"]["spec"]["restartPolicy"] == "Never", name
        (container,) = job["template"]["spec"]["containers"]
        rule = job["podFailurePolicy"]["rules"][0]
        assert rule["action"] == "FailJob", name
        assert rule["onExitCodes"]["containerName"] == container["name"], name


def test_each_service_with_a_database_migrates_it_first(installation: Installation) -> None:
    names = {job["metadata"]["name"] for job in installation.all("Job")}
    assert names == {f"{service}-migrate" for service in SERVICES if service != "verifier"}
    for job in installation.all("Job"):
        assert "sync-wave" in str(job["metadata"]["annotations"])
        assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]


def test_pods_are_restricted(installation: Installation) -> None:
    """Pod Security Standards, "restricted", and more: no writable root, no token of Kubernetes."""
    for name, pod in installation.workloads():
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["runAsGroup"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        assert pod["spec"]["enableServiceLinks"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"]), name
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert not {"privileged", "runAsUser", "procMount"} & set(own), name
        for volume in pod["spec"]["volumes"]:
            assert set(volume) & {"secret", "configMap", "emptyDir", "persistentVolumeClaim", "projected"}, name


def test_the_namespace_enforces_it(installation: Installation) -> None:
    labels = installation.one("Namespace", "vitne")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_images_are_exact(installation: Installation) -> None:
    images = {container["image"] for _, pod in installation.workloads() for container in containers(pod)}
    assert len(images) == 1  # one release
    for image in images:
        assert EXACT.match(image), image
    for cluster in installation.all("Cluster"):
        assert re.search(r":\d+\.\d+-", cluster["spec"]["imageName"])


def test_resources_are_named(installation: Installation) -> None:
    for name, pod in installation.workloads():
        for container in containers(pod):
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory"}, name
            assert "memory" in resources["limits"], name
            assert "cpu" not in resources["limits"], name


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_what_they_mean(installation: Installation, service: str) -> None:
    (container,) = installation.one("Deployment", service)["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in PROBES.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "https", "scheme": "HTTPS"}
    assert container["readinessProbe"]["timeoutSeconds"] > READINESS_TIMEOUT_SECONDS
    environment = installation.environment(container)
    assert environment["VITNE_HTTP_LISTEN"] == f"0.0.0.0:{ports['https']}"
    assert environment["VITNE_GRPC_LISTEN"] == f"0.0.0.0:{ports['grpc']}"
    assert environment["VITNE_METRICS_LISTEN"] == f"0.0.0.0:{ports['metrics']}"
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60  # a pause is no death


@pytest.mark.parametrize("service", SERVICES)
def test_calls_and_streams_can_end(installation: Installation, service: str) -> None:
    pod = installation.one("Deployment", service)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    grace = float(installation.environment(container)["VITNE_SHUTDOWN_GRACE_SECONDS"])
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The application gives running calls the grace, and then its tasks the same (Application.run).
    assert pod["terminationGracePeriodSeconds"] >= before + 2 * grace + 5
    # An endpoint that is going is out of the load balancers before calls are refused.
    assert before >= 5


@pytest.mark.parametrize("service", SERVICES)
def test_a_roll_out_takes_nothing_away(installation: Installation, service: str) -> None:
    spec = installation.one("Deployment", service)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in spec  # the autoscaler's


@pytest.mark.parametrize("service", SERVICES)
def test_replicas_are_spread_budgeted_and_scaled(installation: Installation, service: str) -> None:
    deployment = installation.one("Deployment", service)
    selector = deployment["spec"]["selector"]
    pod = deployment["spec"]["template"]
    assert selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
    spread = {entry["topologyKey"]: entry for entry in pod["spec"]["topologySpreadConstraints"]}
    assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for entry in spread.values():
        assert entry["labelSelector"] == selector
        assert entry["maxSkew"] == 1
    budget = installation.one("PodDisruptionBudget", service)["spec"]
    assert budget["selector"] == selector
    assert budget["maxUnavailable"] == 1
    # Production scales consumers by lag, too; KEDA makes their autoscalers.
    by_lag = {each["metadata"]["name"]: each["spec"] for each in installation.all("ScaledObject")}
    if service in by_lag:
        least, most = by_lag[service]["minReplicaCount"], by_lag[service]["maxReplicaCount"]
        assert [trigger["type"] for trigger in by_lag[service]["triggers"]] == ["cpu", "prometheus"]
    else:
        scaling = installation.one("HorizontalPodAutoscaler", service)["spec"]
        assert scaling["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": service}
        assert [metric["resource"]["name"] for metric in scaling["metrics"]] == ["cpu"]
        least, most = scaling["minReplicas"], scaling["maxReplicas"]
    assert least <= most
    if installation.name == "production":
        assert least >= 3
        assert spread["topology.kubernetes.io/zone"]["whenUnsatisfiable"] == "DoNotSchedule"


def test_services_lead_to_ports_of_pods(installation: Installation) -> None:
    for service in installation.all("Service"):
        name = service["spec"]["selector"]["app.kubernetes.io/name"]
        deployment = installation.one("Deployment", name)
        assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        # What is measured is for Prometheus, which asks pods: no Service leads to it, so no route can.
        assert targets <= {port["name"] for port in container["ports"]} - {"metrics"}


def test_volumes_are_there_and_used(installation: Installation) -> None:
    for name, pod in installation.workloads():
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        mounts = {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]}
        assert volumes == mounts, name


def test_the_authority_key_of_a_database_is_not_mounted(installation: Installation) -> None:
    """CloudNativePG keeps certificate and key of its authority in one Secret."""
    found = 0
    for name, pod in installation.workloads():
        for volume in pod["spec"]["volumes"]:
            if volume.get("secret", {}).get("secretName", "").endswith("-db-ca"):
                assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}], name
                found += 1
    # Five databases, in services and migrations; four in the auditor; one where what is due is looked for, one where
    # the log is ended.
    assert found == 16


def test_secrets_come_from_somewhere(production: Installation) -> None:
    made = {manifest["spec"]["target"]["name"] for manifest in production.all("ExternalSecret")}
    made |= {manifest["spec"]["secretName"] for manifest in production.all("Certificate")}
    for cluster in production.all("Cluster"):
        made |= {f"{cluster['metadata']['name']}-{suffix}" for suffix in ("app", "ca")}
    used = {
        volume["secret"]["secretName"]
        for _, pod in production.workloads()
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    used |= {
        entry["valueFrom"]["secretKeyRef"]["name"]
        for _, pod in production.workloads()
        for container in containers(pod)
        for entry in container.get("env", ())
        if "valueFrom" in entry
    }
    for cluster in production.all("Cluster"):
        used |= {role["passwordSecret"]["name"] for role in cluster["spec"].get("managed", {}).get("roles", ())}
    for store in production.all("ObjectStore"):
        used |= {key["name"] for key in store["spec"]["configuration"]["s3Credentials"].values()}
    assert used <= made
    assert {manifest["metadata"]["name"] for manifest in production.all("ExternalSecret")} <= used


def test_a_changed_setting_rolls_out(installation: Installation) -> None:
    names = {
        manifest["metadata"]["name"]
        for manifest in installation.all("ConfigMap")
        if "grafana_dashboard" not in manifest["metadata"]["labels"]
    }
    for name in names:
        of = "common|registry|issuer|ledger|verifier|portal|prober|auditor|log-policy"
        assert re.fullmatch(rf"({of})-[a-z0-9]{{10}}", name)
    read = {
        source["configMapRef"]["name"]
        for _, pod in installation.workloads()
        for container in containers(pod)
        for source in container.get("envFrom", ())
    }
    read |= {
        volume["configMap"]["name"]
        for _, pod in installation.workloads()
        for volume in pod["spec"]["volumes"]
        if "configMap" in volume
    }
    assert read == names
