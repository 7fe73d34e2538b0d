"""EMREX clients that learners may take results to: a file of the operator's, looked up by exact comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from services.portal.emrex.addresses import check_address
from services.portal.emrex.files import refused
from services.portal.emrex.protocol import RETURN_URL
from vitne.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks for results.

    Attributes:
        name: as learners are told it.
        return_url: where the answer goes.
    """

    name: str
    return_url: str


class _Entry(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str
    return_urls: list[str]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    clients: list[_Entry]


class Clients:
    """The registered clients.

    Args:
        clients: one for each return URL.

    Raises:
        ValueError: two have the same return URL.
    """

    def __init__(self, clients: list[Client]) -> None:
        self._by_url = {client.return_url: client for client in clients}
        if len(self._by_url) < len(clients):
            raise ValueError("a return URL is there twice")

    @classmethod
    def read(cls, file: Path | None, *, allow_http: bool) -> Self:
        """Read ``{"clients": [{"name": …, "returnUrls": […]}]}``.

        Args:
            file: None: nobody is registered.
            allow_http: development only.

        Raises:
            FailedPrecondition: ``EMREX_FILE_REFUSED``.
        """
        if file is None:
            return cls([])
        try:
            entries = msgspec.json.decode(file.read_bytes(), type=_File).clients
            return cls(
                [
                    Client(entry.name, check_address(url, allow_http=allow_http))
                    for entry in entries
                    for url in entry.return_urls
                ]
            )
        except (OSError, ValueError) as error:
            raise refused("clients", "VITNE_EMREX_CLIENTS_FILE", error) from error

    def __bool__(self) -> bool:
        return bool(self._by_url)

    def of(self, return_url: str) -> Client:
        """The client with this return URL: the very same characters, so that nothing has to be understood of it.

        Raises:
            InvalidArgument: ``RETURN_URL_NOT_REGISTERED``; the address is not repeated.
        """
        client = self._by_url.get(return_url)
        if client is None:
            raise InvalidArgument(
                "RETURN_URL_NOT_REGISTERED",
                "results are not sent to where the request wants them",
                field=RETURN_URL,
                rule="an address that the client has registered here, character by character",
                remedy="the client asks the portal's operator to register its return URL",
            )
        return client
