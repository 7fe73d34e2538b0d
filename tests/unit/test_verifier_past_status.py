"""What a status was at an instant is asked, kept and checked without a network; what was cut from it shows."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.verifier import presented, status_command
from services.verifier.collect import AskedStatus
from services.verifier.past_status import PastStatus, verify_past_status
from tests.unit.log_samples import SampleLog, cosigner, policy_text
from tests.unit.test_verifier_bundle import POLICY, SIGNER
from tests.unit.verifier_world import LIST, LIST_KEY, NOW, ORIGIN, REGISTRY, TRUST_KEY, World
from vitne.accreditation.trust_list import CLOCK_SKEW, FactsReference, render, sign_statement
from vitne.audit.status_evidence import LoggedList, ProvenLeaf, StatusEvidence
from vitne.canonical import sha256
from vitne.clock import ManualClock
from vitne.credentials.model import StatusReference
from vitne.credentials.status_list import pack, sign_token
from vitne.errors import FailedPrecondition, InvalidArgument, Unavailable, VitneError
from vitne.merkle.leaves import ListPublished, StatusChanged

PLACE = 7
OWN = StatusReference(LIST, PLACE)
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
        #: What the newest list shows, when it was signed, and of how many leaves.
        self.newest = VALID_SHOWN, NOW, 3
        self.changes: Sequence[StatusChanged] = [
            StatusChanged(LIST, PLACE, "suspended", SUSPENDED, SUSPENDED),
            StatusChanged(LIST, PLACE, "valid", REINSTATED, REINSTATED),
        ]

    def kept(self, at: datetime = AT) -> PastStatus:
        shown, signed, leaves_before = self.newest
        then, newest = self._token(SUSPENDED_SHOWN, AT), self._token(shown, signed)
        first, second = (change.to_bytes() for change in self.changes)
        log = SampleLog(SIGNER).append([first, ListPublished(LIST, 1, sha256(then.encode()), 1).to_bytes()])
        early = log.note(None, cosigner(0), cosigner(1), at=self.witnessed)
        leaves = [ProvenLeaf(log.entries[index], log.proof(index, early).text()) for index in range(2)]
        log.append([second, ListPublished(LIST, 2, sha256(newest.encode()), leaves_before).to_bytes()])
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


def verified(kept: PastStatus, reference: StatusReference | None = OWN) -> str:
    again = PastStatus.from_json(kept.to_json())
    assert again == kept
    return verify_past_status(
        again,
        reference=reference,
        registry_key=TRUST_KEY.key_id,
        registry_uri=REGISTRY,
        log_origin=ORIGIN,
        policy=POLICY,
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


@pytest.mark.parametrize("seconds", [1, 59])
def test_a_list_of_a_moment_later_is_not_that_of_the_instant(past: Past, seconds: int) -> None:
    """What ended in that moment would not show in it: no clock is asked here, and none differs."""
    kept = past.kept()
    with pytest.raises(Unavailable, match="STATUS_LIST_FUTURE"):
        verified(replace(kept, at=AT - timedelta(seconds=seconds)))
    with pytest.raises(Unavailable, match="STATUS_LIST_FUTURE"):
        verified(replace(kept, known_at=NOW - timedelta(seconds=seconds)))


def test_a_list_that_was_made_for_the_instant_later_is_told(past: Past) -> None:
    past.witnessed = NOW
    with pytest.raises(InvalidArgument, match="WITNESSED_LATER"):
        verified(past.kept())


@pytest.mark.parametrize("other", [StatusReference(LIST, PLACE + 1), StatusReference(f"{LIST}0", PLACE)])
def test_the_status_of_another_place_is_not_that_of_the_credential(past: Past, other: StatusReference) -> None:
    with pytest.raises(InvalidArgument, match="STATUS_OF_ANOTHER"):
        verified(past.kept(), other)


def test_a_registrys_list_of_before_what_is_to_be_proved_is_refused(past: Past) -> None:
    kept = past.kept()
    assert verified(replace(kept, collected=NOW - CLOCK_SKEW)) == "suspended"
    with pytest.raises(InvalidArgument, match="TRUST_LIST_EARLIER"):
        verified(replace(kept, collected=NOW - CLOCK_SKEW - timedelta(seconds=1)))


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
    first, place, since, lists, seen = capsys.readouterr().out.splitlines()
    assert first == "suspended at 2026-11-19T10:00:00Z, as known at 2026-11-21T10:00:00Z"
    assert place == f"place {PLACE} of {LIST}: WHOSE IT IS WAS NOT LOOKED AT; give the credential, too"
    assert since == "since 2026-11-19T09:00:00Z, recorded 2026-11-19T09:00:00Z"
    assert "2026-11-19T10:00:00Z, in force at that instant, and of 2026-11-21T10:00:00Z" in lists
    assert "recorded after the first and undone before the second may be missing" in lists
    assert seen == "in the log, seen by the policy's witnesses by 2026-11-21T10:00:00Z"
    assert status_command.verify_main([*arguments[:-2], "--log-origin", "log.other.example"]) == 1
    assert capsys.readouterr().out == ""
    file.write_bytes(b"\xff")
    assert status_command.verify_main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("BAD_JSON: ")
    assert "field: STATUS_FILE; " in said


def test_a_list_from_before_the_change_is_not_said_to_show_it(
    past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    revoked = NOW - timedelta(minutes=1)
    past.newest = SUSPENDED_SHOWN, NOW - timedelta(minutes=5), 2
    past.changes = [past.changes[0], StatusChanged(LIST, PLACE, "revoked", revoked, revoked)]
    now = past.kept(NOW)
    (tmp_path / "status.json").write_bytes(replace(now, evidence=replace(now.evidence, then=None)).to_json())
    (tmp_path / "policy").write_text(policy_text(SIGNER, 2, "all"))
    keys = ["--registry-key", TRUST_KEY.key_id, "--log-policy", str(tmp_path / "policy")]
    assert status_command.verify_main([str(tmp_path / "status.json"), *keys]) == 0
    said = capsys.readouterr().out
    assert said.startswith("revoked at ")
    assert "\nby that change itself, and the list of 2026-11-21T09:55:00Z, from before it: " in said


def test_the_command_holds_the_status_to_the_credential(
    past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, policy, credential = tmp_path / "status.json", tmp_path / "policy", tmp_path / "credential.sd-jwt"
    now = past.kept(NOW)
    file.write_bytes(replace(now, evidence=replace(now.evidence, then=None)).to_json())
    policy.write_text(policy_text(SIGNER, 2, "all"))
    arguments = [str(file), str(credential), "--registry-key", TRUST_KEY.key_id, "--log-policy", str(policy)]
    credential.write_text(past.world.issue(status=OWN))
    assert status_command.verify_main(arguments) == 0
    assert f"\nplace {PLACE} of {LIST}, as the credential has it\n" in capsys.readouterr().out
    credential.write_text(past.world.issue(status=StatusReference(LIST, PLACE + 1)))
    assert status_command.verify_main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"STATUS_OF_ANOTHER: it is of place {PLACE} of {LIST}, and the credential has place 8")
    file.write_bytes(past.kept(AT - timedelta(days=900)).to_json())
    credential.write_text(past.world.issue(status=OWN))
    assert status_command.verify_main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("AT_BEFORE_ISSUANCE: ")
    assert "remedy: ask again, with an instant from then on" in said.err
    # That it is of another credential, and not only of before this one, is what helps.
    credential.write_text(past.world.issue(status=StatusReference(LIST, PLACE + 1)))
    assert status_command.verify_main(arguments) == 1
    assert capsys.readouterr().err.startswith("STATUS_OF_ANOTHER: ")


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


def test_the_command_that_asks_writes_over_no_file(
    past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_arguments: Any) -> PastStatus:
        return past.kept()

    monkeypatch.setattr(status_command, "_ask", asked)
    credential, out, policy = tmp_path / "credential.sd-jwt", tmp_path / "status.json", tmp_path / "policy"
    credential.write_text(past.world.issue(status=OWN))
    policy.write_text(policy_text(SIGNER, 2, "all"))
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--registry-key", TRUST_KEY.key_id]
    arguments = [*where, "--log-policy", str(policy), "--out", str(out), str(credential)]
    assert [status_command.main(arguments), status_command.main(arguments)] == [0, 0], "the same again"
    assert out.read_bytes() == past.kept().to_json()
    out.write_bytes(b"of another instant")
    capsys.readouterr()
    assert status_command.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"FILE_EXISTS: {out} is there already")
    assert "; field: --out; rule: " in shown.err
    assert (shown.out, out.read_bytes()) == ("", b"of another instant")


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        (["--trust-list", "https://registry.example"], "--trust-list"),
        (["--trust-list", "http://127.0.0.1:1/list"], "--trust-list"),
        (["--ledger-ca", "nowhere.pem"], "--ledger-ca"),
        ([], "CREDENTIAL_FILE"),
    ],
    ids=["no path", "nobody there", "no authority", "no credential"],
)
def test_the_command_that_asks_names_the_argument_at_fault(
    past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], argument: str
) -> None:
    credential = tmp_path / "credential.sd-jwt"
    credential.write_text(past.world.issue() if changes else "hello")
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--registry-key", TRUST_KEY.key_id]
    assert status_command.main([*where, *changes, str(credential)]) == 2
    assert f"; field: {argument}; rule: " in capsys.readouterr().err


def test_before_its_issuance_a_credential_had_no_status(
    past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    credential = tmp_path / "credential.sd-jwt"
    credential.write_text(past.world.issue())
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--registry-key", TRUST_KEY.key_id]
    assert status_command.main([*where, "--at", "2020-01-01T00:00:00Z", str(credential)]) == 2
    assert capsys.readouterr().err.startswith("AT_BEFORE_ISSUANCE: ")


@pytest.mark.parametrize(("ahead", "differs"), [(timedelta(seconds=50), False), (timedelta(minutes=3), True)])
async def test_the_present_is_the_ledgers_as_far_as_clocks_agree(
    past: Past, monkeypatch: pytest.MonkeyPatch, ahead: timedelta, differs: bool
) -> None:
    """The file has the instants that the ledger answered for, so that its lists are held to those."""

    async def fetched(*_arguments: Any) -> tuple[str, None, bytes]:
        return past.kept().statement, None, past.kept().facts

    async def answered(*_arguments: Any, **_instants: Any) -> AskedStatus:
        return AskedStatus(past.kept(NOW).evidence, NOW, NOW)

    monkeypatch.setattr(status_command, "fetch_list", fetched)
    monkeypatch.setattr(status_command, "ask_status", answered)
    asked = Namespace(
        trust_list="http://127.0.0.1:1/list",
        registry_key=TRUST_KEY.key_id,
        registry_uri=REGISTRY,
        ledger="127.0.0.1:1",
        ledger_ca=None,
        ledger_certificate=None,
    )
    credential = presented.read(past.world.issue()).credential
    asking = status_command._ask(asked, credential, None, None, ManualClock(NOW + ahead))
    if differs:
        with pytest.raises(FailedPrecondition, match=r"CLOCKS_DIFFER.*name the instant by --known-at"):
            await asking
    else:
        assert (await asking).known_at == NOW
