"""Where private keys live, and how code asks for signatures without holding them.

:class:`KeyCustody` is the interface: file keys for development here, PKCS#11
and cloud services beside it later. A key is named by its JWK thumbprint; a
*label* is the name under which its owner finds it again, such as
``provider.0184:30859480.01930f6e-…`` or ``status-list``.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from vitne.credentials.jose import ED25519, ES256, LocalSigner, Signer
from vitne.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unavailable

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z", re.ASCII)
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z", re.ASCII)


class KeyCustody(Protocol):
    """Makes keys and signs with them; private parts never leave it."""

    def create(self, label: str, algorithm: str) -> Signer:
        """Make a new key under a label that is not taken.

        Raises:
            AlreadyExists: ``KEY_LABEL_TAKEN``.
            InvalidArgument: ``BAD_KEY_LABEL``, ``ALGORITHM_REFUSED``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        ...

    def ensure(self, label: str, algorithm: str) -> Signer:
        """The key under a label, made now if there is none: repeating it is harmless, also between processes.

        Raises:
            InvalidArgument: ``BAD_KEY_LABEL``, ``ALGORITHM_REFUSED`` (also when the label's key is of another one).
            Unavailable: ``CUSTODY_UNAVAILABLE``.
            DataLoss: ``KEY_UNREADABLE``.
        """
        ...

    def find(self, label: str) -> Signer | None:
        """The key under a label; None: there is none, and none is made.

        Raises:
            InvalidArgument: ``BAD_KEY_LABEL``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
            DataLoss: ``KEY_UNREADABLE``.
        """
        ...

    def signer(self, key_id: str) -> Signer:
        """The key with a thumbprint.

        Raises:
            NotFound: ``KEY_UNKNOWN``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
            DataLoss: ``KEY_UNREADABLE``.
        """
        ...


class FileKeyCustody:
    """Keys as files, for development: ``keys/<thumbprint>.pem`` (PKCS#8, mode 0600) and ``labels/<label>``.

    Processes may share a folder: files appear whole or not at all, and the
    first to claim a label wins.
    """

    def __init__(self, folder: Path) -> None:
        self._keys = folder / "keys"
        self._labels = folder / "labels"
        self._signers: dict[str, LocalSigner] = {}

    def create(self, label: str, algorithm: str) -> Signer:
        """See :meth:`KeyCustody.create`."""
        if self._labelled(label) is not None:
            raise _taken()
        signer = self._make(algorithm)
        if not self._claim(label, signer.key_id):
            raise _taken()
        return signer

    def ensure(self, label: str, algorithm: str) -> Signer:
        """See :meth:`KeyCustody.ensure`."""
        key_id = self._labelled(label)
        if key_id is None:
            made = self._make(algorithm)
            if self._claim(label, made.key_id):
                return made
            key_id = self._labelled(label)  # another process was faster: its key is the label's
        signer = self.signer(key_id or "")
        if signer.algorithm != algorithm:
            raise _refused(algorithm, f"the key under this label is for {signer.algorithm}")
        return signer

    def find(self, label: str) -> Signer | None:
        """See :meth:`KeyCustody.find`."""
        key_id = self._labelled(label)
        return None if key_id is None else self.signer(key_id)

    def signer(self, key_id: str) -> Signer:
        """See :meth:`KeyCustody.signer`."""
        signer = self._signers.get(key_id)
        if signer is None:
            signer = self._signers[key_id] = self._load(key_id)
        return signer

    def _make(self, algorithm: str) -> LocalSigner:
        private_key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
        if algorithm == ES256:
            private_key = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == ED25519:
            private_key = ed25519.Ed25519PrivateKey.generate()
        else:
            raise _refused(algorithm, "keys are made for no such algorithm")
        signer = LocalSigner(private_key)
        pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_new(self._keys / f"{signer.key_id}.pem", pem)
        self._signers[signer.key_id] = signer
        return signer

    def _load(self, key_id: str) -> LocalSigner:
        try:
            if not _THUMBPRINT.match(key_id):
                raise FileNotFoundError
            pem = (self._keys / f"{key_id}.pem").read_bytes()
        except FileNotFoundError as error:
            raise NotFound(
                "KEY_UNKNOWN",
                "no such key is in custody here",
                field="key_id",
                rule="a key is named by its RFC 7638 thumbprint",
                remedy="create the key first, or use the custody that holds it",
            ) from error
        except OSError as error:
            raise _unavailable(error) from error
        try:
            private_key = load_pem_private_key(pem, password=None)
            if not isinstance(private_key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
                raise TypeError("neither an EC nor an Ed25519 key")
            signer = LocalSigner(private_key)
        except (ValueError, TypeError, InvalidArgument) as error:
            raise _unreadable() from error
        if signer.key_id != key_id:
            raise _unreadable()
        return signer

    def _labelled(self, label: str) -> str | None:
        if not _LABEL.match(label):
            raise InvalidArgument(
                "BAD_KEY_LABEL",
                "the label has the wrong length or characters",
                field="label",
                rule="1 to 128 of letters, digits, '.', '_', ':' and '-', beginning with a letter or digit",
                remedy="choose another label",
            )
        try:
            return (self._labels / label).read_text("ascii").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(error) from error

    def _claim(self, label: str, key_id: str) -> bool:
        return _write_new(self._labels / label, key_id.encode("ascii"))


def _write_new(path: Path, data: bytes) -> bool:
    """Write a file that must not exist yet, whole and durable, mode 0600; False when it exists."""
    scratch = path.parent / f".{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(scratch, path)  # unlike rename, refuses to replace
        except FileExistsError:
            return False
        finally:
            scratch.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unavailable(error) from error
    return True


def _taken() -> AlreadyExists:
    return AlreadyExists(
        "KEY_LABEL_TAKEN",
        "a key with this label exists",
        field="label",
        rule="a label names one key",
        remedy="use another label, or ask for the key that has it",
    )


def _refused(algorithm: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        "ALGORITHM_REFUSED",
        f"{message}; asked for {algorithm[:16]!r}",
        field="algorithm",
        rule=f"{ES256} or {ED25519}",
        remedy="ask for one of these, under a label of its own",
    )


def _unavailable(error: OSError) -> Unavailable:
    return Unavailable(
        "CUSTODY_UNAVAILABLE",
        f"the key folder cannot be read or written: {error.strerror}",
        rule="the process owns its key folder",
        remedy="check the folder's owner, mode and free space",
    )


def _unreadable() -> DataLoss:
    return DataLoss(
        "KEY_UNREADABLE",
        "a key file does not hold the key that it is named after",
        field="key_id",
        rule="PKCS#8 in PEM, named by the thumbprint of its public part",
        remedy="restore the file from a backup, or retire the key and make another",
    )
