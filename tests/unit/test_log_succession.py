"""Statements of succession: who is believed after them, and what contradicts them (docs/decisions/0021)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.log_samples import ORIGIN, SampleLog, note_signer
from vitne.canonical import b64url, sha256
from vitne.credentials.jose import thumbprint
from vitne.errors import DataLoss, InvalidArgument
from vitne.merkle.notes import Checkpoint, NoteSigner, sign_checkpoint, sign_note
from vitne.merkle.policy import Policy
from vitne.merkle.succession import Lineage, Succession, state_succession, succession_leaf

NEXT, AFTER = "log.vitne.example/2027", "log.vitne.example/2028"
FIRST, SECOND, THIRD = note_signer(1), note_signer(2, NEXT), note_signer(3, AFTER)
ROTATED = note_signer(4)
OLD = SampleLog(FIRST).append(b"%d" % number for number in range(300))
ENDED = OLD.checkpoint()


def stated(ended: Checkpoint, before: int, old: NoteSigner, new: NoteSigner) -> str:
    return state_succession(Succession(ended, new.key, before), old, new)


SECOND_END = Checkpoint(NEXT, 40, sha256(b"its root"))
CLOSES = stated(ENDED, 300, FIRST, SECOND)
CLOSES_NEXT = stated(SECOND_END, 340, SECOND, THIRD)
ROTATES = stated(OLD.checkpoint(200), 0, FIRST, ROTATED)


def test_a_statement_is_read_as_it_was_written() -> None:
    text = CLOSES.partition("\n\n")[0] + "\n"
    read = Succession.parse(text)
    assert (read.ended, read.key, read.before, read.closes) == (ENDED, SECOND.key, 300, True)
    assert read.text() == text
    assert text.splitlines()[0] == "vitne/log-succession/v1"
    assert not Succession.parse(ROTATES.partition("\n\n")[0] + "\n").closes


def test_the_leaf_names_the_new_key_and_the_statement() -> None:
    leaf = succession_leaf(CLOSES)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(SECOND.key.public_key)}
    assert b64url(leaf.thumbprint) == thumbprint(jwk)
    assert (leaf.revision, leaf.digest) == (1, sha256(CLOSES.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vitne/log-succession/v2\n" + CLOSES.partition("\n\n")[0].partition("\n")[2] + "\n",
        CLOSES.partition("\n\n")[0] + "\nmore\n",
        CLOSES.partition("\n\n")[0].replace(f"\n{NEXT}\n", f"\n{AFTER}\n") + "\n",
        CLOSES.partition("\n\n")[0].replace("\n300\n", "\n0300\n") + "\n",
        CLOSES.partition("\n\n")[0][:-3] + "-1\n",
    ],
)
def test_anything_else_is_no_statement(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Succession.parse(text)


def test_both_keys_sign_and_they_are_two() -> None:
    with pytest.raises(InvalidArgument, match="BAD_SUCCESSION"):
        stated(ENDED, 300, SECOND, FIRST)
    with pytest.raises(InvalidArgument, match="BAD_SUCCESSION"):
        state_succession(Succession(ENDED, SECOND.key, 300), FIRST, THIRD)
    with pytest.raises(InvalidArgument, match="BAD_SUCCESSION"):
        stated(ENDED, 300, FIRST, note_signer(1, NEXT))


def test_whoever_trusts_the_first_log_follows_to_the_last() -> None:
    lineage = Lineage.follow([FIRST.key], [CLOSES, CLOSES_NEXT])
    assert lineage.keys == (FIRST.key, SECOND.key, THIRD.key)
    assert lineage.before == {NEXT: 300, AFTER: 340}
    assert lineage.closed == {ORIGIN: ENDED, NEXT: SECOND_END}


def test_whoever_trusts_a_later_log_alone_learns_its_place_and_nothing_of_the_earlier() -> None:
    alone = Lineage((THIRD.key,), before={AFTER: 340}, statements=(CLOSES_NEXT,))
    assert Lineage.follow([THIRD.key], [CLOSES, CLOSES_NEXT]) == alone
    assert Lineage.follow([note_signer(9, "log.other.example/1").key], [CLOSES]).before == {}


def test_without_the_new_keys_signature_nobody_follows() -> None:
    text = CLOSES.partition("\n\n")[0] + "\n"
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        Lineage.follow([FIRST.key], [sign_note(text, [FIRST])])
    # The new key alone leads nobody away from the old log.
    alone = Lineage.follow([FIRST.key], [sign_note(text, [SECOND])])
    assert alone.keys == (FIRST.key,)
    forged = CLOSES.replace("— log.vitne.example/2026", "— log.vitne.example/2025")
    assert Lineage.follow([FIRST.key], [forged]).keys == (FIRST.key,)


def test_a_signature_that_does_not_verify_is_a_refusal() -> None:
    other = stated(replace(ENDED, root=sha256(b"another")), 300, FIRST, SECOND)
    spoiled = CLOSES.partition("\n\n")[0] + "\n\n" + other.partition("\n\n")[2]
    with pytest.raises(InvalidArgument, match="BAD_NOTE_SIGNATURE"):
        Lineage.follow([FIRST.key], [spoiled])


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param([CLOSES, stated(ENDED, 300, FIRST, THIRD)], id="two successors"),
        pytest.param([CLOSES, stated(OLD.checkpoint(299), 299, FIRST, SECOND)], id="two ends"),
        pytest.param([CLOSES, stated(SECOND_END, 341, SECOND, THIRD)], id="another place"),
        pytest.param([ROTATES, stated(ENDED, 300, FIRST, SECOND)], id="by a key whose word had ended"),
    ],
)
def test_statements_that_contradict_each_other_are_a_fork(statements: list[str]) -> None:
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        Lineage.follow([FIRST.key], statements)


def test_a_policy_follows_and_holds_a_closed_log_to_its_end() -> None:
    policy = Policy.of_log(FIRST.key)
    following = SampleLog(SECOND).append([b"first"])
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        policy.open(following.note())
    followed = policy.following([CLOSES])
    assert (followed.open(following.note()).before, followed.open(OLD.note(123)).before) == (300, 0)
    assert followed.open(OLD.note()).checkpoint == ENDED
    reopened = SampleLog(FIRST).append([*OLD.entries, b"more"])
    fork = SampleLog(FIRST).append(b"x%d" % number for number in range(300))
    for note in (reopened.note(), fork.note()):
        assert policy.open(note)
        with pytest.raises(InvalidArgument, match="LOG_KEY_ENDED"):
            followed.open(note)


def test_a_key_that_was_replaced_counts_no_further_than_its_end() -> None:
    policy = Policy.of_log(FIRST.key).following([ROTATES])
    assert policy.open(OLD.note(200)).log == FIRST.key
    with pytest.raises(InvalidArgument, match="LOG_KEY_ENDED"):
        policy.open(OLD.note(201))
    both = sign_checkpoint(OLD.checkpoint(250), FIRST, ROTATED)
    assert policy.open(both).log == ROTATED.key
    assert Policy.of_log(FIRST.key).open(both).log == FIRST.key  # whoever has the old key alone goes on meanwhile


@pytest.mark.parametrize("name", ["log.example/", "log.example/..", "log.example/.", "log.example/%2e", "a/2?7"])
def test_a_log_that_can_not_be_served_under_its_name_does_not_follow(name: str) -> None:
    with pytest.raises(InvalidArgument, match="last part") as refused:
        Succession.parse(Succession(ENDED, note_signer(2, name).key, 300).text())
    assert refused.value.field == "succession"
    assert refused.value.remedy


def test_two_logs_that_followed_have_not_got_one_name() -> None:
    again = note_signer(3, "log.other.example/2027")
    with pytest.raises(InvalidArgument, match="another log is called 2027"):
        Lineage.follow([FIRST.key], [CLOSES, stated(SECOND_END, 340, SECOND, again)])
