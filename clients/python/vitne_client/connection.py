"""One organisation's way to the services: access tokens (Maskinporten's JWT grant), TLS, errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from vitne.clock import Clock, SystemClock
from vitne.errors import InvalidArgument, VitneError
from vitne.runtime.channel import open_channel
from vitne.runtime.identity import ClientKey, TokenSource
from vitne.runtime.status import error_from_rpc
from vitne.runtime.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the services are, and who calls.

    Attributes:
        issuer: ``host:port`` of the issuer's gRPC.
        token_issuer: the token issuer, ``https://maskinporten.no/`` in operation.
        client_id: the organisation's client there.
        key_file: its private key, as a JWK.
        audience: what access tokens name as ``aud``.
        tls: whom to trust and which certificate to show; None: plain text, for development only.
        allow_http: let the token issuer be at http: for development only.
        clock: tells when a token is used up.
    """

    issuer: str
    token_issuer: str
    client_id: str
    key_file: Path
    audience: str
    tls: TlsFiles | None = None
    allow_http: bool = False
    clock: Clock = field(default_factory=SystemClock)

    @classmethod
    def of_environment(cls, client: str) -> Connection:
        """As the development stack's environment has it (``. .vitne/up/environment``).

        Args:
            client: ``HUB`` or ``PROVIDER``.

        Raises:
            InvalidArgument: ``NOT_SET``: a variable is missing.
        """
        authority = os.environ.get("VITNE_CHANNEL_CA_FILE")
        return cls(
            issuer=_variable("VITNE_ISSUER"),
            token_issuer=_variable("VITNE_IDENTITY_URL"),
            client_id=_variable(f"VITNE_{client}_CLIENT"),
            key_file=Path(_variable(f"VITNE_{client}_KEY_FILE")),
            audience=_variable("VITNE_AUDIENCE"),
            tls=TlsFiles(authority=Path(authority)) if authority else None,
            allow_http=True,
        )

    def open(self, scopes: Collection[str]) -> Any:
        """A channel to the issuer with tokens for ``scopes``; whoever opens it closes it."""
        tokens = TokenSource(
            self.token_issuer,
            ClientKey.read(self.client_id, self.key_file),
            scopes,
            self.clock,
            resource=self.audience,
            allow_http=self.allow_http,
        )
        return open_channel(self.issuer, tokens, tls=self.tls)


async def call(method: Any, request: Any) -> Any:
    """Call a method of a stub.

    Raises:
        VitneError: what the service refused, or that it is out of reach.
    """
    try:
        return await method(request)
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error


__all__ = ["Connection", "VitneError", "call"]


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise InvalidArgument(
            "NOT_SET", "a variable of the environment is missing", field=name, remedy=". .vitne/up/environment"
        ) from None
