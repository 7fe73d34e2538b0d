"""EMREX data providers (EMP) that learners may fetch results from: a file in the shape of EMREG's list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from services.portal.emrex.addresses import check_address, check_origin
from services.portal.emrex.files import refused
from vitne.credentials.certificates import Certificate, require_counting_key
from vitne.errors import InvalidArgument, NotFound, VitneError

_PEM_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_PEM_KEY = "-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class DataProvider:
    """An EMP.

    Attributes:
        acronym: what it is called, and known by here.
        country: ISO 3166-1 alpha-2.
        url: where requests go.
        key: SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), in DER, of what it signs with.
        origins: where it leads browsers to from ``url``, to log in.
    """

    acronym: str
    country: str
    url: str
    key: bytes = field(repr=False)
    origins: tuple[str, ...] = ()

    def signed_with(self, certificate: Certificate) -> bool:
        """Whether a certificate is of its registered key."""
        return _der(certificate.parsed.public_key()) == self.key


class _Entry(msgspec.Struct, rename="camel"):
    """What is used of an entry; EMREG has more (``institutions``)."""

    acronym: str
    country_code: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]
    url: str
    pub_key: str
    #: Ours alone.
    log_in_origins: tuple[str, ...] = ()


class _File(msgspec.Struct):
    ncps: list[_Entry]


class DataProviders:
    """The data providers.

    Args:
        providers: in the order in which they are offered.

    Raises:
        ValueError: two have the same acronym.
    """

    def __init__(self, providers: list[DataProvider]) -> None:
        self._by_acronym = {provider.acronym: provider for provider in providers}
        if len(self._by_acronym) < len(providers):
            raise ValueError("an acronym is there twice")

    @classmethod
    def read(cls, file: Path | None, *, allow_http: bool) -> Self:
        """Read ``{"ncps": [{"acronym", "countryCode", "url", "pubKey", "logInOrigins"}]}``; the last may be left out.

        Args:
            file: None: there are none.
            allow_http: development only.

        Raises:
            FailedPrecondition: ``EMREX_FILE_REFUSED``.
        """
        if file is None:
            return cls([])
        try:
            entries = msgspec.json.decode(file.read_bytes(), type=_File).ncps
            return cls(
                [
                    DataProvider(
                        entry.acronym,
                        entry.country_code,
                        check_address(entry.url, allow_http=allow_http),
                        _read_key(entry.pub_key),
                        tuple(check_origin(one, allow_http=allow_http) for one in entry.log_in_origins),
                    )
                    for entry in entries
                ]
            )
        except (OSError, ValueError, UnsupportedAlgorithm, InvalidArgument) as error:
            told = error.message if isinstance(error, VitneError) else error
            raise refused("data providers", "VITNE_EMREX_PROVIDERS_FILE", told) from error

    def __bool__(self) -> bool:
        return bool(self._by_acronym)

    def __iter__(self) -> Iterator[DataProvider]:
        return iter(self._by_acronym.values())

    def of(self, acronym: str) -> DataProvider:
        """The provider of an acronym.

        Raises:
            NotFound: ``DATA_PROVIDER_UNKNOWN``.
        """
        provider = self._by_acronym.get(acronym)
        if provider is None:
            raise NotFound(
                "DATA_PROVIDER_UNKNOWN", "results can't be fetched from there", remedy="choose one that the page shows"
            )
        return provider


def _read_key(text: str) -> bytes:
    """A certificate in PEM or as bare Base64, or a public key in PEM; its key must be one that signatures count of."""
    if _PEM_KEY in text:
        key = load_pem_public_key(text.encode())
    elif _PEM_CERTIFICATE in text:
        key = x509.load_pem_x509_certificate(text.encode()).public_key()
    else:
        key = Certificate.from_base64(text, field="pubKey").parsed.public_key()
    require_counting_key(key, field="pubKey")
    return _der(key)


def _der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
