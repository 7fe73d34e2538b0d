"""What a status was at an instant is asked, kept and checked without a network; what was cut from it shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.verifier import status_command
from services.verifier.past_status import PastStatus, verify_past_status
from tests.unit.log_samples import SampleLog, cosigner, policy_text
from tests.unit.test_verifier_bundle import POLICY, SIGNER
from tests.unit.verifier_world import LIST, LIST_KEY, NOW, ORIGIN, REGISTRY, TRUST_KEY, World
from vitne.accreditation.trust_list import FactsReference, render, sign_statement
from vitne.audit.status_evidence import LoggedList, ProvenLeaf, StatusEvidence
from vitne.canonical import sha256
from vitne.credentials.status_list import pack, sign_token
from vitne.errors import InvalidArgument, VitneError
from vitne.merkle.leaves import ListPublished, StatusChanged

PLACE = 7
AT = NOW - timedelta(days=2)
SUSPENDED = AT - timedelta(hours=1)
REINSTATED = AT + timedelta(hours=1)
VALID_SHOWN, SUSPENDED_SHOWN = 0, 2


class Past:
    """A place that was suspended for two hours two days ago, and what the ledger answers of it now."""

    def __init__(self) -> None:
        self.world = World(catalogue=False)
        #: When witnesses saw what was logged then.
        self.witnessed = AT
        self.changes: Sequence[StatusChanged] = [
            StatusChanged(LIST, PLACE, "suspended", SUSPENDED, SUSPENDED),
            StatusChanged(LIST, PLACE, "valid", REINSTATED, REINSTATED),
        ]

    def kept(self, at: datetime = AT) -> PastStatus:
        then, newest = self._token(SUSPENDED_SHOWN, AT), self._token(VALID_SHOWN, NOW)
        first, second = (change.to_bytes() for change in self.changes)
        log = SampleLog(SIGNER).append([first, ListPublished(LIST, 1, sha256(then.encode()), 1).to_bytes()])
        early = log.note(None, cosigner(0), cosigner(1), at=self.witnessed)
        leaves = [ProvenLeaf(log.entries[index], log.proof(index, early).text()) for index in range(2)]
        log.append([second, ListPublished(LIST, 2, sha256(newest.encode()), 3).to_bytes()])
        late = log.note(None, cosigner(0), cosigner(1), at=NOW)
        leaves += [ProvenLeaf(log.entries[index], log.proof(index, late).text()) for index in (2, 3)]
        named = [fact for fact in self.world.chronicle.facts if fact.WhichOneof("content") != "achievement"]
        facts = b"".join(render(fact) for fact in named if fact.WhichOneof("content") != "qualification")
        statement = sign_statement(
            FactsReference.of("trust-list/facts/1", facts),
            len(self.world.chronicle.facts),
            issuer=REGISTRY,
            at=NOW - timedelta(seconds=2),
            signer=TRUST_KEY,
        )
        evidence = StatusEvidence(
            LIST, PLACE, newest, leaves[3], [leaves[0], leaves[2]], then=LoggedList(then, leaves[1])
        )
        return PastStatus(at, NOW, NOW, statement, facts, evidence)

    @staticmethod
    def _token(status: int, at: datetime) -> str:
        statuses = [0] * 1000
        statuses[PLACE] = status
        return sign_token(
            uri=LIST,
            packed=pack(statuses, 2),
            bits=2,
            issued_at=at,
            expires_at=at + timedelta(minutes=15),
            ttl=timedelta(seconds=10),
            signer=LIST_KEY,
        )


@pytest.fixture
def past() -> Past:
    return Past()


def verified(kept: PastStatus) -> str:
    again = PastStatus.from_json(kept.to_json())
    assert again == kept
    return verify_past_status(
        again, registry_key=TRUST_KEY.key_id, registry_uri=REGISTRY, log_origin=ORIGIN, policy=POLICY
    ).status


def test_a_suspension_that_has_ended_is_proved(past: Past) -> None:
    assert verified(past.kept()) == "suspended"
    now = past.kept(NOW)
    assert verified(replace(now, evidence=replace(now.evidence, then=None))) == "valid"


def test_a_suspension_that_has_ended_is_not_left_out(past: Past) -> None:
    kept = past.kept()
    without = replace(kept.evidence, changes=[])
    for cut in (without, replace(without, then=None), replace(kept.evidence, changes=kept.evidence.changes[1:])):
        with pytest.raises(InvalidArgument, match="STATUS_NOT_PROVED"):
            verified(replace(kept, evidence=cut))


def test_a_list_that_was_made_for_the_instant_later_is_told(past: Past) -> None:
    past.witnessed = NOW
    with pytest.raises(InvalidArgument, match="WITNESSED_LATER"):
        verified(past.kept())


def test_another_form_of_file_is_refused(past: Past) -> None:
    kept = json.loads(past.kept().to_json())
    others: list[Any] = [{**kept, "v": 2}, {**kept, "more": 1}, {"v": 1}, []]
    for spoiled in others:
        with pytest.raises(InvalidArgument, match="BAD_PAST_STATUS"):
            PastStatus.from_json(json.dumps(spoiled).encode())
    with pytest.raises(InvalidArgument, match="BAD_STATUS_EVIDENCE"):
        PastStatus.from_json(json.dumps({**kept, "status": {}}).encode())


def test_the_command(past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, policy = tmp_path / "status.json", tmp_path / "policy"
    file.write_bytes(past.kept().to_json())
    policy.write_text(policy_text(SIGNER, 2, "all"))
    arguments = [str(file), "--registry-key", TRUST_KEY.key_id, "--log-policy", str(policy)]
    assert status_command.verify_main(arguments) == 0
    first, since, lists, seen = capsys.readouterr().out.splitlines()
    assert first == "suspended at 2026-11-19T10:00:00Z, as known at 2026-11-21T10:00:00Z"
    assert since == "since 2026-11-19T09:00:00Z, recorded 2026-11-19T09:00:00Z"
    assert "2026-11-19T10:00:00Z, in force at that instant, and of 2026-11-21T10:00:00Z" in lists
    assert "recorded after the first and undone before the second may be missing" in lists
    assert seen == "in the log, seen by the policy's witnesses by 2026-11-21T10:00:00Z"
    assert status_command.verify_main([*arguments[:-2], "--log-origin", "log.other.example"]) == 1
    assert capsys.readouterr().out == ""
    file.write_bytes(b"PK")
    assert status_command.verify_main(arguments) == 2
    assert "BAD_JSON" in capsys.readouterr().err


def test_the_command_that_asks_says_what_is_no_instant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_arguments: Any) -> PastStatus:
        raise VitneError("ASKED", "it was asked")

    monkeypatch.setattr(status_command, "_ask", asked)
    credential = tmp_path / "credential.sd-jwt"
    credential.write_text("presented")
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--registry-key", TRUST_KEY.key_id]
    assert status_command.main([*where, "--known-at", "yesterday", str(credential)]) == 2
    assert capsys.readouterr().err.startswith("BAD_INSTANT: ")


def test_before_its_issuance_a_credential_had_no_status(
    past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    credential = tmp_path / "credential.sd-jwt"
    credential.write_text(past.world.issue())
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--registry-key", TRUST_KEY.key_id]
    assert status_command.main([*where, "--at", "2020-01-01T00:00:00Z", str(credential)]) == 2
    assert capsys.readouterr().err.startswith("AT_BEFORE_ISSUANCE: ")
