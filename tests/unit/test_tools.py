"""What make calls before there is a .venv: what it refuses to be given, and what it clears away."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tools import bootstrap, clean, variables


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"KAFKA": "apache", "TLS": "1", "QUICK": "no", "VERBOSE": "true"},
        {"KAFKA": "apache-tls", "KILLS": "1000", "MINUTES": "0.5", "WORKERS": "0"},
        {"KAFKA": "one.example:9092,10.0.0.2:9093,[::1]:9092", "SIZE": "", "TLS": ""},
    ],
)
def test_what_can_be_meant_is_taken(given: dict[str, str]) -> None:
    assert variables.faults(given) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA", "foo"),
        ("KAFKA", "apache,one.example:9092"),
        ("KAFKA", "one.example:9092,"),
        ("TLS", "maybe"),
        ("KEEP", "2"),
        ("KILLS", "many"),
        ("KILLS", "0"),
        ("EVENTS", "1e6"),
        ("MINUTES", "half"),
        ("WORKERS", "-1"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_rule_and_remedy(name: str, value: str) -> None:
    [fault] = variables.faults({name: value, "QUICK": "1"})
    assert fault.startswith(f"{name}={value} is not {variables.RULES[name].rule}; ")
    assert fault.endswith(variables.RULES[name].remedy)


def test_a_file_is_no_place_for_state(tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    [fault] = variables.faults({"VITNE_HOME": str(file / "below")})
    assert f"{file} is a file" in fault
    assert variables.faults({"VITNE_HOME": str(tmp_path / "to" / "be" / "made")}) == []


def test_make_refuses_before_it_sets_up_anything() -> None:
    refused = subprocess.run(["make", "up", "KAFKA=foo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "KAFKA=foo is not apache, apache-tls, or a cluster as host:port,host:port" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["ONLY"], "no target is called ONLY: write ONLY=…"),
        (["ONLY", "issue"], "no target is called ONLY issue: write ONLY=…"),
        (["clen"], "no target is called clen: make help lists them"),
        (["only=issue"], "nothing here is called only; known are ARGS "),
    ],
)
def test_make_refuses_names_that_it_does_not_know_before_it_runs_those_that_it_does(
    asked: list[str], told: str
) -> None:
    refused = subprocess.run(["make", "help", *asked], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert told in refused.stderr
    assert refused.stdout == ""


def test_cleaned_it_is_as_it_was_cloned_but_for_what_is_its_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloned = {"Makefile", "docs/verify.md", "vitne/clock.py", "tests/interop/package.json", "bench/__main__.py"}
    own = {"notes.txt", ".vitne/mine/letter", ".venv/lib/__pycache__/module.pyc", "bench/results.jsonl"}
    own |= {"state/keys/one", "out/keys/two", "credential.sd-jwt", "bundle.zip", "bundle.json", "status.json"}
    made = {
        *("build/proto-deps/a.proto", "vitne_api/ledger.py", ".ruff_cache/x", "vitne/__pycache__/c"),
        *("tests/interop/node_modules/a/b.js", ".hypothesis/examples"),
        *(".vitne/log-copy/checkpoint", ".vitne/mirror/no-1", ".vitne/demo/lock", ".vitne/demo/logs/issuer.log"),
    }
    for name in cloned | own | made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clean.main(tmp_path / ".vitne", tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == cloned | own
    assert not (tmp_path / "build").exists()
    said = capsys.readouterr().out
    assert "stays in" in said
    assert "mine" in said
    assert "bench/results.jsonl, credential.sd-jwt, bundle.zip, bundle.json, status.json, state, out stays" in said


def test_nothing_is_cleaned_under_a_stack_that_runs(tmp_path: Path) -> None:
    for name in (".vitne/up/lock", "build/tool"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    with (tmp_path / ".vitne/up/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match=r"a stack is running in .*up: end it first"):
            clean.main(tmp_path / ".vitne", tmp_path)
    assert (tmp_path / "build/tool").exists()
    clean.main(tmp_path / ".vitne", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_cleaned_under_a_stack_whose_state_is_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "build").mkdir(parents=True)
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/sleep").symlink_to(shutil.which("sleep") or "")
    running = subprocess.Popen([root / ".venv/bin/sleep", "60"])
    try:
        while not Path(f"/proc/{running.pid}/cmdline").read_bytes():
            time.sleep(0.001)  # It is being loaded, and has no name yet.
        with pytest.raises(SystemExit, match=rf"process {running.pid} runs from .*\.venv: end it first"):
            clean.main(tmp_path / "elsewhere", root)
        assert (root / "build").exists()
    finally:
        running.kill()
        running.wait()
    clean.main(tmp_path / "elsewhere", root)
    assert not (root / "build").exists()


def test_what_an_environment_says_to_others_is_not_refused() -> None:
    def checked(*names: str) -> str:
        environment = os.environ | {"PROFILE": "production"}
        command = [sys.executable, "tools/variables.py", *names]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False).stderr

    assert checked() == ""
    assert "PROFILE=production is not 1 or 0" in checked("PROFILE")


@pytest.mark.parametrize("name", ["vitne-audit", "vitne-verify", "vitne-witness"])
def test_a_checkout_has_the_commands_that_an_installed_package_has(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    (tmp_path / "lib").symlink_to(Path(sys.prefix) / "lib")
    monkeypatch.setattr(bootstrap, "PYTHON", python)
    bootstrap.build_scripts()
    # In whatever folder, and whatever the shell says of modules.
    kept = {variable: value for variable, value in os.environ.items() if variable != "PYTHONPATH"}
    ended = subprocess.run(
        [python.parent / name, "--help"], cwd=tmp_path, env=kept, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(("usage: vitne-", "usage: python -m services.witness "))
