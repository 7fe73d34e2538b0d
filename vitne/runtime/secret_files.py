"""Symmetric keys of an installation, in files that nobody else on the machine can read.

All replicas of a service need the same files. What each is for, and what its loss means, the service says.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from vitne.errors import FailedPrecondition

#: Bytes of every such key: AES-256, HMAC-SHA-256.
SECRET_BYTES: Final = 32
#: User id of root.
_ROOT: Final = 0
_BY_OTHERS: Final = stat.S_IRWXO
_BY_GROUP: Final = stat.S_IRWXG
_WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def read_secret(folder: Path, name: str, *, create: bool) -> bytes:
    """A key file's 32 bytes.

    Args:
        folder: the service's own folder.
        name: of the file.
        create: make the file when it is missing. Never in production: a replica that
            starts with keys of its own would write what no other can read.

    Raises:
        FailedPrecondition: ``SECRET_MISSING``, ``SECRET_EXPOSED`` (see :func:`is_exposed`), ``SECRET_MALFORMED``.
    """
    path = folder / name
    if create and not path.exists():
        _create(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FailedPrecondition(
            "SECRET_MISSING",
            f"the key file {name} is missing",
            rule="all replicas have the same key files",
            remedy="provide the installation's key file",
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        # Of what was opened, not of what stands at the path by now.
        found = os.fstat(file.fileno())
        if is_exposed(found.st_mode, owner=found.st_uid, user=os.geteuid()):
            raise FailedPrecondition(
                "SECRET_EXPOSED",
                f"others than its owner may read the key file {name}",
                rule="mode 0600 or 0400; or 0440, of root, where the process is another user",
                remedy="chmod 0600",
            )
        secret = file.read(SECRET_BYTES + 1)
    if len(secret) != SECRET_BYTES:
        raise FailedPrecondition(
            "SECRET_MALFORMED",
            f"the key file {name} does not hold {SECRET_BYTES} bytes",
            remedy="restore the file from where the installation keeps its keys",
        )
    return secret


def is_exposed(mode: int, *, owner: int, user: int) -> bool:
    """Whether others than its owner may read or write a file.

    One exception: a Secret that Kubernetes mounts for a process that is not root belongs to root, and its group is
    how that process reads it (``fsGroup``), inside a mount that is the pod's own. So a file of root's that nobody may
    write, 0440, is let through, unless the process is root itself, who needs no group.

    Args:
        mode: of the file, as ``stat`` says.
        owner: user id of its owner.
        user: user id of this process.
    """
    if mode & _BY_OTHERS:
        return True
    if not mode & _BY_GROUP:
        return False
    return bool(owner != _ROOT or user == _ROOT or mode & _WRITABLE or mode & stat.S_IXGRP)


def _create(path: Path) -> None:
    """Write a fresh key, whole or not at all; the first of several processes wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)  # unlike a rename, this does not replace another process's file
        except FileExistsError:
            return
    finally:
        scratch.unlink()
    _flush(path.parent)


def _flush(folder: Path) -> None:
    """Make the file's name outlive a crash, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
