"""The commands for kubectl on the pages, run by kubectl as they are written.

What they are run against holds the production overlay as it is rendered, so names, selectors, containers and paths are
those of the manifests; logs hold the lines that the runbook says one sees, so what a command looks for is found.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.deploy.manifests import K8S, render
from tests.docs.cluster import Cluster
from tests.docs.conftest import Shell
from tests.docs.controllers import Object, event
from tests.docs.pages import PAGES, Command, commands, section
from tests.docs.parked import parked

#: What stands for a name, by the page's own words.
NAMES = {"POD": "issuer-1", "deployment/NAME": "deployment/issuer", "certificate NAME": "certificate issuer"}
NAMES |= {"deploy/k8s/reconcile NAME": "deploy/k8s/reconcile issuer"}
#: Is run on a cluster of its own.
ROLL_OUT = "deploy/k8s/roll-out overlays/production"
#: What kubectl says when nothing is where a command looks.
NOTHING = ("No resources found", "NotFound", "not found")
#: What such commands begin with, those that make the Secrets among them.
OURS = ("kubectl ", "deploy/k8s/", "VITNE_STATE_DIR=out/", "head ", "openssl ")
#: What stands for a key's.
THUMBPRINT = "THUMBPRINT"
#: What is there beside what was applied: what controllers made, and another's.
THERE: list[Object] = [
    event("issuer-1", "vitne", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
    *(
        {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "vitne"}}
        for version, kind, name in (
            ("postgresql.cnpg.io/v1", "Backup", "issuer-db-20261121"),
            ("cert-manager.io/v1", "CertificateRequest", "issuer-1"),
            ("v1", "PersistentVolumeClaim", "issuer-db-2"),
            ("autoscaling/v2", "HorizontalPodAutoscaler", "keda-hpa-issuer"),
        )
    ),
    {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "vitne-authority"}},
    {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Prometheus",
        "metadata": {"name": "main", "namespace": "monitoring"},
        "spec": {"podMonitorSelector": {"matchLabels": {}}},
    },
]


def on_kubernetes() -> list[Command]:
    """Each once: what makes an object can't make it again."""
    found = {each.text: each for page in PAGES for each in commands(page) if each.text.startswith(OURS)}
    return [each for text, each in found.items() if text != ROLL_OUT]


@pytest.fixture(scope="module")
async def cluster(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async def execute(pod: Object, command: Sequence[str]) -> tuple[int, bytes]:
        """A container's command, on the stack: a service's with that service's settings, SQL in that database."""
        if command[0] == "psql":
            return 0, await _query(shell, command)
        name = pod["metadata"]["labels"]["app.kubernetes.io/name"]
        argv = [f"{shell.folder}/.venv/bin/python", *command[1:]]
        code, output = await shell.run(f". .vitne/up/{name}.environment; {shlex.join(argv)}", PYTHONPATH=".")
        return code, output.encode()

    folder = tmp_path_factory.mktemp("cluster")
    async with Cluster([*render(K8S / "overlays" / "production"), *THERE], folder, execute) as running, parked(shell):
        yield running


async def _query(shell: Shell, command: Sequence[str]) -> bytes:
    assert command[-2] == "-c"
    connection = await shell.database("issuer")
    try:
        return "".join(f"{dict(row)}\n" for row in await connection.fetch(command[-1])).encode()
    finally:
        await connection.close()


@pytest.mark.parametrize("command", on_kubernetes(), ids=lambda each: each.text[:60])
async def test_a_command(shell: Shell, cluster: Cluster, command: Command) -> None:
    shown = re.findall(r"^(\{\".*\})$", section(command.page, command.section), re.MULTILINE)
    cluster.log = shown or ['{"level":"warning","message":"something"}']
    script = command.text
    for word, name in NAMES.items():
        script = re.sub(rf"{word}\b", name, script)
    if "reconcile" in script:  # Step 1 of the page.
        issuer = cluster.find("apps/v1", "Deployment", "vitne", "issuer")
        assert issuer is not None
        issuer["spec"]["replicas"] = 0
    code, output = await shell.run(_prepared(script), KUBECONFIG=str(cluster.kubeconfig), PATH=_path())
    assert code == 0, output
    assert not any(text in output for text in NOTHING), output
    # What a container says is its own: there may be nothing to tell.
    assert output.strip() or " exec " in script, "nothing was found"


async def test_no_service_has_keys_of_another(shell: Shell) -> None:
    """Whatever lies in a folder goes into the Secret that is made from it."""
    making = [each.text for each in on_kubernetes() if re.search(r"python -m \S+ keys$", each.text)]
    for script in making:
        code, output = await shell.run(script, PATH=_path())
        assert code == 0, output
    folders = sorted((shell.folder / "out").glob("*/keys"))
    assert [each.parent.name for each in folders] == ["ledger", "portal", "registry"]
    files = [file.name for folder in folders for file in folder.iterdir() if file.stem != THUMBPRINT]
    assert files
    assert len(files) == len(set(files))
    from_files = [each.text for each in on_kubernetes() if "--from-file=" in each.text]
    assert from_files
    for script in from_files:
        assert re.search(r" secret generic (\w+)-\w+ --from-file=out/\1/\S+$", script), script


def _prepared(script: str) -> str:
    """With the files that the page says were made before."""
    used = re.search(r"[= ]out/(\w+)/", script)
    if used is None:
        return script
    keys = f"VITNE_STATE_DIR=out/{used[1]} python -m services.{used[1]} keys > /dev/null; "
    if THUMBPRINT in script:
        keys += f"openssl ecparam -name prime256v1 -genkey -noout -out out/{used[1]}/keys/{THUMBPRINT}.pem; "
    return keys + script


def _path() -> str:
    return f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def test_a_roll_out_applies_everything(shell: Shell, tmp_path: Path) -> None:
    """On an empty cluster, which knows the kinds alone."""

    async def execute(_pod: Object, _command: Sequence[str]) -> tuple[int, bytes]:
        raise AssertionError

    wanted = render(K8S / "overlays" / "production")
    async with Cluster(wanted, tmp_path, execute) as empty:
        empty.clear()
        code, output = await shell.run(ROLL_OUT, KUBECONFIG=str(empty.kubeconfig), PATH=_path())
        assert code == 0, output
        for manifest in wanted:
            meta = manifest["metadata"]
            assert empty.find(manifest["apiVersion"], manifest["kind"], meta.get("namespace", ""), meta["name"]), meta
