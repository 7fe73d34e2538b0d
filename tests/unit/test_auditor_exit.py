"""How the auditor's command ends when it meets what nobody thought of: not as if the records disagreed."""

from __future__ import annotations

from typing import Any

import pytest

from services.auditor import __main__ as command
from services.auditor.exit_codes import NOT_LOOKED

DSN = "postgresql://auditor:sesame@127.0.0.1:1/registry"
SETTINGS = {
    "ENVIRONMENT": "development",
    "IDENTITY_ISSUER": "http://127.0.0.1:1",
    "AUDIENCE": "https://api.vitne.example",
    "OPERATOR": "0192:313000044",
    "ISSUER_DSN": DSN,
    "LEDGER_DSN": DSN,
    "REGISTRY_DSN": DSN,
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}


def test_a_fault_of_its_own_is_no_disagreement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(f"VITNE_{name}", value)

    async def stumble(*_arguments: Any) -> None:
        raise KeyError(DSN)

    monkeypatch.setattr(command, "audit", stumble)
    assert command.main(["--settle", "0"]) == NOT_LOOKED
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert "sesame" not in said
