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
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from tests.docs.controllers import CREATED, Object, containers, made_of, status_of, uid_of
from tests.docs.discovery import PREFIXES, Kinds, plural
from vitne.dev.ports import LOOPBACK

#: Runs a command in a container: pod, argv; exit code and what it printed.
Execute = Callable[[Object, Sequence[str]], Awaitable[tuple[int, bytes]]]

#: Lines of a log after the ones that are looked for: a command that reads the last ten only does not see those.
_LATER: Final = 12
#: What Kubernetes' protobuf encoding begins with.
_PROTOBUF: Final = b"k8s\x00"
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
        self._kinds = Kinds()
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        for manifest in manifests:
            self._kinds.add(manifest["apiVersion"], manifest["kind"], namespaced="namespace" in manifest["metadata"])
            self.store(manifest)

    async def __aenter__(self) -> Cluster:
        application = web.Application(client_max_size=16 * 1024 * 1024)
        self._kinds.serve(application)
        for prefix in PREFIXES:
            # What follows a namespace is a resource in it, before it is a part of the namespace.
            for scope in ("/namespaces/{namespace}", ""):
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
        meta["uid"] = uid_of(kind, meta.get("namespace", ""), meta["name"])
        meta |= {"creationTimestamp": CREATED, "resourceVersion": "1", "generation": 1}
        if kind == "Job":
            selector = {"matchLabels": {"batch.kubernetes.io/job-name": meta["name"]}}
            stored.setdefault("spec", {}).setdefault("selector", selector)
        stored["status"] = {**status_of(stored), **stored.get("status", {})}
        key = stored["apiVersion"], plural(kind)
        self._objects.setdefault(key, {})[meta.get("namespace", ""), meta["name"]] = stored
        for further in made_of(stored):
            self.store(further)
        return stored

    def find(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        """An object, as it is held."""
        return self._objects.get((version, plural(kind)), {}).get((namespace, name))

    def clear(self) -> None:
        """Forget all objects, not their kinds."""
        self._objects.clear()

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
        kind = self._kinds.known.get((request.match_info["version"], request.match_info["plural"]))
        if kind is None:
            return _failure(404, "NotFound", "the server could not find the requested resource")
        if request.method == "POST":
            manifest = _read(await request.read())
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


def _read(body: bytes) -> Object:
    """An object as a client sends it: YAML or JSON, or of Kubernetes' protobuf encoding its kind and name."""
    if not body.startswith(_PROTOBUF):
        manifest: Object = yaml.safe_load(body)
        return manifest
    envelope = _fields(body.removeprefix(_PROTOBUF))
    kind, meta = _fields(envelope[1]), _fields(_fields(envelope[2])[1])
    return {"apiVersion": kind[1].decode(), "kind": kind[2].decode(), "metadata": {"name": meta[1].decode()}}


def _fields(message: bytes) -> dict[int, Any]:
    unknown = UnknownFieldSet(Empty.FromString(message))
    return {unknown[place].field_number: unknown[place].data for place in range(len(unknown))}


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


def _json(body: Object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _failure(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return _json(body | {"code": code}, code)
