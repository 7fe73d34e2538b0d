"""The client package as a portal and an institution install it: from its wheel, with nothing else of the project."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools.client import ROOT, build
from vitne.dev.cases import synthetic_learners
from vitne.dev.demo import Demo
from vitne.dev.stack import Stack

EXAMPLES = ROOT / "clients" / "examples"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is in the wheel; what it depends on is this interpreter's."""
    folder = tmp_path_factory.mktemp("client")
    with zipfile.ZipFile(build(folder / "wheel")) as wheel:
        wheel.extractall(folder / "installed")
    return folder / "installed"


async def run(folder: Path, environment: Mapping[str, str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code and output of a program that finds the wheel's modules and none of the project's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, arguments),
        cwd=folder.parent,
        env={**os.environ, **environment, "PYTHONPATH": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def issue(folder: Path, environment: Mapping[str, str], *arguments: str | Path, code: int = 1) -> list[str]:
    """What the example says of a table that it issues; by default some of it is refused."""
    ended, output, errors = await run(folder, environment, EXAMPLES / "issue_batch.py", *arguments)
    assert ended == code, errors
    assert errors == ("1 not issued\n" if code else "")
    return output.splitlines()


def undated(line: str) -> str:
    """The same without the instant that it names."""
    return re.sub(r" at \S+?Z", " at …", line)


def exported(stack: Stack, world: Demo) -> dict[str, str]:
    """What a shell has after ``. .vitne/up/environment``."""
    lines = stack.write_environment("none").read_text().splitlines()
    return dict(line.removeprefix("export ").replace("'", "").partition("=")[::2] for line in lines)


async def test_a_portal_gathers_and_again_finds_nothing_new(stack: Stack, world: Demo, installed: Path) -> None:
    environment = exported(stack, world)
    for _ in range(2):
        code, output, errors = await run(installed, environment, EXAMPLES / "subscribe.py")
        assert code == 0, errors
        held, topic = output.splitlines()
        assert held.endswith(" credentials, 0 parked")
        assert int(held.split()[0]) > 0
        assert topic == f"{stack.hub_topic()} is up to date"


async def test_an_institution_issues_from_a_table_and_twice_is_once(
    stack: Stack, world: Demo, installed: Path, tmp_path: Path
) -> None:
    environment = exported(stack, world)
    case = next(
        key
        for key, case in world.cases.achievements.items()
        if case.message.provider == environment["VITNE_PROVIDER"] and key in world.published
    )
    head = "item_id;scheme;value;given_name;family_name;achievement_id;awarded_on;retention"
    rest = f"Ola;Nordmann;{world.published[case]};2026-11-01;erasable"
    learners = synthetic_learners(3)
    lines = [f"{number};{one.scheme};{one.value};{rest}" for number, one in enumerate(learners[1:])]
    lines.append(f"bad;no.national_id;12345678901;{rest}")
    table = tmp_path / "results.csv"
    table.write_text("\n".join([head, *lines]) + "\n")
    bad, *good = await issue(installed, environment, table)
    assert bad.startswith("bad refused: BAD_LEARNER_ID: ")
    assert all(f"; {part}: " in bad for part in ("field", "rule", "remedy"))
    assert good == ["0 issued", "1 issued"]
    # Instants are told in whole seconds: what is asked again within one is as good as at once.
    await asyncio.sleep(1)
    said = [bad, "0 issued already at …", "1 issued already at …"]
    assert list(map(undated, await issue(installed, environment, table))) == said
    said = [bad, "0 issued already at …", "1 issued already at …", "0 revoked"]
    assert list(map(undated, await issue(installed, environment, table, "--then-revoke-first"))) == said
    await asyncio.sleep(1)
    said = [bad, "0 issued already at …, revoked since", "1 issued already at …", "0 revoked already at …"]
    assert list(map(undated, await issue(installed, environment, table, "--then-revoke-first"))) == said
    # Mended, it is the same batch: what was issued of it is not issued again, nor as something else.
    mended = [*lines[:2], f"bad;{learners[0].scheme};{learners[0].value};{rest}"]
    table.write_text("\n".join([head, *mended]) + "\n")
    said = ["0 issued already at …, revoked since", "1 issued already at …", "bad issued"]
    assert list(map(undated, await issue(installed, environment, table, code=0))) == said
    table.write_text("\n".join([head, mended[1].replace("Ola", "Kari")]) + "\n")
    other = await issue(installed, environment, table)
    assert other[0].startswith("1 refused: REQUEST_ID_REUSED: ")
    assert other[1].endswith("if this is another table, name it: --batch NAME")
    assert await issue(installed, environment, table, "--batch", "corrections", code=0) == ["1 issued"]
    table.write_text(head + "\n")
    (table.parent / "broken.csv").write_text("no columns\n")
    code, _, errors = await run(installed, environment, EXAMPLES / "issue_batch.py", table.parent / "broken.csv")
    assert code == 1
    assert "CSV_COLUMNS" in errors
    assert "Traceback" not in errors
    # One line is wrong: the other, which is not, is not issued either.
    table.write_text("\n".join([head, lines[0], lines[1].replace("2026-11-01", "1.11.2026")]) + "\n")
    code, output, errors = await run(installed, environment, EXAMPLES / "issue_batch.py", table)
    assert (code, output) == (1, "")
    assert "line 3, column awarded_on" in errors
