"""What the audit is told of a published log: where it is, what its checkpoints need, where what was seen is kept."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from vitne.credentials.jose import PublicKey, parse_public_jwk, strict_json
from vitne.errors import InvalidArgument, Unavailable, VitneError
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.published_log import Unanswered
from vitne.merkle.notes import NoteKey
from vitne.merkle.policy import Policy, decode_policy
from vitne.runtime.argument_files import read_file, told_of
from vitne.runtime.objects.folder import FolderObjects

#: What stands in the place of a key in policies that are to be filled in (deploy/k8s/overlays).
PLACEHOLDER: Final = "+REPLACE+ME"
#: Reasons by which what is served below an address is no log.
_NO_LOG: Final = ("LOG_UNREACHABLE", "BAD_NOTE")


@contextmanager
def prefix_named(option: str, url: str) -> Iterator[None]:
    """Say of what is no log where its address comes from, and how that is mended.

    Args:
        option: or variable, that holds it.
        url: the first log's prefix.

    Raises:
        Unavailable, InvalidArgument: as they come; ``LOG_UNREACHABLE`` and ``BAD_NOTE`` with option and address.
    """
    try:
        yield
    except (Unavailable, InvalidArgument) as error:
        if error.reason not in _NO_LOG:
            raise
        # Where nobody answers, it does not matter which file was asked for first.
        named = "" if isinstance(error, Unanswered) else error.field
        place = named if "://" in named else f"{url.rstrip('/')}/{named}".rstrip("/")
        raise type(error)(
            error.reason,
            f"{place}: {error.message}",
            field=option,
            rule="the first log's prefix, below which checkpoint and tile/ are served (C2SP tlog-tiles)",
            remedy=f"if the log is served elsewhere, give {option} that address (its operator publishes it); if it is "
            "served there, try again later, or ask its operator",
        ) from error


def log_address(text: str) -> str:
    """The type of an argument that is the first log's prefix; a usage error where nothing can be fetched from it."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # which is read only then
        served = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    except ValueError:
        served = False
    if not served:
        raise argparse.ArgumentTypeError(
            f"{text} is no address that can be fetched from; rule: http:// or https:// with host and path, the first "
            "log's prefix; remedy: give the address that the log's operator publishes; of a folder, serve it "
            "first: python -m http.server --directory FOLDER"
        )
    return text


def log_key(text: str) -> NoteKey:
    """The type of an argument that is a log's verifier key (C2SP signed-note), or a usage error."""
    try:
        return NoteKey.parse(text)
    except InvalidArgument as error:
        raise argparse.ArgumentTypeError(f"{error.message}; rule: {error.rule}; remedy: {error.remedy}") from error


def policy_of(file: Path) -> Policy:
    """The policy in the file of ``--policy``.

    Raises:
        InvalidArgument: as :func:`read_policy`; ``FILE_UNREADABLE``.
    """
    with told_of(file, "--policy"):
        return read_policy(file.read_bytes())


def read_policy(data: bytes) -> Policy:
    """A policy whose keys are filled in.

    Args:
        data: of a policy's file (C2SP tlog-policy).

    Raises:
        InvalidArgument: ``BAD_LOG_POLICY``, also where it still holds :data:`PLACEHOLDER`; ``BAD_NOTE_KEY``.
    """
    text = decode_policy(data)
    for number, line in enumerate(text.split("\n"), 1):
        if PLACEHOLDER in line and not line.lstrip().startswith("#"):
            raise InvalidArgument(
                "BAD_LOG_POLICY",
                f"keys are still to be filled in: line {number} says {PLACEHOLDER}",
                rule="a policy (C2SP tlog-policy) with the log's verifier key",
                remedy="fill in the keys that the log's operator and its witnesses publish",
            )
    return Policy.parse(text)


def remembered(file: Path | None, option: str) -> LogMemory:
    """What a file holds that is remembered of a log; nothing where it is not there yet.

    Args:
        file: of it; None: nothing is.
        option: or variable, that names it.

    Raises:
        InvalidArgument: ``FOLDER_MISSING``, ``LOG_MEMORY_UNREADABLE``, ``FILE_UNREADABLE``.
    """
    if file is None:
        return LogMemory()
    if not file.parent.is_dir():  # one that is misspelt is not made
        raise InvalidArgument(
            "FOLDER_MISSING",
            f"there is no folder {file.parent}",
            field=option,
            rule="a file in a folder that is there; the file itself is made",
            remedy="make the folder, or name a file elsewhere",
        )
    with told_of(file, option):
        return LogMemory.read(file)


def copy_in(folder: Path | None) -> FolderObjects | None:
    """Where the copy of ``--mirror`` is kept.

    Raises:
        InvalidArgument: ``FOLDER_MISSING``.
    """
    if folder is None:
        return None
    try:
        folder.mkdir(exist_ok=True)  # and no folder above it: that would be misspelt
    except OSError as error:
        raise InvalidArgument(
            "FOLDER_MISSING",
            f"{folder} is no folder, and can't be made: {error.strerror}",
            field="--mirror",
            rule="a folder that is there, or that can be made in one that is there",
            remedy="make the folder, or name another",
        ) from error
    return FolderObjects(folder)


def list_key(file: Path) -> PublicKey:
    """The public key in a file of ``--list-key``.

    Raises:
        InvalidArgument: ``BAD_LIST_KEY``; it can't be read.
    """
    data = read_file(file, "--list-key")
    try:
        return parse_public_jwk(strict_json(data))
    except VitneError as error:
        raise InvalidArgument(
            "BAD_LIST_KEY",
            f"{file} holds no public key: {error.message}",
            field="--list-key",
            rule="a public JWK (RFC 7517): a JSON object of one key",
            remedy="write one of the keys there that the registry shows of the operator, for status lists",
        ) from error
