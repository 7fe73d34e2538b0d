"""Build the wheel of clients/python: the client, the modules of ``vitne`` that it imports, and the stubs.

They are the project's own modules, as they are: nothing is written twice. A portal installs the wheel, and neither a
service nor the embedded stack is in it.

Usage: ``python -m tools.client`` from the project's root; the wheel is left in ``build/client``.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "clients" / "python"
TARGET: Final = ROOT / "build" / "client"
PACKAGE: Final = "vitne_client"
#: Packages whose modules go along where they are imported.
OURS: Final = ("vitne", "vitne_api")
#: Makes the setuptools of this interpreter build, without an environment of its own: nothing is downloaded.
_BUILD: Final = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def modules() -> set[Path]:
    """Files of the modules of :data:`OURS` that the client imports, directly or through others, below the root."""
    found: set[Path] = set()
    waiting = sorted((SOURCE / PACKAGE).glob("*.py"))
    while waiting:
        for name in _imported(waiting.pop()):
            for file in _files(name):
                if file not in found:
                    found.add(file)
                    waiting.append(file)
    return {file.relative_to(ROOT) for file in found}


def _imported(file: Path) -> Iterator[str]:
    """Names that may be modules: of a name that is imported from a package it is not known whether it is one."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(name: str) -> Iterator[Path]:
    """The files that importing a module runs: its own, and those of the packages above it."""
    parts = name.split(".")
    if parts[0] not in OURS:
        return
    for length in range(1, len(parts) + 1):
        path = ROOT.joinpath(*parts[:length])
        if (path / "__init__.py").is_file():
            yield path / "__init__.py"
        elif path.with_suffix(".py").is_file():
            yield path.with_suffix(".py")


def stage(folder: Path) -> None:
    """Lay out what the wheel is made from."""
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    for module in modules():
        target = folder / module
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / module, target)
        if module.name.endswith(("_pb2.py", "_pb2_grpc.py")):
            shutil.copyfile((ROOT / module).with_suffix(".pyi"), target.with_suffix(".pyi"))
    for package in {module.parent for module in modules()}:
        if (tables := ROOT / package / "sql").is_dir():
            shutil.copytree(tables, folder / package / "sql")
    for name in OURS:
        (folder / name / "py.typed").touch()


def build(target: Path = TARGET) -> Path:
    """Build the wheel into ``target``; its path."""
    shutil.rmtree(target, ignore_errors=True)
    stage(target / "source")
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(target)],
        cwd=target / "source",
        check=True,
        capture_output=True,
        text=True,
        # The same files give the same wheel.
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800", "PYTHONPATH": ""},
    )
    return target / done.stdout.splitlines()[-1]


if __name__ == "__main__":
    print(build().relative_to(ROOT))
