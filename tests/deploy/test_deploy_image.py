"""The image's build file: followed as far as it can be without a container engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.manifests import ROOT, SERVICES

IMAGE = ROOT / "deploy" / "image"
CONTAINERFILE = (IMAGE / "Containerfile").read_text()


def _instructions() -> list[tuple[str, str]]:
    lines = [line for line in CONTAINERFILE.splitlines() if line and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def _pinned(lock: str, *, everywhere: bool = False) -> dict[str, str]:
    """What a lock pins: here, or on every system."""
    found: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", (ROOT / "requirements" / lock).read_text()).splitlines():
        specification, _, hashes = line.partition("--hash")
        requirement = Requirement(specification.strip())
        assert hashes, line
        if everywhere or requirement.marker is None or requirement.marker.evaluate():
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            found[canonicalize_name(requirement.name)] = pin.version
    return found


def test_the_base_is_exact_and_the_user_nobody() -> None:
    instructions = _instructions()
    (base,) = [rest for word, rest in instructions if word == "ARG"]
    assert re.fullmatch(r"BASE=\S+/python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)
    assert [rest for word, rest in instructions if word == "FROM"] == ["${BASE} AS build", "${BASE}"]
    last = max(number for number, (word, _) in enumerate(instructions) if word == "FROM")
    final = instructions[last:]
    assert ("USER", "10001:10001") in final
    assert [rest.split()[:2] for word, rest in final if word == "COPY"] == [["--from=build", "/opt/vitne"]]


def test_only_wheels_with_hashes_are_installed() -> None:
    installs = [line for word, line in _instructions() if word == "RUN" and "pip" in line]
    assert len(installs) == 2
    for line in installs:
        for option in ("--require-hashes", "--no-deps", "--only-binary :all:"):
            assert option in line


def test_the_build_installs_what_was_tested() -> None:
    """Its lock pins nothing differently from the locks of what runs and what is tested."""
    run, build, dev = (_pinned(f"{name}.txt") for name in ("run", "build", "dev"))
    assert run.items() <= build.items() <= dev.items()


def test_nothing_else_of_the_checkout_reaches_the_build() -> None:
    ignored = (IMAGE / "Containerfile.dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {
        rest.split()[0].split("/")[0]
        for word, rest in _instructions()
        if word == "COPY" and not rest.startswith("--from")
    }
    assert copied == let_in


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build file puts together: packages of the lock, linked; sources, copied; stubs, generated."""
    folder = tmp_path_factory.mktemp("image")
    build, packages, app = folder / "build", folder / "packages", folder / "app"
    build.mkdir()
    packages.mkdir()
    app.mkdir()
    for word, rest in _instructions():
        if word == "COPY" and not rest.startswith("--from"):
            source, target = (Path(part) for part in shlex.split(rest))
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, build / target, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "tools.stubs"], cwd=build, check=True, capture_output=True)
    shutil.rmtree(build / "vitne" / "dev")
    for part in ("vitne", "vitne_api", "services"):
        (build / part).rename(app / part)
    for name in _pinned("run.txt"):
        for file in metadata.distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__", "google") and not (packages / top).exists():
                (packages / top).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)
            elif top == "google" and file.parts[1] != "__pycache__":  # a namespace that packages share
                (packages / top).mkdir(exist_ok=True)
                target = packages.joinpath(*file.parts[:2])
                if not target.exists():
                    target.symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1].joinpath(*file.parts[:2]))
    return folder


def test_services_start_with_what_the_image_holds(image: Path) -> None:
    """Nothing but the lock of what runs, no development stack: whatever else is imported fails here."""
    environment = {"PYTHONPATH": f"{image / 'app'}:{image / 'packages'}", "HOME": "/tmp", "PATH": os.environ["PATH"]}
    started = [
        subprocess.Popen(
            [sys.executable, "-S", "-B", "-m", f"services.{service}", "serve"],
            env=environment | {"VITNE_ENVIRONMENT": "nonsense"},
            cwd=image / "app",
            stderr=subprocess.PIPE,
            text=True,
        )
        for service in SERVICES
    ]
    for process in started:
        _, errors = process.communicate(timeout=60)
        # All was imported, the settings were read, and they are wrong: the exit code that the Jobs rely on.
        assert process.returncode == 2, errors
        assert "VITNE_ENVIRONMENT" in errors


def test_the_image_holds_no_development_stack(image: Path) -> None:
    assert not (image / "app" / "vitne" / "dev").exists()
    for file in (image / "app").rglob("*.py"):
        assert "vitne.dev" not in file.read_text(), file


def test_the_list_of_what_is_inside(tmp_path: Path) -> None:
    """CycloneDX from the lock: every package, its version, its hashes."""
    target = tmp_path / "sbom.json"
    tool = Path(sys.executable).with_name("cyclonedx-py")
    options = ("--of", "JSON", "--sv", "1.6", "--output-reproducible", "--no-validate", "-o", str(target))
    subprocess.run([str(tool), "requirements", "requirements/run.txt", *options], cwd=ROOT, check=True)
    document = json.loads(target.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    listed = {canonicalize_name(component["name"]): component for component in document["components"]}
    assert {name: component["version"] for name, component in listed.items()} == _pinned("run.txt", everywhere=True)
    for component in listed.values():
        assert component["purl"].startswith("pkg:pypi/")
        assert any(h["alg"] == "SHA-256" for ref in component["externalReferences"] for h in ref.get("hashes", ()))
