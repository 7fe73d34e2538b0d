"""The client package's examples where something is missing: one line that says what, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from vitne_client.batch_file import REQUIRED

EXAMPLES = sorted(path.name for path in (ROOT / "clients" / "examples").glob("*.py"))
MODULES = f"{ROOT}:{ROOT / 'clients' / 'python'}"
VARIABLES = {
    *("VITNE_ISSUER", "VITNE_IDENTITY_URL", "VITNE_AUDIENCE", "VITNE_PROVIDER_CLIENT", "VITNE_PROVIDER_KEY_FILE"),
    *("VITNE_HUB_CLIENT", "VITNE_HUB_KEY_FILE", "VITNE_HUB", "VITNE_SUBSCRIBER_DSN", "VITNE_KAFKA"),
}


def run(example: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VITNE_", "PYTHONPATH"))}
    return subprocess.run(
        [sys.executable, ROOT / "clients" / "examples" / example, *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def table(tmp_path: Path) -> str:
    file = tmp_path / "results.csv"
    line = "1;no.national_id;01810149901;Kari;Nordmann;01930f6e-0000-7000-8000-000000000001;2026-11-20;erasable"
    file.write_text(f"{';'.join(REQUIRED)}\n{line}\n")
    return str(file)


@pytest.mark.parametrize("example", EXAMPLES)
def test_without_the_package_it_says_where_it_is(example: str, table: str) -> None:
    ended = run(example, *([table] if example == "issue_batch.py" else []))
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("No module named ")
    assert "PYTHONPATH=.:clients/python" in ended.stderr


@pytest.mark.parametrize(
    ("example", "says"),
    [("issue_batch.py", ["RESULTS.csv", "--then-revoke-first"]), ("subscribe.py", ["A small portal"])],
)
def test_help_needs_nothing(example: str, says: list[str]) -> None:
    ended = run(example, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert all(each in ended.stdout for each in says)


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_is_no_option_is_refused(example: str, table: str) -> None:
    ended = run(example, *([table] if example == "issue_batch.py" else []), "--hlep", PYTHONPATH=MODULES)
    assert ended.returncode == 2
    assert "unrecognized arguments: --hlep" in ended.stderr


@pytest.mark.parametrize(
    ("example", "name"),
    [
        ("issue_batch.py", "VITNE_ISSUER"),
        ("issue_batch.py", "VITNE_PROVIDER_KEY_FILE"),
        ("subscribe.py", "VITNE_ISSUER"),
        ("subscribe.py", "VITNE_HUB"),
        ("subscribe.py", "VITNE_KAFKA"),
    ],
)
def test_one_variable_that_is_not_set_is_named(example: str, name: str, table: str) -> None:
    environment = dict.fromkeys(VARIABLES - {name}, "x")
    ended = run(example, *([table] if example == "issue_batch.py" else []), PYTHONPATH=MODULES, **environment)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert name in ended.stderr
    assert ". .vitne/up/environment" in ended.stderr


def test_a_table_without_results_says_so_and_a_file_that_is_not_there_is_wrong_usage(table: str) -> None:
    environment = dict.fromkeys(VARIABLES, "x")
    Path(table).write_text(f"{';'.join(REQUIRED)}\n")
    empty = run("issue_batch.py", table, PYTHONPATH=MODULES, **environment)
    assert (empty.returncode, empty.stdout.strip()) == (
        0,
        f"{table} has no line but that of its columns: nothing is issued",
    )
    missing = run("issue_batch.py", f"{table}.none", PYTHONPATH=MODULES, **environment)
    assert missing.returncode == 2
    assert missing.stderr.splitlines()[-1].endswith("results.csv.none can't be read: No such file or directory")
