"""The issuer's own symmetric keys, in files that only its user can read.

Two of them: ``learner-wrapping.key`` wraps learners' data keys, ``index.key`` is the
key of the hashes that learners and requests are found by. All replicas need the same
files; losing the first loses every learner's data, so it is kept where keys are kept.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from services.issuer.crypto import KEY_BYTES
from vitne.errors import FailedPrecondition

#: Wraps learners' data keys.
WRAPPING_KEY: Final = "learner-wrapping.key"
#: Key of the keyed hashes.
INDEX_KEY: Final = "index.key"


def read_secret(folder: Path, name: str, *, create: bool) -> bytes:
    """A key file's 32 bytes.

    Args:
        folder: the service's own folder.
        name: of the file.
        create: make the file when it is missing. Never in production: a replica that
            starts with keys of its own would write what no other can read.

    Raises:
        FailedPrecondition: ``SECRET_MISSING``, ``SECRET_EXPOSED`` (others can read it), ``SECRET_MALFORMED``.
    """
    path = folder / name
    if create and not path.exists():
        _create(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FailedPrecondition(
            "SECRET_MISSING", f"the key file {name} is missing", remedy="provide the installation's key file"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise FailedPrecondition(
                "SECRET_EXPOSED", f"others than its owner may read the key file {name}", remedy="chmod 0600"
            )
        secret = file.read(KEY_BYTES + 1)
    if len(secret) != KEY_BYTES:
        raise FailedPrecondition("SECRET_MALFORMED", f"the key file {name} does not hold {KEY_BYTES} bytes")
    return secret


def _create(path: Path) -> None:
    """Write a fresh key, whole or not at all; the first of several processes wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)  # unlike a rename, this does not replace another process's file
        except FileExistsError:
            return
    finally:
        scratch.unlink()
