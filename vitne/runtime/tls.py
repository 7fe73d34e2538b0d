"""TLS from files that may be replaced at any moment, as cert-manager and the like replace them.

Files are looked at when a connection is made: new connections use what is in them,
those that exist go on with what they began with. While the files can't be used (one
of a pair is replaced already, the other not yet) the last ones that could be stay in use.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from vitne.errors import FailedPrecondition

#: Names in which peers are known: ``subjectAltName`` of the kinds URI and DNS (RFC 5280, section 4.2.1.6). The
#: common name is not looked at (RFC 9525, section 2).
_PEER_NAMES: Final = ("peer_uri", "peer_dns")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM files of one end are.

    Attributes:
        certificate: own certificate, followed by those between it and a trusted one; None shows none.
        key: private key of ``certificate``; may be the same file.
        authority: certificates that those of peers must lead to; None trusts what the machine trusts where this end
            is a client, and asks for no certificate where it is a server.
    """

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What stood in the files at one moment, checked: the key is that of the certificate.

    Attributes:
        certificate: PEM, the own certificate first.
        key: PEM.
        authority: PEM.
        expires: when the own certificate does.
        authority_expires: when the last of ``authority`` does; while one is replaced there are two.
    """

    certificate: bytes | None
    key: bytes | None = field(repr=False)
    authority: bytes | None
    expires: datetime | None
    authority_expires: datetime | None

    @classmethod
    def read(cls, files: TlsFiles) -> TlsMaterial:
        """Read the files.

        Raises:
            FailedPrecondition: ``TLS_FILE_UNREADABLE``, ``TLS_FILE_MALFORMED``, ``TLS_KEY_MISMATCH``.
        """
        certificate, key, authority = (_read(path) for path in (files.certificate, files.key, files.authority))
        expires = authority_expires = None
        if authority is not None:
            authority_expires = max(each.not_valid_after_utc for each in _certificates(authority, files.authority))
        if certificate is not None:
            own = _certificates(certificate, files.certificate)[0]
            expires = own.not_valid_after_utc
            try:
                matches = load_pem_private_key(key or b"", None).public_key() == own.public_key()
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it wants a password
                raise _malformed(files.key, "no private key in PEM without a password") from error
            if not matches:
                raise FailedPrecondition(
                    "TLS_KEY_MISMATCH",
                    f"the private key in {files.key} is not that of the certificate in {files.certificate}",
                    remedy="put a certificate there together with its key",
                )
        return cls(certificate, key, authority, expires, authority_expires)


class TlsWatch:
    """What the files say, read again whenever they have changed.

    Raises:
        FailedPrecondition: see :meth:`TlsMaterial.read`; only at the beginning.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._seen = self._look()
        self._material = TlsMaterial.read(files)

    def current(self) -> TlsMaterial:
        """The newest material that can be used; the same object until there is another."""
        # Asked for each call and each connection: three stats cost microseconds, a missed rotation an outage.
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                material = TlsMaterial.read(self.files)
            except FailedPrecondition as error:
                _log.warning("the TLS files changed and can't be used: %s", error.message)
            else:
                if material != self._material:  # else written anew with what they held: no reason to connect again
                    self._material = material
                    _log.info("the TLS files changed", extra={"expires": str(material.expires)})
        return self._material

    def expired(self, now: datetime) -> str | None:
        """That the own certificate or the authority has expired, in words for an operator; None while both hold."""
        for path, expires in self.ends().values():
            if expires < now:
                return f"{path} expired at {expires}"
        return None

    def ends(self) -> Mapping[str, tuple[Path, datetime]]:
        """Which file ends when, by what is in it: ``certificate``, ``authority``; without what there is none of."""
        material = self.current()
        found = {
            "certificate": (self.files.certificate, material.expires),
            "authority": (self.files.authority, material.authority_expires),
        }
        return {part: (path, at) for part, (path, at) in found.items() if path is not None and at is not None}

    def _look(self) -> tuple[object, ...]:
        return tuple(_fingerprint(path) for path in (self.files.certificate, self.files.key, self.files.authority))


def server_credentials(watch: TlsWatch) -> grpc.ServerCredentials:
    """For a gRPC server; with an authority, clients without one of its certificates are refused.

    Raises:
        FailedPrecondition: ``TLS_NO_CERTIFICATE``.
    """

    def configuration(material: TlsMaterial) -> Any:
        if material.key is None or material.certificate is None:
            raise FailedPrecondition("TLS_NO_CERTIFICATE", "a server has to have a certificate and its key")
        return grpc.ssl_server_certificate_configuration(
            [(material.key, material.certificate)], root_certificates=material.authority
        )

    served = watch.current()

    def newest() -> Any:
        """gRPC asks this for each connection, from a thread of its own; None changes nothing."""
        nonlocal served
        material = watch.current()
        if material is served:
            return None
        served = material
        return configuration(material)

    return grpc.dynamic_ssl_server_credentials(
        configuration(served), newest, require_client_authentication=watch.files.authority is not None
    )


def channel_credentials(material: TlsMaterial) -> grpc.ChannelCredentials:
    """For one gRPC channel; without an authority gRPC's own roots are trusted."""
    return grpc.ssl_channel_credentials(material.authority, material.key, material.certificate)


def peer_names(context: Any) -> frozenset[str]:
    """The names in the certificate of whoever makes this call; none without one (``grpc.aio.ServicerContext``)."""
    properties = context.auth_context()
    return frozenset(name.decode("utf-8", "replace") for kind in _PEER_NAMES for name in properties.get(kind, ()))


class RotatingContext(ssl.SSLContext):
    """An ``SSLContext`` whose every new connection uses what is in the files.

    ``load_cert_chain`` on a context in use would do nearly the same, but leaves it with a certificate and another's
    key when a pair is half replaced.

    Args:
        protocol: ``ssl.PROTOCOL_TLS_SERVER`` or ``ssl.PROTOCOL_TLS_CLIENT``.
        watch: the files.
        build: makes an ordinary context from them.
    """

    def __new__(cls, protocol: int, watch: TlsWatch, build: Callable[[TlsWatch], ssl.SSLContext]) -> RotatingContext:
        return super().__new__(cls, protocol)

    def __init__(self, protocol: int, watch: TlsWatch, build: Callable[[TlsWatch], ssl.SSLContext]) -> None:
        self._watch = watch
        self._build = build
        self._built_of = watch.current()
        self._built = build(watch)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """What asyncio and uvloop call for a connection."""
        return self._newest().wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """The same for a blocking socket."""
        return self._newest().wrap_socket(*arguments, **options)

    def _newest(self) -> ssl.SSLContext:
        material = self._watch.current()
        if material is not self._built_of:
            try:
                self._built = self._build(self._watch)
                self._built_of = material
            except (ssl.SSLError, OSError) as error:  # replaced again in this very moment
                _log.warning("the TLS files changed and can't be used: %s", error)
        return self._built


def server_context(watch: TlsWatch) -> ssl.SSLContext:
    """For an HTTPS server; nothing is asked of clients."""

    def build(watch: TlsWatch) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _show(context, watch.files)
        return context

    return RotatingContext(ssl.PROTOCOL_TLS_SERVER, watch, build)


def client_context(files: TlsFiles | None) -> ssl.SSLContext | None:
    """For a TLS client other than gRPC's, such as Kafka's; None for None: plain text.

    Raises:
        FailedPrecondition: see :meth:`TlsMaterial.read`.
    """
    if files is None:
        return None

    def build(watch: TlsWatch) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=watch.files.authority)
        _show(context, watch.files)
        return context

    return RotatingContext(ssl.PROTOCOL_TLS_CLIENT, TlsWatch(files), build)


def _show(context: ssl.SSLContext, files: TlsFiles) -> None:
    if files.certificate is not None:
        context.load_cert_chain(files.certificate, files.key)


def _fingerprint(path: Path | None) -> object:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return "missing"
    return found and (found.st_mtime_ns, found.st_ino, found.st_size)


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path is not None else None
    except OSError as error:
        raise FailedPrecondition(
            "TLS_FILE_UNREADABLE",
            f"{path} can't be read: {error.strerror}",
            remedy="check the path and who may read it",
        ) from error


def _certificates(pem: bytes, path: Path | None) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise _malformed(path, "no certificates in PEM") from error


def _malformed(path: Path | None, what: str) -> FailedPrecondition:
    return FailedPrecondition("TLS_FILE_MALFORMED", f"{path} holds {what}", remedy="put the right file there")
