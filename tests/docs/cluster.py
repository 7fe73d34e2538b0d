"""A Kubernetes API server that holds rendered manifests and what controllers would make of them.

It speaks the API itself, so that the real kubectl can be run against it: discovery, get and list by selectors, create,
apply, patch, delete, watch, logs and exec. It decides nothing: what is applied is taken to have come about at once.
"""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from tests.docs.controllers import CREATED, Object, containers, pods_of, status_of
from vitne.dev.ports import LOOPBACK

#: Runs a command in a container: pod, argv; exit code and what it printed.
Execute = Callable[[Object, Sequence[str]], Awaitable[tuple[int, bytes]]]

_SHORT: Final = {
    "Deployment": ["deploy"],
    "HorizontalPodAutoscaler": ["hpa"],
    "PersistentVolumeClaim": ["pvc"],
    "Service": ["svc"],
}
#: Kinds that clients ask for, beside those of the manifests.
_ALWAYS: Final = (
    ("v1", "Pod"), ("v1", "Event"), ("v1", "Secret"), ("v1", "PersistentVolumeClaim"), ("v1", "ReplicationController"),
    ("apps/v1", "ReplicaSet"), ("autoscaling/v2", "HorizontalPodAutoscaler"), ("batch/v1", "Job"),
    ("cert-manager.io/v1", "CertificateRequest"), ("postgresql.cnpg.io/v1", "Backup"),
)  # fmt: skip
#: Lines of a log after the ones that are looked for: a command that reads the last ten only does not see those.
_LATER: Final = 12
#: ``v5.channel.k8s.io``: the first byte of a frame says what it belongs to.
_STDOUT, _ERROR = b"\x01", b"\x03"


class Cluster:
    """The API server, and kubectl's way to it; use as an async context manager.

    Args:
        manifests: what was applied to it.
        folder: where its kubeconfig goes.
        execute: runs commands in containers.

    Attributes:
        kubeconfig: for ``KUBECONFIG``.
        log: lines of every container's log, before the last few.
    """

    def __init__(self, manifests: Iterable[Mapping[str, Any]], folder: Path, execute: Execute) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.log: list[str] = []
        self._execute = execute
        #: By apiVersion and plural: the kind, and whether it is in namespaces.
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        for version, kind in _ALWAYS:
            self._know(version, kind, namespaced=True)
        for manifest in manifests:
            self._know(manifest["apiVersion"], manifest["kind"], namespaced="namespace" in manifest["metadata"])
            self.store(manifest)

    async def __aenter__(self) -> Cluster:
        application = web.Application(client_max_size=16 * 1024 * 1024)
        application.router.add_get(
            "/version", lambda _: _answer({"major": "1", "minor": "37", "gitVersion": "v1.37.0"})
        )
        application.router.add_get("/api", lambda _: _answer({"kind": "APIVersions", "versions": ["v1"]}))
        application.router.add_get("/apis", self._groups)
        application.router.add_get("/openapi/v3", self._openapi)
        application.router.add_get("/openapi/v3/{version:.+}", self._openapi_of)
        for prefix in ("/api/{version:v1}", r"/apis/{version:[^/]+/v[^/]+}"):
            application.router.add_get(prefix, self._resources)
            for scope in ("", "/namespaces/{namespace}"):
                if not scope:
                    # A namespace is an object, too, and what follows its name is a resource in it.
                    application.router.add_route("*", prefix + "/{plural:namespaces}/{name}", self._one)
                application.router.add_route("*", prefix + scope + "/{plural}", self._all)
                application.router.add_route("*", prefix + scope + "/{plural}/{name}", self._one)
                application.router.add_route("*", prefix + scope + "/{plural}/{name}/{part}", self._part)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(f"http://{host}:{port}")))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    def store(self, manifest: Mapping[str, Any]) -> Object:
        """Take an object in, and make what a controller would make of it."""
        stored = copy.deepcopy(dict(manifest))
        kind, meta = stored["kind"], stored["metadata"]
        meta.setdefault("name", f"{meta.get('generateName', '')}{uuid.uuid4().hex[:5]}")
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": CREATED, "resourceVersion": "1", "generation": 1}
        if kind == "Job":
            stored["spec"].setdefault("selector", {"matchLabels": {"batch.kubernetes.io/job-name": meta["name"]}})
        stored["status"] = {**status_of(stored), **stored.get("status", {})}
        key = stored["apiVersion"], _plural(kind)
        self._objects.setdefault(key, {})[meta.get("namespace", ""), meta["name"]] = stored
        for pod in pods_of(stored):
            self.store(pod)
        return stored

    def find(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        """An object, as it is held."""
        return self._objects.get((version, _plural(kind)), {}).get((namespace, name))

    def clear(self) -> None:
        """Forget all objects, not their kinds."""
        self._objects.clear()

    def _know(self, version: str, kind: str, *, namespaced: bool) -> None:
        self._kinds[version, _plural(kind)] = kind, namespaced

    # -- discovery -----------------------------------------------------------------------------

    async def _groups(self, _request: web.Request) -> web.Response:
        versions: dict[str, list[str]] = {}
        for version in sorted({version for version, _plural in self._kinds if "/" in version}):
            versions.setdefault(version.split("/")[0], []).append(version)
        groups = []
        for name, found in versions.items():
            entries = [{"groupVersion": each, "version": each.split("/")[1]} for each in found]
            groups.append({"name": name, "versions": entries, "preferredVersion": entries[-1]})
        return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _resources(self, request: web.Request) -> web.Response:
        version = request.match_info["version"]
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        found: list[Object] = [
            {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
            | {"shortNames": _SHORT.get(kind, [])}
            for (of, plural), (kind, namespaced) in self._kinds.items()
            if of == version
        ]
        return _json({"kind": "APIResourceList", "groupVersion": version, "resources": found})

    async def _openapi(self, _request: web.Request) -> web.Response:
        paths = {_root(version): f"/openapi/v3/{_root(version)}" for version, _plural in self._kinds}
        return _json({"paths": {path: {"serverRelativeURL": url} for path, url in paths.items()}})

    async def _openapi_of(self, request: web.Request) -> web.Response:
        """As much as kubectl asks before it leaves validation to the server: that ``fieldValidation`` is known."""
        paths = {}
        for (version, plural), (kind, _namespaced) in self._kinds.items():
            if _root(version) == request.match_info["version"]:
                group, _, number = version.rpartition("/")
                patch = {
                    "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
                    "parameters": [{"name": "fieldValidation", "in": "query"}],
                }
                paths[f"/{_root(version)}/{plural}/{{name}}"] = {"patch": patch}
        return _json({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.37.0"}, "paths": paths})

    # -- objects ---------------------------------------------------------------------------------

    def _found(self, request: web.Request) -> list[Object]:
        at, query = request.match_info, request.query
        objects = self._objects.get((at["version"], at["plural"]), {}).items()
        return [
            each
            for (namespace, _name), each in objects
            if at.get("namespace", namespace) == namespace
            and _matches(query.get("labelSelector", ""), each["metadata"].get("labels", {}).get)
            and _matches(query.get("fieldSelector", ""), lambda path, each=each: _field(each, path))  # type: ignore[misc]
        ]

    async def _all(self, request: web.Request) -> web.StreamResponse:
        kind = self._kinds.get((request.match_info["version"], request.match_info["plural"]))
        if kind is None:
            return _failure(404, "NotFound", "the server could not find the requested resource")
        if request.method == "POST":
            manifest = yaml.safe_load(await request.text())
            manifest["metadata"].setdefault("namespace", request.match_info.get("namespace", ""))
            return _json(self.store(manifest), 201)
        if request.query.get("sendInitialEvents"):
            return _failure(422, "Invalid", "sendInitialEvents is not served")
        if request.query.get("watch") in ("1", "true"):
            return await _silence(request)
        return _json(
            {
                "apiVersion": request.match_info["version"],
                "kind": f"{kind[0]}List",
                "metadata": {"resourceVersion": "1"},
                "items": self._found(request),
            }
        )

    async def _one(self, request: web.Request) -> web.StreamResponse:
        at = request.match_info
        objects = self._objects.get((at["version"], at["plural"]), {})
        key = at.get("namespace", ""), at["name"]
        if request.method == "PATCH" and "apply-patch" in request.headers["content-type"]:
            return _json(self.store(yaml.safe_load(await request.text())))
        if key not in objects:
            return _failure(404, "NotFound", f'{at["plural"]} "{at["name"]}" not found')
        if request.method == "DELETE":
            return _json(objects.pop(key))
        if request.method == "PATCH":
            _merge(objects[key], await request.json())
        return _json(objects[key])

    async def _part(self, request: web.Request) -> web.StreamResponse:
        at = request.match_info
        found = self._objects.get((at["version"], at["plural"]), {}).get((at.get("namespace", ""), at["name"]))
        if found is None:
            return _failure(404, "NotFound", f'{at["plural"]} "{at["name"]}" not found')
        if at["part"] in ("log", "exec"):
            names = [each["name"] for each in containers(found["spec"])]
            if request.query.get("container", names[-1]) not in names:
                return _failure(400, "BadRequest", f"container {request.query['container']} is not valid for the pod")
            return await (self._exec(request, found) if at["part"] == "exec" else self._log(request))
        return await self._one(request)

    async def _log(self, request: web.Request) -> web.Response:
        lines = [*self.log, *['{"level":"info","message":"started"}'] * _LATER]
        tail = int(request.query.get("tailLines", len(lines)))
        return web.Response(text="".join(f"{line}\n" for line in lines[len(lines) - min(tail, len(lines)) :]))

    async def _exec(self, request: web.Request, pod: Object) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["v5.channel.k8s.io"])
        await socket.prepare(request)
        code, output = await self._execute(pod, request.query.getall("command"))
        await socket.send_bytes(_STDOUT + output)
        ended: Object = {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            ended |= {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
        await socket.send_bytes(_ERROR + json.dumps(ended).encode())
        await socket.close()
        return socket


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _root(version: str) -> str:
    return f"apis/{version}" if "/" in version else f"api/{version}"


def _matches(selector: str, value: Callable[[str], Any]) -> bool:
    """Whether an object is what a selector of equalities asks for."""
    for term in filter(None, selector.split(",")):
        name, _, wanted = term.replace("==", "=").partition("=")
        if value(name) != wanted:
            return False
    return True


def _field(stored: Any, path: str) -> Any:
    for name in path.split("."):
        stored = stored.get(name, "") if isinstance(stored, dict) else ""
    return stored


def _merge(stored: Object, patch: Any) -> None:
    """A merge patch (RFC 7396), as far as nothing is taken away; patches of other kinds are taken to have held."""
    for name, value in patch.items() if isinstance(patch, dict) else ():
        if isinstance(value, dict) and isinstance(stored.get(name), dict):
            _merge(stored[name], value)
        else:
            stored[name] = value


def _kubeconfig(server: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    }


async def _silence(request: web.Request) -> web.StreamResponse:
    """A watch on which nothing happens."""
    response = web.StreamResponse(headers={"content-type": "application/json"})
    await response.prepare(request)
    await asyncio.sleep(float(request.query.get("timeoutSeconds", "60")))
    return response


async def _answer(body: Object) -> web.Response:
    return _json(body)


def _json(body: Object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _failure(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return _json(body | {"code": code}, code)
