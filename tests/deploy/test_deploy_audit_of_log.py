"""The nightly audit walks the published log, too: it has what it needs, once the operator has filled in the keys."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.auditor import __main__ as auditor
from services.auditor.exit_codes import NOT_LOOKED
from services.auditor.log_arguments import PLACEHOLDER
from services.auditor.settings import AuditorSettings
from services.ledger.settings import LedgerSettings
from tests.deploy.manifests import K8S, ROOT, Installation, Manifest
from tests.unit.log_samples import ORIGIN, cosigner, note_signer
from vitne.canonical import b64url
from vitne.merkle.policy import Policy
from vitne.runtime.settings import load

SIGNER = note_signer()
KEYS = {
    f"{ORIGIN}+REPLACE+ME": SIGNER.key.text,
    "witness.example/north+REPLACE+ME": cosigner(0).key.text,
    "witness.example/south+REPLACE+ME": cosigner(1).key.text,
}


def _pod(installation: Installation) -> Manifest:
    spec: Manifest = installation.one("CronJob", "auditor")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def _settings(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> AuditorSettings:
    (container,) = _pod(installation)["containers"]
    for name, value in installation.environment(container).items():
        monkeypatch.setenv(name, value)
    return load(AuditorSettings)


def _policy(installation: Installation) -> str:
    """The policy's file, as the CronJob mounts it."""
    volumes = {volume["name"]: volume for volume in _pod(installation)["volumes"]}
    text: str = installation.one("ConfigMap", volumes["log-policy"]["configMap"]["name"])["data"]["policy"]
    return text


def test_it_would_look_and_remember(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(installation, monkeypatch)
    assert settings.faults() == []
    assert settings.log_policy_file is not None
    assert settings.log_memory_file is not None
    (container,) = _pod(installation)["containers"]
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
    assert settings.log_policy_file == mounts["log-policy"] / "policy"
    assert settings.log_memory_file.parent == mounts["memory"]
    volumes = {volume["name"]: volume for volume in _pod(installation)["volumes"]}
    assert volumes["memory"]["persistentVolumeClaim"] == {"claimName": "auditor-memory"}
    claim = installation.one("PersistentVolumeClaim", "auditor-memory")["spec"]
    assert claim["accessModes"] == ["ReadWriteOncePod"]
    # Where the log has no public address, it is fetched from where lists are.
    if installation.name == "kind":
        assert f"{settings.log_url}/" in settings.lists_served_at.values()
    else:
        assert settings.log_url == f"https://{installation.one('HTTPRoute', 'log')['spec']['hostnames'][0]}"


def test_what_is_not_filled_in_is_refused_before_anything_is_looked_at(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def settled(*_arguments: Any) -> None:
        raise AssertionError

    _settings(installation, monkeypatch)
    file = tmp_path / "policy"
    monkeypatch.setenv("VITNE_LOG_POLICY_FILE", str(file))
    monkeypatch.setattr(auditor, "settle", settled)
    refused = {
        "it is as it came": _policy(installation),
        "no log": "quorum none\n",
        "no policy": "log x\n",
        "none": None,
    }
    for text in refused.values():
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        assert auditor.main([]) == NOT_LOOKED
        told = capsys.readouterr().err
        assert told.startswith(f"BAD_LOG_POLICY: {file} can't be used: ")
        assert "field: VITNE_LOG_POLICY_FILE" in told
        assert "remedy: fill in the keys" in told
        assert ("keys are still to be filled in" in told) is (text == _policy(installation))


def test_filled_in_it_is_a_policy(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    text = _policy(installation)
    for placeholder, key in KEYS.items():
        text = text.replace(placeholder, key)
    assert PLACEHOLDER not in text
    policy = Policy.parse(text)
    assert [log.name for log in policy.logs] == [ORIGIN]
    assert len(policy.witnesses) == len(policy.urls) == (2 if installation.name == "production" else 0)
    (container,) = installation.one("Deployment", "ledger")["spec"]["template"]["spec"]["containers"]
    for name, value in installation.environment(container).items():
        monkeypatch.setenv(name, value)
    assert LedgerSettings().log_origin == ORIGIN


def test_the_command_of_the_page_tells_the_logs_verifier_key() -> None:
    """From what the ledger's command prints of its key."""
    (command,) = re.findall(r"^ *(python -c .*NoteKey.*)$", (K8S / "README.md").read_text(), re.MULTILINE)
    printed = b64url(SIGNER.key.public_key)
    words = [word.replace("THE_X", printed) for word in shlex.split(command)]
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == SIGNER.key.text
