"""What a portal installs: the client, what it imports of the project, and nothing else."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

from tools.client import PACKAGE, ROOT, SOURCE, modules

#: Distributions by the module that is imported, where the names differ.
DISTRIBUTIONS = {
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_status": "grpcio-status",
    "opentelemetry": "opentelemetry-sdk",
    "prometheus_client": "prometheus-client",
    "stdnum": "python-stdnum",
}


def needed() -> set[str]:
    """Distributions that the wheel's modules import."""
    found = set()
    for file in [*(SOURCE / PACKAGE).glob("*.py"), *(ROOT / module for module in modules())]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found |= {name.partition(".")[0] for name in names}
    found -= {*sys.stdlib_module_names, "vitne", "vitne_api", PACKAGE}
    return {DISTRIBUTIONS.get(name, name) for name in found}


def test_neither_a_service_nor_the_embedded_stack_is_in_it() -> None:
    packages = {"/".join(module.parts[:2]) for module in modules()}
    assert "vitne/messaging" in packages
    assert not {one for one in packages if one.startswith("services") or one in ("vitne/dev", "vitne/inspection")}


def test_it_says_what_it_needs() -> None:
    with (SOURCE / "pyproject.toml").open("rb") as file:
        stated = {text.partition(">")[0] for text in tomllib.load(file)["project"]["dependencies"]}
    assert needed() <= stated
    with (ROOT / "pyproject.toml").open("rb") as file:
        ours = set(tomllib.load(file)["project"]["dependencies"])
    with (SOURCE / "pyproject.toml").open("rb") as file:
        assert set(tomllib.load(file)["project"]["dependencies"]) <= ours, "the bounds are the project's own"


def test_all_that_is_offered_is_documented() -> None:
    for file in sorted(Path(SOURCE / PACKAGE).glob("*.py")):
        assert ast.get_docstring(ast.parse(file.read_text("utf-8"))), file.name
