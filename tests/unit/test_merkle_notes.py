"""Signed notes and checkpoints: the specification's examples, and what is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vitne.canonical import sha256
from vitne.errors import InvalidArgument
from vitne.merkle.notes import (
    Checkpoint,
    NoteKey,
    NoteSigner,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
)

ORIGIN = "log.vitne.example/2026"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEY = NoteKey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
SIGNER = NoteSigner(KEY, PRIVATE.sign)
OTHER_SIGNER = NoteSigner(NoteKey("witness.example/w1", OTHER.public_key().public_bytes_raw()), OTHER.sign)
CHECKPOINT = Checkpoint(ORIGIN, 20852163, sha256(b"root"))
SIGNED = sign_checkpoint(CHECKPOINT, SIGNER)

# The example of C2SP signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def test_the_specifications_example_opens() -> None:
    key = NoteKey.parse(EXAMPLE_KEY)
    assert key.text == EXAMPLE_KEY
    assert open_note(EXAMPLE, [key]).text == "This is an example message.\n"


def test_a_checkpoint_comes_back() -> None:
    assert open_checkpoint(SIGNED, KEY) == CHECKPOINT
    assert open_checkpoint(SIGNED.encode(), KEY) == CHECKPOINT
    assert SIGNED.startswith(f"{ORIGIN}\n20852163\n{base64.b64encode(sha256(b'root')).decode()}\n\n— {ORIGIN} ")


def test_a_text_may_hold_empty_lines() -> None:
    text = "one\n\n— two\n\nthree\n"
    assert open_note(sign_note(text, [SIGNER]), [KEY]).text == text


def test_signatures_of_strangers_are_ignored_those_of_the_trusted_count() -> None:
    note = sign_note("text\n", [OTHER_SIGNER, SIGNER])
    assert open_note(note, [KEY]).signers == (KEY,)
    assert open_note(note, [KEY, OTHER_SIGNER.key]).signers == (OTHER_SIGNER.key, KEY)
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        open_note(note, [NoteKey("someone.example", KEY.public_key)])
    with pytest.raises(InvalidArgument, match="NOTE_UNTRUSTED"):
        open_note(note, [])


def test_a_trusted_keys_wrong_signature_fails_the_note_even_beside_a_right_one() -> None:
    liar = NoteSigner(OTHER_SIGNER.key, lambda _: b"\x00" * 64)
    with pytest.raises(InvalidArgument, match="BAD_NOTE_SIGNATURE"):
        open_note(sign_note("text\n", [SIGNER, liar]), [KEY, OTHER_SIGNER.key])


def test_a_changed_text_fails() -> None:
    with pytest.raises(InvalidArgument, match="BAD_NOTE_SIGNATURE"):
        open_checkpoint(SIGNED.replace("20852163", "20852164"), KEY)


@given(st.integers(0, len(SIGNED.encode()) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(at: int, flip: int) -> None:
    damaged = bytearray(SIGNED.encode())
    damaged[at] ^= flip
    with pytest.raises(InvalidArgument):
        open_checkpoint(bytes(damaged), KEY)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        SIGNED[:-1],
        SIGNED + "\n",
        SIGNED + "more\n",
        SIGNED.replace("— ", "- "),
        SIGNED.replace("\n", "\r\n"),
        SIGNED.replace("log.", "log\t."),
        SIGNED.replace("— log", "— l og"),
        SIGNED.replace("— log", "— l\u00a0og"),
        SIGNED.replace("— log", "— l+og"),
        SIGNED.replace("— log.vitne.example/2026 ", "— "),
        SIGNED.replace("=\n\n", "\n\n").rstrip("=\n") + "\n",
        "text\n\n— a AAAA\n",
        "text\n\n" + "— a AAAAAAA=\n" * 65,
        "t" * 200_000 + "\n\n— a AAAAAAA=\n",
        b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n",
        "\ud800\n\n— a AAAAAAA=\n",
    ],
)
def test_what_is_no_note_is_refused(note: str | bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_NOTE"):
        open_note(note, [KEY])


ROOT = base64.b64encode(sha256(b"root")).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n5\n",
        f"{ORIGIN}\n05\n{ROOT}\n",
        f"{ORIGIN}\n+5\n{ROOT}\n",
        f"{ORIGIN}\n-5\n{ROOT}\n",
        f"{ORIGIN}\n٥\n{ROOT}\n",
        f"{ORIGIN}\n{'9' * 30}\n{ROOT}\n",
        f"{ORIGIN}\n5\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n5\n{ROOT[:-4]}\n",
        f"{ORIGIN}\n5\n{ROOT[:-2]}9=\n",
        f"\n5\n{ROOT}\n",
        f"{ORIGIN}\n5\n{ROOT}\n\n",
        f"{ORIGIN}\n5\n{ROOT}",
        f"other.example/log\n5\n{ROOT}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused_though_signed(text: str) -> None:
    note = f"{text}\n— {ORIGIN} {base64.b64encode(KEY.key_id + PRIVATE.sign(text.encode())).decode()}\n"
    with pytest.raises(InvalidArgument, match=r"BAD_CHECKPOINT|BAD_NOTE"):
        open_checkpoint(note, KEY)


def test_extension_lines_are_allowed_and_ignored() -> None:
    assert open_checkpoint(sign_note(f"{ORIGIN}\n0\n{ROOT}\nextension\n", [SIGNER]), KEY).size == 0


@pytest.mark.parametrize(
    "key",
    [
        "",
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("530d903a", "530D903A"),
        EXAMPLE_KEY.replace("+Ae", "+Be"),
        EXAMPLE_KEY.replace("example.com/foo", "example.com foo"),
        EXAMPLE_KEY.replace("example.com/foo", "example.com/bar"),
        EXAMPLE_KEY[:-4],
        EXAMPLE_KEY + "=",
    ],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_NOTE_KEY"):
        NoteKey.parse(key)


def test_nothing_is_signed_that_could_not_be_opened() -> None:
    for text in ("", "no newline", "tab\t\n", "nul\0\n"):
        with pytest.raises(InvalidArgument, match="BAD_NOTE"):
            sign_note(text, [SIGNER])
    with pytest.raises(InvalidArgument, match="BAD_NOTE"):
        sign_note("text\n", [])
    with pytest.raises(InvalidArgument, match="BAD_NOTE"):
        sign_note("text\n", [NoteSigner(KEY, lambda _: b"short")])
    for checkpoint in (Checkpoint("", 0, bytes(32)), Checkpoint(ORIGIN, -1, bytes(32)), Checkpoint(ORIGIN, 0, b"")):
        with pytest.raises(InvalidArgument, match="BAD_CHECKPOINT"):
            checkpoint.text()
    with pytest.raises(InvalidArgument, match="BAD_CHECKPOINT"):
        sign_checkpoint(Checkpoint("other.example", 0, bytes(32)), SIGNER)
