"""Settings: read from the environment, refused by the variable's name, never with its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitne.runtime.settings import CommonSettings, load


class ServiceSettings(CommonSettings):
    hub: str
    secret_number: int = 3
    rules: tuple[int, ...] = ()


def test_variables_with_the_prefix_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITNE_HUB", "0192:919477822")
    monkeypatch.setenv("VITNE_GRPC_LISTEN", "127.0.0.1:7101")
    monkeypatch.setenv("VITNE_TRACE_FILE", "/tmp/spans.jsonl")
    monkeypatch.setenv("VITNE_OPERATOR", "0192:971035854")
    settings = load(ServiceSettings)
    assert (settings.hub, settings.grpc_listen) == ("0192:919477822", "127.0.0.1:7101")
    assert settings.trace_file == Path("/tmp/spans.jsonl")
    assert settings.operator == "0192:971035854"


def test_nobody_runs_in_development_by_accident() -> None:
    assert CommonSettings().environment == "production"
    assert CommonSettings().grpc_listen.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VITNE_SECRET_NUMBER", "hunter2"),
        ("VITNE_GRPC_LISTEN", "hunter2"),
        ("VITNE_HTTP_LISTEN", "127.0.0.1:hunter2"),
        ("VITNE_HTTP_LISTEN", "127.0.0.1:65536"),
        ("VITNE_ENVIRONMENT", "hunter2"),
        ("VITNE_OPERATOR", "0192:971035855"),
        ("VITNE_DATABASE_CONNECTIONS", "5"),
        ("VITNE_RULES", "hunter2"),
        ("VITNE_RULES", '["hunter2"]'),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv("VITNE_HUB", "x")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"{variable}")
    assert "hunter2" not in told


def test_a_missing_variable_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load(ServiceSettings)
    assert capsys.readouterr().err == "VITNE_HUB: must be set\n"
