"""Witnesses by C2SP tlog-cosignature, tlog-policy and tlog-witness: what is cosigned, and what a quorum is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.log_samples import ORIGIN, T0, SampleLog, cosigner, note_signer, policy_text
from vitne.errors import Aborted, DataLoss, InvalidArgument, NotFound, PermissionDenied, VitneError
from vitne.merkle.cosignatures import CosignerKey, cosign, cosignatures
from vitne.merkle.hashing import EMPTY_ROOT
from vitne.merkle.memory import advance
from vitne.merkle.notes import Checkpoint, NoteKey, NoteSigner, keep_signatures, sign_checkpoint
from vitne.merkle.policy import Policy
from vitne.merkle.succession import Lineage, Succession, state_succession
from vitne.merkle.witnessing import SIZE, AddCheckpoint, Inconsistent, cosignatures_of, examine

LOG = SampleLog().append(b"%d" % number for number in range(300))
FORK = SampleLog().append(b"%d" % (number if number != 5 else 0) for number in range(300))
KEYS = [note_signer().key]
W0, W1, W2 = (cosigner(number) for number in range(3))


def request(old: int, new: int, log: SampleLog = LOG) -> AddCheckpoint:
    return AddCheckpoint(old, log.consistency(old, new) if old else (), log.note(new))


def test_a_cosignature_says_who_and_when() -> None:
    note = LOG.note(None, W0) + cosign(LOG.checkpoint().text(), W1, T0 + timedelta(seconds=9, milliseconds=700))
    assert cosignatures(note, [W0.key, W1.key, W2.key]) == {W0.key: T0, W1.key: T0 + timedelta(seconds=9)}


def test_a_cosigners_key_is_no_notes_key() -> None:
    assert CosignerKey.parse(W0.key.text) == W0.key
    for other in (NoteKey, CosignerKey):
        with pytest.raises(InvalidArgument, match="BAD_NOTE_KEY"):
            other.parse((KEYS[0] if other is CosignerKey else W0.key).text)


def test_a_cosignature_is_of_one_checkpoint_at_one_time() -> None:
    line = cosign(LOG.checkpoint(200).text(), W0, T0)
    with pytest.raises(InvalidArgument, match="BAD_COSIGNATURE"):
        cosignatures(LOG.note(201) + line, [W0.key])
    assert cosignatures(LOG.note(201) + line, [W1.key]) == {}


NESTED = f"""
# two organisations
log {KEYS[0].text} https://log.example/
witness X1 {W0.key.text} https://w0.example/
witness\tX2 {W1.key.text}
witness Y1 {W2.key.text}
group X any X1 X2
group both all X Y1
quorum both
"""


def test_a_quorum_of_groups() -> None:
    policy = Policy.parse(NESTED)
    assert policy.urls == {ORIGIN: "https://log.example/", W0.key.name: "https://w0.example/"}
    late = T0 + timedelta(minutes=1)
    note = LOG.note(None, W1) + cosign(LOG.checkpoint().text(), W2, late)
    found = policy.open(note)
    assert (found.checkpoint, found.seen) == (LOG.checkpoint(), late)
    assert found.cosigned == {"X2": T0, "Y1": late}
    for lacking in (LOG.note(None, W0, W1), LOG.note(None, W2), LOG.note()):
        with pytest.raises(PermissionDenied, match="QUORUM_MISSING"):
            policy.open(lacking)


def test_the_time_of_a_quorum_is_that_of_its_last_witness() -> None:
    text = LOG.checkpoint().text()
    lines = [cosign(text, each, T0 + timedelta(seconds=at)) for each, at in ((W0, 30), (W1, 10), (W2, 20))]
    policy = Policy.parse(policy_text(note_signer(), 3, "2"))
    assert policy.open(LOG.note() + "".join(lines)).seen == T0 + timedelta(seconds=20)


def test_without_witnesses_the_logs_word_counts() -> None:
    assert Policy.parse(policy_text(note_signer(), 0, "")).open(LOG.note()).seen is None
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        Policy.of_log(note_signer(2).key).open(LOG.note())


def test_octets_that_are_not_utf_8_are_opaque() -> None:
    """C2SP tlog-policy, Character set: allowed in comments and names, and different ones are different names."""
    data = b"# Bed\xf8mt av to\n" + NESTED.encode().replace(b"X1", b"\xd8st").replace(b"X2", b"\xc5st")
    policy = Policy.read(data)
    assert (policy.logs, list(policy.witnesses.values())) == ([KEYS[0]], [W0.key, W1.key, W2.key])
    assert len(policy.witnesses) == 3
    lines = [cosign(LOG.checkpoint().text(), each, T0) for each in (W0, W2)]
    assert all(name.isprintable() for name in policy.open(LOG.note() + "".join(lines)).cosigned)
    with pytest.raises(InvalidArgument, match=r"BAD_LOG_POLICY.*not defined"):
        Policy.read(data.replace(b"group X any \xd8st", b"group X any \xd8sten"))


def test_a_logs_key_speaks_for_its_own_origin() -> None:
    signer = note_signer(1, "log.vitne.example/2027")
    forged = sign_checkpoint(Checkpoint(signer.key.name, 0, EMPTY_ROOT), signer).replace("/2027\n0", "/2026\n0")
    with pytest.raises(InvalidArgument, match="BAD_NOTE_SIGNATURE"):
        Policy.of_log(signer.key).open(forged)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum none\nquorum none",
        "quorum w0",
        f"witness none {W0.key.text}\nquorum none",
        f"witness a {W0.key.text}\nwitness b {W0.key.text}\nquorum a",
        f"witness a {W0.key.text}\nwitness a {W1.key.text}\nquorum a",
        f"witness a {W0.key.text}\ngroup g 2 a\nquorum g",
        f"witness a {W0.key.text}\ngroup g 0 a\nquorum g",
        f"witness a {W0.key.text}\ngroup g 01 a\nquorum g",
        f"witness a {W0.key.text}\ngroup g all a a\nquorum g",
        f"witness a {W0.key.text}\ngroup g all a\ngroup h all a g\nquorum h",
        f"group g all a\nwitness a {W0.key.text}\nquorum g",
        f"witness a {W0.key.text}\ngroup g all\nquorum g",
        f"log {W0.key.text}\nquorum none",
        f"log {KEYS[0].text}\nlog {KEYS[0].text}\nquorum none",
        "quorum none\rlog",
        f"log a\ud800{KEYS[0].text}\nquorum none",
        "trust me\nquorum none",
        "# only a comment\n" * 600,
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"BAD_LOG_POLICY|BAD_NOTE_KEY"):
        Policy.parse(text)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 300), (1, 300), (255, 256), (256, 300), (300, 300)])
def test_a_witness_follows_a_log_that_grows(old: int, new: int) -> None:
    sent = request(old, new)
    assert AddCheckpoint.parse(sent.text().encode()) == sent
    assert examine(sent, KEYS, LOG.note(old) if old else None) == LOG.checkpoint(new)


@pytest.mark.parametrize(
    ("sent", "last", "kind", "reason"),
    [
        (request(0, 100), 50, Aborted, "CHECKPOINT_SIZE_CONFLICT"),
        (request(50, 100), None, Aborted, "CHECKPOINT_SIZE_CONFLICT"),
        (request(50, 100), 60, Aborted, "CHECKPOINT_SIZE_CONFLICT"),
        (AddCheckpoint(200, (), LOG.note(100)), 200, InvalidArgument, "BAD_WITNESS_REQUEST"),
        (request(100, 300, FORK), 100, Inconsistent, "LOG_FORKED"),
        (AddCheckpoint(300, (), FORK.note(300)), 300, Inconsistent, "LOG_FORKED"),
        (AddCheckpoint(100, (), LOG.note(300)), 100, Inconsistent, "LOG_FORKED"),
        (AddCheckpoint(0, LOG.consistency(50, 100), LOG.note(100)), None, Inconsistent, "LOG_FORKED"),
        (AddCheckpoint(0, (), SampleLog(note_signer(1, "other.example")).note()), None, NotFound, "LOG_UNKNOWN"),
        (AddCheckpoint(0, (), SampleLog(note_signer(2)).note()), None, PermissionDenied, "CHECKPOINT_UNTRUSTED"),
    ],
)
def test_what_a_witness_refuses(sent: AddCheckpoint, last: int | None, kind: type[VitneError], reason: str) -> None:
    with pytest.raises(kind, match=reason) as refused:
        examine(sent, KEYS, None if last is None else LOG.note(last))
    if kind is Aborted:
        assert refused.value.metadata == {SIZE: str(last or 0)}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1\n",
        b"old 01\n\nx",
        b"new 1\n\nx",
        b"old 1\nAAAA\n\nx",
        b"\xff\n\n",
        b"old 1\n" + b"A\n" * 70 + b"\nx",
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_WITNESS_REQUEST"):
        AddCheckpoint.parse(body)


def test_an_answer_is_taken_from_the_witness_that_was_asked() -> None:
    note, text = LOG.note(), LOG.checkpoint().text()
    lines = [cosign(text, each, T0) for each in (W0, W1)]
    assert cosignatures_of("".join(lines), note, [W1.key]) == [lines[1]]
    with pytest.raises(InvalidArgument, match="COSIGNATURE_MISSING"):
        cosignatures_of(lines[0], note, [W1.key])
    with pytest.raises(InvalidArgument, match="BAD_COSIGNATURE"):
        cosignatures_of(cosign(FORK.checkpoint().text(), W1, T0), note, [W1.key])
    assert keep_signatures(note + lines[0], [KEYS[0]]) == note


def test_a_client_remembers() -> None:
    earlier, later = LOG.checkpoint(100), LOG.checkpoint(300)
    path = LOG.consistency(100, 300)
    assert advance(earlier, later, path) == later
    assert advance(later, earlier, path) == later  # it was on its way for longer
    assert advance(later, later, ()) == later
    for known, seen, proof in (
        (earlier, FORK.checkpoint(300), FORK.consistency(100, 300)),
        (later, FORK.checkpoint(300), ()),
        (FORK.checkpoint(300), earlier, path),
        (earlier, later, ()),
    ):
        with pytest.raises(DataLoss, match="LOG_FORKED"):
            advance(known, seen, proof)
    with pytest.raises(InvalidArgument, match="LOG_ORIGIN_UNKNOWN"):
        advance(earlier, SampleLog(note_signer(1, "other.example")).checkpoint(), ())


def test_a_witness_takes_a_logs_new_key_by_its_operator_and_the_statement_alone() -> None:
    old, new = note_signer(), note_signer(4)
    stated = state_succession(Succession(LOG.checkpoint(200), new.key, 0), old, new)
    lineage = Lineage.follow([old.key, new.key], [stated])

    def asked(*signers: NoteSigner) -> AddCheckpoint:
        note = sign_checkpoint(LOG.checkpoint(300), *signers)
        return AddCheckpoint(200, LOG.consistency(200, 300), note)

    both = [old.key, new.key]
    last = LOG.note(200)
    assert examine(asked(new), both, last, lineage) == LOG.checkpoint(300)
    assert examine(asked(old, new), [old.key], last) == LOG.checkpoint(300)  # while both sign
    for request_, keys, followed, reason in (
        (asked(new), [old.key], lineage, "CHECKPOINT_UNTRUSTED"),  # nobody gave it the key
        (asked(new), both, Lineage(()), "LOG_KEY_CHANGED"),  # nobody gave it the statement
        (asked(new), [new.key], lineage, "LOG_KEY_CHANGED"),  # it forgot the key of before
        (asked(old), both, lineage, "CHECKPOINT_UNTRUSTED"),  # its word ended
    ):
        with pytest.raises(PermissionDenied, match=reason):
            examine(request_, keys, last, followed)
