"""Which kinds a Kubernetes API server knows, as kubectl asks for them before anything else."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

#: Where the resources of a version are.
PREFIXES: Final = ("/api/{version:v1}", r"/apis/{version:[^/]+/v[^/]+}")
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


class Kinds:
    """Kinds by apiVersion and plural, served as discovery.

    Attributes:
        known: the kind, and whether it is in namespaces.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], tuple[str, bool]] = {}
        for version, kind in _ALWAYS:
            self.add(version, kind, namespaced=True)

    def add(self, version: str, kind: str, *, namespaced: bool) -> None:
        self.known[version, plural(kind)] = kind, namespaced

    def serve(self, application: web.Application) -> None:
        application.router.add_get("/version", self._version)
        application.router.add_get("/api", self._core)
        application.router.add_get("/apis", self._groups)
        application.router.add_get("/openapi/v3", self._openapi)
        application.router.add_get("/openapi/v3/{version:.+}", self._openapi_of)
        for prefix in PREFIXES:
            application.router.add_get(prefix, self._resources)

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": "37", "gitVersion": "v1.37.0"})

    async def _core(self, _request: web.Request) -> web.Response:
        return web.json_response({"kind": "APIVersions", "versions": ["v1"]})

    async def _groups(self, _request: web.Request) -> web.Response:
        versions: dict[str, list[str]] = {}
        for version in sorted({version for version, _name in self.known if "/" in version}):
            versions.setdefault(version.split("/")[0], []).append(version)
        groups = []
        for name, found in versions.items():
            entries = [{"groupVersion": each, "version": each.split("/")[1]} for each in found]
            groups.append({"name": name, "versions": entries, "preferredVersion": entries[-1]})
        return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _resources(self, request: web.Request) -> web.Response:
        version = request.match_info["version"]
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        found: list[dict[str, Any]] = [
            {"name": name, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
            | {"shortNames": _SHORT.get(kind, [])}
            for (of, name), (kind, namespaced) in self.known.items()
            if of == version
        ]
        return web.json_response({"kind": "APIResourceList", "groupVersion": version, "resources": found})

    async def _openapi(self, _request: web.Request) -> web.Response:
        paths = {_root(version): f"/openapi/v3/{_root(version)}" for version, _name in self.known}
        return web.json_response({"paths": {path: {"serverRelativeURL": url} for path, url in paths.items()}})

    async def _openapi_of(self, request: web.Request) -> web.Response:
        """As much as kubectl asks before it leaves validation to the server: that ``fieldValidation`` is known."""
        paths = {}
        for (version, name), (kind, _namespaced) in self.known.items():
            if _root(version) == request.match_info["version"]:
                group, _, number = version.rpartition("/")
                patch = {
                    "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
                    "parameters": [{"name": "fieldValidation", "in": "query"}],
                }
                paths[f"/{_root(version)}/{name}/{{name}}"] = {"patch": patch}
        return web.json_response(
            {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.37.0"}, "paths": paths}
        )


def plural(kind: str) -> str:
    """The name of a kind's resource."""
    name = kind.lower()
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _root(version: str) -> str:
    return f"apis/{version}" if "/" in version else f"api/{version}"
