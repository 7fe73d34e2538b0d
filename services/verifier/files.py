"""Files that a command's arguments name: one that can't be read or written is told by argument, rule and remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final

from vitne.credentials.jose import strict_json
from vitne.errors import InvalidArgument, VitneError
from vitne.merkle.policy import Policy
from vitne.runtime.argument_files import told_of, unreadable
from vitne.runtime.arguments import interpreter, told_of_argument

#: What arguments are called that name a credential and a bundle.
CREDENTIAL_FILE: Final = "CREDENTIAL_FILE"
BUNDLE_FILE: Final = "BUNDLE_FILE"
#: What a file is called that the command ``status`` keeps.
STATUS_FILE: Final = "STATUS_FILE"
#: What a zip file begins with.
_ZIP: Final = b"PK"
#: What names stdin.
STDIN: Final = "-"


def read_argument(name: str, limit: int, argument: str) -> bytes:
    """What an argument names: a file, or stdin for ``-``. A byte beyond the limit is read: too long is told as that.

    Raises:
        InvalidArgument: ``FILE_UNREADABLE``.
    """
    try:
        if name == STDIN:
            return sys.stdin.buffer.read(limit + 1)
        with Path(name).open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise unreadable("stdin" if name == STDIN else name, argument, error) from error


class Kept(Enum):
    """Files that the verifier's commands keep: what each is, and which command reads it."""

    BUNDLE = "the zip file that the command collect makes", "verify-bundle"
    CHAIN = "the JSON file that the command gather prints", "bundle"
    STATUS = "the JSON file that the command status keeps", "verify-status"


def require_kind(data: bytes, kind: Kept, argument: str) -> None:
    """Say of a file that one of the other commands keeps which one reads it; of what is none of ours, nothing.

    Raises:
        InvalidArgument: ``OTHER_BUNDLE``.
    """
    other = _kind_of(data)
    if other in (None, kind):
        return
    what, command = other.value
    raise InvalidArgument(
        "OTHER_BUNDLE",
        f"this is {what}",
        field=argument,
        rule=kind.value[0],
        remedy=f"{interpreter()} -m services.verifier {command}",
    )


def _kind_of(data: bytes) -> Kept | None:
    if data.startswith(_ZIP):
        return Kept.BUNDLE
    try:
        members = strict_json(data)
    except VitneError:
        return None
    if not isinstance(members, dict):
        return None
    return Kept.STATUS if "known_at" in members else Kept.CHAIN if "accreditation" in members else None


@contextmanager
def told_of_credential() -> Iterator[None]:
    """Say of a credential that is refused which argument named it, and where in it that is, where the refusal says so.

    Raises:
        VitneError: as it comes, with ``CREDENTIAL_FILE`` in its field.
    """
    try:
        yield
    except VitneError as error:
        all_of_it = error.field in ("", "credential", "image")
        with told_of_argument(CREDENTIAL_FILE if all_of_it else f"{CREDENTIAL_FILE}, {error.field}"):
            raise


def read_policy(path: Path | None) -> Policy | None:
    """The policy that ``--log-policy`` names; None where it names none.

    Raises:
        InvalidArgument: ``FILE_UNREADABLE``, or as :meth:`Policy.read`.
    """
    if path is None:
        return None
    with told_of(path, "--log-policy"):
        return Policy.read(path.read_bytes())
