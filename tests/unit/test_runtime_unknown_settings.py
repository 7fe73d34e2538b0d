"""Variables that no service knows: told at the start by name, with what may be meant, and never with their values."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from services.auditor import __main__ as auditor
from services.auditor.exit_codes import NOT_LOOKED
from tests.docs.pages import ROOT
from vitne.dev.settings import shell_environment
from vitne.runtime.main import cli
from vitne.runtime.settings import CommonSettings
from vitne.runtime.unknown_settings import SERVICES, unknown_settings

#: Files that write environments of processes of the embedded stack.
DEV: list[Path] = [ROOT / "vitne" / "dev" / f"{name}.py" for name in ("settings", "protection", "emrex", "stack")]


class ServiceSettings(CommonSettings):
    lease_block: int = 3


def told(*names: str) -> list[str]:
    return list(unknown_settings(ServiceSettings, names))


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    [line] = told("VITNE_DATABSE_DSN", "VITNE_DATABASE_DSN", "PATH")
    assert line.startswith("VITNE_DATABSE_DSN: ignored: ")
    assert "remedy: write VITNE_DATABASE_DSN if that is meant" in line
    assert "VITNE_STORAGE_REGION" in told("VITNE_STORAGE_REGOIN")[0], "another service's"
    assert "VITNE_LEASE_BLOCK if" in told("VITNE_LEASE_BLOK")[0]
    assert "--help names all settings" in told("VITNE_QQQQ")[0]


def test_names_of_other_services_of_the_same_installation_are_no_cause() -> None:
    """One environment may serve them all; and variables are read in any case."""
    assert told("VITNE_WITNESSES", "VITNE_PORTAL_URL", "VITNE_HOME", "vitne_lease_block", "OTHER_WITNESES") == []


def test_all_settings_of_all_services_are_known() -> None:
    modules = [
        str(file.relative_to(ROOT).with_suffix("")).replace("/", ".") for file in ROOT.glob("services/**/settings.py")
    ]
    found = [
        kind
        for module in modules
        for kind in vars(importlib.import_module(module)).values()
        if isinstance(kind, type) and issubclass(kind, CommonSettings)
    ]
    assert len(found) > len(modules) > 5
    fields = {name for kind in found for name in kind.model_fields}
    assert fields - {*CommonSettings.model_fields} == SERVICES


def test_the_embedded_stack_tells_nobody_of_its_own_names() -> None:
    places = MagicMock(protection=None)
    assert list(unknown_settings(CommonSettings, shell_environment(places, "key"))) == []
    written = {name for file in DEV for name in re.findall(r'"(VITNE_[A-Z0-9_]+)"', file.read_text())}
    assert len(written) > 40
    assert list(unknown_settings(CommonSettings, written)) == []


def test_a_service_tells_it_at_its_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    async def serve(_settings: ServiceSettings) -> None:
        """Nothing is served."""

    monkeypatch.setenv("VITNE_ENVIRONMENT", "development")
    monkeypatch.setenv("VITNE_LEASE_BLOK", "hunter2")
    code = cli("x", "", serve=serve, migrations=[], settings=ServiceSettings, arguments=["serve"])
    assert code == 0
    logged = [json.loads(line) for line in "".join(capfd.readouterr()).splitlines() if "VITNE_LEASE_BLOK" in line]
    assert [line["level"] for line in logged] == ["warning"]
    assert "VITNE_LEASE_BLOCK" in str(logged)
    assert "hunter2" not in str(logged)


def test_the_auditor_tells_it_before_it_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITNE_LISTS_SERVEDAT", "hunter2")
    monkeypatch.setattr(
        auditor, "load", lambda _kind: SimpleNamespace(faults=list, log_level="info", log_policy_file=None)
    )
    assert auditor.main([]) == NOT_LOOKED
    said = capsys.readouterr().err
    assert said.startswith("VITNE_LISTS_SERVEDAT: ignored")
    assert "VITNE_LISTS_SERVED_AT" in said
    assert "hunter2" not in said
