"""A bundle is verified without a network, and says what was true at its instant; what was done to it shows."""

from __future__ import annotations

import errno
import io
import shlex
import socket
import subprocess
import sys
import tomllib
import zipfile
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.verifier import collect as collect_command
from services.verifier import presented, verify_command
from services.verifier.bundle_file import Bundle
from services.verifier.collect import collect
from services.verifier.offline import verify_bundle
from services.verifier.verdict import name_of
from tests.unit.accreditation_samples import UCL
from tests.unit.log_samples import SampleLog, cosigner, policy_text
from tests.unit.test_trust_anchors import STRANGERS, TRUSTED, issued
from tests.unit.verifier_world import CHECKPOINT_KEY, LIST, NOW, ORIGIN, PROVIDER_KEY, REGISTRY, TRUST_KEY, World
from vitne.accreditation import leaf_of
from vitne.accreditation.trust_list import FactsReference, render, sign_statement
from vitne.audit.status_evidence import ProvenLeaf, StatusEvidence
from vitne.canonical import from_b64url, sha256
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.dev.no_network import without_network
from vitne.errors import InvalidArgument, VitneError
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.leaves import Issued, ListPublished, StatusChanged
from vitne.merkle.notes import NoteKey, NoteSigner
from vitne.merkle.policy import Policy
from vitne.merkle.tlog_proof import LogProof
from vitne.runtime.arguments import interpreter
from vitne.runtime.fetch import Fetched
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2

ROOT = Path(__file__).resolve().parents[2]
PLACE = 7
SIGNER = NoteSigner(NoteKey(ORIGIN, from_b64url(CHECKPOINT_KEY.public_jwk["x"])), CHECKPOINT_KEY.sign)
POLICY = Policy.parse(policy_text(SIGNER, 2, "all"))


class Maker:
    """Makes bundles of one world."""

    def __init__(self) -> None:
        self.world = World(catalogue=False)
        self.credential = self.world.issue()
        self.log = SampleLog(SIGNER)
        self.witnessed = NOW - timedelta(seconds=5)
        self.changes: list[StatusChanged] = []

    def make(self) -> Bundle:
        token = self.world.publisher.token()
        issued = Issued(from_b64url(presented.read(self.credential).digest))
        changes = [change.to_bytes() for change in self.changes]
        reflected = len(changes) + 1 if any(self.world.publisher.statuses) else 1
        listed = ListPublished(LIST, 1, sha256(token.encode()), reflected).to_bytes()
        registry = [leaf.to_bytes() for fact in self.world.chronicle.facts if (leaf := leaf_of(fact)) is not None]
        log = self.log = SampleLog(SIGNER).append([issued.to_bytes(), *changes, listed, *registry])
        note = log.note(None, cosigner(0), cosigner(1), at=self.witnessed)
        leaves = [
            ProvenLeaf(record, log.proof(index, note).text())
            for index, record in enumerate([*changes, listed], start=1)
        ]
        facts = b"".join(
            render(fact)
            for fact in self.world.chronicle.facts
            if fact.WhichOneof("content") not in ("achievement", "qualification")
        )
        reference = FactsReference.of("trust-list/facts/1", facts)
        statement = sign_statement(
            reference, len(self.world.chronicle.facts), issuer=REGISTRY, at=NOW - timedelta(seconds=2), signer=TRUST_KEY
        )
        status = StatusEvidence(LIST, PLACE, token, leaves[-1], leaves[:-1])
        proofs = {leaf_hash(entry).hex(): log.proof(index, note).text() for index, entry in enumerate(log.entries)}
        return Bundle(NOW, self.credential, statement, facts, proofs, status)


@pytest.fixture
def maker() -> Maker:
    return Maker()


async def verdict(bundle: Bundle, policy: Policy | None = POLICY, anchors: TrustAnchors | None = None) -> str:
    again = Bundle.from_zip(bundle.to_zip())
    assert again == bundle
    found = await verify_bundle(
        again,
        registry_key=TRUST_KEY.key_id,
        registry_uri=REGISTRY,
        log_origin=ORIGIN,
        policy=policy,
        anchors=anchors,
    )
    return name_of(found.verdict)


async def test_a_bundle_says_what_was_true_at_its_instant(maker: Maker) -> None:
    bundle = maker.make()
    assert await verdict(bundle) == "valid"
    assert await verdict(bundle, None) == "valid"  # by the log's own word
    assert bundle.to_zip() == bundle.to_zip()


@pytest.mark.parametrize("form", ["edc", "vc+jwt"])
async def test_certificates_in_a_bundle_of_any_format_lead_to_the_anchors(maker: Maker, form: str) -> None:
    maker.credential = issued(maker.world, form)
    bundle = maker.make()
    assert await verdict(bundle) == "valid"
    assert await verdict(bundle, anchors=TRUSTED) == "valid"
    assert await verdict(bundle, anchors=STRANGERS) == "invalid"


class Published:
    """At the boundary: what the ledger answers and the registry publishes, from a bundle of the same world."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    async def GetInclusionProof(self, request: Any, timeout: float) -> Any:  # noqa: N802
        proof = LogProof.parse(self._bundle.proofs[request.leaf_hash.hex()])
        return ledger_pb2.GetInclusionProofResponse(
            leaf_index=proof.index, path=proof.path, checkpoint=proof.checkpoint
        )

    async def StatusAt(self, request: Any, timeout: float) -> Any:  # noqa: N802
        status = self._bundle.status
        assert (request.list, request.index) == (status.list_url, status.index)
        leaf = ledger_pb2.ProvenLeaf(record=status.list_leaf.record, proof=status.list_leaf.proof)
        return ledger_pb2.StatusAtResponse(list_token=status.token, list_leaf=leaf)

    async def fetch(self, url: str, *, accept: str = "", max_bytes: int | None = None) -> Fetched:
        body = self._bundle.facts if "/facts/" in url else self._bundle.statement.encode()
        return Fetched(url, body, "", "")


@pytest.mark.parametrize("form", ["edc", "elmo", "vc+jwt"])
async def test_a_bundle_is_collected_for_a_credential_of_any_format(maker: Maker, form: str) -> None:
    maker.credential = issued(maker.world, form)
    published = Published(maker.make())
    bundle = await collect(
        maker.credential,
        stub=published,
        fetcher=published,
        trust_list="https://registry.vitne.example/v1/trust-list",
        registry_key=TRUST_KEY.key_id,
        registry_uri=REGISTRY,
        log_origin=ORIGIN,
        own_policy=POLICY,
        clock=maker.world.clock,
    )
    assert await verdict(bundle) == "valid"


async def test_a_revocation_that_the_list_has_not_yet_counts(maker: Maker) -> None:
    maker.changes = [StatusChanged(LIST, PLACE, "revoked", NOW, NOW)]
    assert await verdict(maker.make()) == "revoked"
    maker.world.publisher.statuses[PLACE] = 1
    bundle = maker.make()
    assert await verdict(bundle) == "revoked"
    # Held back, it is missed: the list says what no change explains.
    silent = replace(bundle, status=replace(bundle.status, changes=[]))
    assert await verdict(silent) == "not_determinable"


async def test_the_status_of_another_place_hides_no_revocation(maker: Maker) -> None:
    """The list that both places are in may be of before the revocation: what is known of another says nothing of it."""
    maker.changes = [StatusChanged(LIST, PLACE, "revoked", NOW, NOW)]
    bundle = maker.make()
    other = replace(bundle, status=replace(bundle.status, index=PLACE + 1, changes=[]))
    assert await verdict(other) == "not_determinable"


async def test_an_instant_that_was_moved_later_shows_by_the_lists_date(maker: Maker) -> None:
    """Within the list's life the instant is the word of whoever made the bundle: the list's date is not."""
    bundle = maker.make()
    for moved in (bundle, replace(bundle, at=NOW + timedelta(seconds=50))):
        found = await verify_bundle(
            moved, registry_key=TRUST_KEY.key_id, registry_uri=REGISTRY, log_origin=ORIGIN, policy=POLICY
        )
        assert ", by the status list of 2026-11-21T10:00:00Z: " in found.headline


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_an_instant_at_the_end_of_time_is_refused(maker: Maker, at: str) -> None:
    assert await verdict(replace(maker.make(), at=datetime.fromisoformat(at))) in ("invalid", "not_determinable")


def test_a_bundle_whose_bytes_were_damaged_is_none(maker: Maker) -> None:
    whole = maker.make().to_zip()
    for place in range(30, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        with suppress(VitneError):
            Bundle.from_zip(bytes(damaged))


async def test_witnesses_tell_what_is_older_than_a_compromise(maker: Maker) -> None:
    since = NOW - timedelta(seconds=4)
    maker.world.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL, revision=2, compromised_from=since)
    assert await verdict(maker.make()) == "valid_with_notes"
    assert await verdict(maker.make(), None) == "not_determinable", "by the log's own word nobody knows when"
    maker.witnessed = NOW - timedelta(seconds=3)
    assert await verdict(maker.make()) == "not_determinable"


async def test_what_was_done_to_a_bundle_shows(maker: Maker) -> None:
    bundle = maker.make()
    other = Maker().make()
    assert await verdict(replace(bundle, proofs=other.proofs)) == "not_determinable"
    assert await verdict(replace(bundle, credential=bundle.credential[:-9] + "AAAAAAAA~")) == "invalid"
    assert await verdict(replace(bundle, status=replace(bundle.status, list_url="https://other.example/1"))) != "valid"
    assert await verdict(replace(bundle, status=replace(bundle.status, token="x"))) == "not_determinable"
    for later in (replace(bundle, at=NOW + timedelta(hours=1)), replace(bundle, facts=bundle.facts + b"\n")):
        assert await verdict(later) == "not_determinable"
        assert await verdict(later, None) == "not_determinable"


async def test_what_witnesses_saw_years_later_was_dated_back(maker: Maker) -> None:
    maker.witnessed = NOW + timedelta(days=700)
    bundle = maker.make()
    assert await verdict(bundle) == "not_determinable"
    assert await verdict(bundle, Policy.parse(policy_text(SIGNER, 3, "all"))) == "not_determinable"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bundle_that_is_compressed_in_another_way_is_none(maker: Maker, method: int) -> None:
    data, made = maker.make().to_zip(), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(made, "w", method) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    with pytest.raises(InvalidArgument, match="BAD_BUNDLE"):
        Bundle.from_zip(made.getvalue())


@pytest.mark.parametrize("spoil", ["missing", "further", "large", "version", "binary", "none"])
def test_what_is_no_bundle_is_refused(maker: Maker, spoil: str) -> None:
    data = maker.make().to_zip()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    match spoil:
        case "missing":
            del files["status.json"]
        case "further":
            files["README"] = b""
        case "large":
            files["bundle.json"] = b" " * 5000
        case "version":
            files["bundle.json"] = files["bundle.json"].replace(b"1}", b"2}")
        case "binary":
            files["credential.sd-jwt"] = b"\xff"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(InvalidArgument, match="BAD_BUNDLE"):
        Bundle.from_zip(b"PK" if spoil == "none" else made.getvalue())


def test_the_command(maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, policy = tmp_path / "bundle.zip", tmp_path / "policy"
    file.write_bytes(maker.make().to_zip())
    policy.write_text(policy_text(SIGNER, 2, "all"))
    arguments = [str(file), "--registry-key", TRUST_KEY.key_id, "--log-policy", str(policy)]
    assert verify_command.main(arguments) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "Valid, as at 2026-11-21T10:00:00Z, by the status list of 2026-11-21T10:00:00Z: “Klimaregnskaber”, issued by "
    )
    assert "as at 2026-11-21T10:00:00Z, seen by the policy's witnesses" in output
    bundle = maker.make()
    file.write_bytes(replace(bundle, credential=bundle.credential[:-9] + "AAAAAAAA~").to_zip())
    assert verify_command.main(arguments) == 1
    assert capsys.readouterr().out.startswith("Invalid, as at 2026-11-21T10:00:00Z: ")
    file.write_bytes(bundle.to_zip())
    other = [str(file), "--registry-key", PROVIDER_KEY.key_id]
    assert verify_command.main([*other, "--log-policy", str(policy)]) == verify_command.main(other) == 1
    told = capsys.readouterr().out
    assert told.startswith("Not determinable, as at 2026-11-21T10:00:00Z: the bundle's trust list was not taken: ")
    assert f"it is not signed with the key that was given, {PROVIDER_KEY.key_id}; compare that thumbprint " in told
    assert "witnesses" not in told
    assert verify_command.main([*arguments, "--trust-anchors", str(policy)]) == 2
    assert "BAD_TRUST_ANCHORS" in capsys.readouterr().err
    file.write_bytes(b"PK")
    assert verify_command.main(arguments) == 2
    assert "BAD_BUNDLE" in capsys.readouterr().err


#: What a process finds of a network: the number of the error with which it does not reach a port that is listened to.
REACH = "import socket, sys; print(socket.socket().connect_ex(('127.0.0.1', int(sys.argv[1]))))"


def test_vitne_verify_needs_no_network(maker: Maker, tmp_path: Path) -> None:
    """As it is installed, on a machine that has none: not even loopback is up in the namespace that it runs in."""
    before = without_network()
    if not before:
        pytest.skip("this kernel, or this container, permits no network namespace (unshare --net)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = [sys.executable, "-c", REACH, str(server.getsockname()[1])]
        errors = [subprocess.run([*way, *reach], capture_output=True, check=True).stdout for way in ((), before)]
    assert [int(error) for error in errors] == [0, errno.ENETUNREACH]

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["vitne-verify"].partition(":")
    program = [*before, sys.executable, "-c", f"from {module} import {function}; {function}()"]
    file, policy = tmp_path / "bundle.zip", tmp_path / "policy"
    policy.write_text(policy_text(SIGNER, 2, "all"))
    bundle = maker.make()
    spoiled = replace(bundle, credential=bundle.credential[:-9] + "AAAAAAAA~")
    for given, code, says in ((bundle, 0, "Valid, as at "), (spoiled, 1, "Invalid, as at ")):
        file.write_bytes(given.to_zip())
        own = [str(file), "--registry-key", TRUST_KEY.key_id, "--log-policy", str(policy)]
        done = subprocess.run([*program, *own], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code, "")
        assert done.stdout.startswith(says)


@pytest.mark.parametrize("argument", ["BUNDLE_FILE", "--log-policy", "--trust-anchors"])
def test_the_command_says_which_file_cannot_be_read_and_why(
    maker: Maker, argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bundle.zip"
    file.write_bytes(maker.make().to_zip())
    key = ["--registry-key", TRUST_KEY.key_id]
    for nowhere, why in ((tmp_path / "nowhere", "No such file or directory"), (tmp_path, "Is a directory")):
        named = [str(nowhere)] if argument == "BUNDLE_FILE" else [str(file), argument, str(nowhere)]
        assert verify_command.main([*key, *named]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"FILE_UNREADABLE: {nowhere} can't be read: {why}; field: {argument}; rule: ")
        assert "remedy: " in shown.err


def test_the_command_says_what_it_wrote_and_what_to_do_next(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def collected(*_arguments: Any) -> Bundle:
        return maker.make()

    monkeypatch.setattr(collect_command, "_collect", collected)
    credential, policy, out = tmp_path / "credential.sd-jwt", tmp_path / "a policy", tmp_path / "bundle.zip"
    credential.write_text("presented")
    policy.write_text(policy_text(SIGNER, 2, "all"))
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--out", str(out)]
    keys = ["--registry-key", TRUST_KEY.key_id, "--log-policy", str(policy), "--log-origin", ORIGIN]
    assert collect_command.main([*where, *keys, str(credential)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    told, following, _ = shown.err.split("\n")
    assert told.startswith(
        f"{out}: {out.stat().st_size} bytes, as at 2026-11-21T10:00:00Z. To verify it takes no network"
    )
    command, named = shlex.split(following), "verify-bundle"
    assert command[: command.index(named)] == [interpreter(), "-m", "services.verifier"]
    assert verify_command.main(command[command.index(named) + 1 :]) == 0
    assert "seen by the policy's witnesses" in capsys.readouterr().out


def test_what_a_bundle_lacks_is_told_when_it_is_collected(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is kept, but years later nobody could collect what it lacks."""

    async def collected(*_arguments: Any) -> Bundle:
        return maker.make()

    monkeypatch.setattr(collect_command, "_collect", collected)
    credential, policy, out = tmp_path / "credential.sd-jwt", tmp_path / "policy", tmp_path / "bundle.zip"
    credential.write_text("presented")
    policy.write_text(policy_text(SIGNER, 3, "all"))
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--out", str(out)]
    keys = ["--registry-key", TRUST_KEY.key_id, "--log-policy", str(policy)]
    assert collect_command.main([*where, *keys, str(credential)]) == 1
    said = capsys.readouterr().err
    assert "\nAs it is, that will say:\nNot determinable" in said
    assert "cosigned" in said, said
    assert verify_command.main([str(out), *keys]) == 1


def test_the_command_writes_over_no_file(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle of before may be all that proves what was then."""
    bundles = [maker.make()]

    async def collected(*_arguments: Any) -> Bundle:
        return bundles[-1]

    monkeypatch.setattr(collect_command, "_collect", collected)
    credential, out = tmp_path / "credential.sd-jwt", tmp_path / "bundle.zip"
    credential.write_text("presented")
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--out", str(out)]
    arguments = [*where, "--registry-key", TRUST_KEY.key_id, str(credential)]
    assert [collect_command.main(arguments), collect_command.main(arguments)] == [0, 0], "the same again"
    before = out.read_bytes()
    capsys.readouterr()
    bundles.append(replace(bundles[0], credential=f"{bundles[0].credential}A~"))
    assert collect_command.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"FILE_EXISTS: {out} is there already, and holds something else")
    assert "; field: --out; rule: " in shown.err
    assert "; remedy: name a file that is not there yet" in shown.err
    assert "To verify it" not in shown.err
    assert out.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {credential.name, out.name}


def test_the_command_says_where_it_cannot_write_what_it_collected(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def collected(*_arguments: Any) -> Bundle:
        return maker.make()

    monkeypatch.setattr(collect_command, "_collect", collected)
    credential = tmp_path / "credential.sd-jwt"
    credential.write_text("presented")
    nowhere = tmp_path / "nowhere" / "bundle.zip"
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--out", str(nowhere)]
    assert collect_command.main([*where, "--registry-key", TRUST_KEY.key_id, str(credential)]) == 2
    told = capsys.readouterr().err
    why = "No such file or directory"
    assert told.startswith(f"FILE_UNWRITABLE: {nowhere} can't be written: {why}; field: --out; rule: ")
    assert not nowhere.parent.exists()
