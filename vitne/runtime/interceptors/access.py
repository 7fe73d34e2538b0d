"""Who may call what: the contract says it (``vitne.access.v1``), this enforces it.

A method of ours without the ``access`` option is unreachable. Only the health and
reflection services, which reveal what is public, are let through by name. A scope
may be kept, beside, to peers with certain names in their certificates: then a token
that was stolen from a service opens nothing to anybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Protocol

from google.protobuf import descriptor_pool

from vitne.errors import PermissionDenied, Unauthenticated
from vitne.runtime.identity import Caller, caller_context
from vitne.runtime.interceptors.chain import Method, Stream, Unary
from vitne.runtime.tls import peer_names
from vitne_api.access.v1 import access_pb2

#: Services of gRPC's own that anyone may call.
PUBLIC_SERVICES: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)
_BEARER: Final = "bearer "


class TokenVerifierProtocol(Protocol):
    """What turns an access token into a caller."""

    async def verify(self, token: str) -> Caller:
        """Verify a token.

        Raises:
            Unauthenticated: it does not hold.
            Unavailable: the keys to check it with are out of reach.
        """
        ...


class AccessInterceptor:
    """Lets a call through to the handler, with ``current_caller()`` set, or refuses it.

    Args:
        verifier: of access tokens; without one every method that is not public is refused.
        allowed_peers: by scope the names, one of which the certificate of who uses it has to carry; a scope that
            is not among them asks for none.
    """

    def __init__(
        self,
        verifier: TokenVerifierProtocol | None,
        allowed_peers: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._verifier = verifier
        self._allowed_peers = {scope: frozenset(names) for scope, names in (allowed_peers or {}).items()}

    def unary(self, method: Method, proceed: Unary) -> Unary:
        """Surround a method that answers one message."""
        admit = self._guard(method)
        if admit is None:
            return proceed

        async def surrounded(request: Any, context: Any) -> Any:
            await admit(context)
            return await proceed(request, context)

        return surrounded

    def stream(self, method: Method, proceed: Stream) -> Stream:
        """Surround a method that answers a stream."""
        admit = self._guard(method)
        if admit is None:
            return proceed

        async def surrounded(request: Any, context: Any) -> AsyncIterator[Any]:
            await admit(context)
            async for response in proceed(request, context):
                yield response

        return surrounded

    def _guard(self, method: Method) -> Callable[[Any], Awaitable[None]] | None:
        """What lets a call through; None where nothing is asked of anyone."""
        if method.service in PUBLIC_SERVICES:
            return None
        access = required_access(method)
        requirement = access.WhichOneof("requirement") if access is not None else None
        if access is not None and requirement == "public" and access.public:
            return None
        scope = access.scope if access is not None and requirement == "scope" else ""
        verifier = self._verifier
        allowed = self._allowed_peers.get(scope)

        async def admit(context: Any) -> None:
            if not scope:
                raise PermissionDenied(
                    "METHOD_WITHOUT_ACCESS_RULE",
                    "the contract does not say who may call this method, so nobody may",
                    rule="vitne.access.v1.access",
                    remedy="report it to the operator",
                )
            if allowed is not None and allowed.isdisjoint(peer_names(context)):
                raise PermissionDenied(
                    "PEER_NOT_ALLOWED",
                    "the certificate that the connection was made with is not one of those the scope is kept to",
                    rule=scope,
                    remedy="connect with the certificate of the service that holds the scope",
                )
            token = _bearer_token(context.invocation_metadata())
            if verifier is None:
                raise Unauthenticated("NO_TOKEN_ISSUER", "this server is set up without an issuer of tokens")
            caller = await verifier.verify(token)
            if scope not in caller.scopes:
                raise PermissionDenied(
                    "SCOPE_MISSING",
                    "the access token does not carry the scope that the method requires",
                    rule=scope,
                    remedy=f"ask the token issuer for the scope {scope}",
                )
            caller_context.set(caller)

        return admit


def required_access(method: Method) -> access_pb2.Access | None:
    """What the contract asks of callers of a method; None where it says nothing."""
    try:
        descriptor = descriptor_pool.Default().FindMethodByName(f"{method.service}.{method.name}")
    except KeyError:
        return None
    options = descriptor.GetOptions()
    return options.Extensions[access_pb2.access] if options.HasExtension(access_pb2.access) else None


def _bearer_token(metadata: Any) -> str:
    """The token of ``authorization: Bearer …`` (RFC 6750, section 2.1)."""
    values = [value for key, value in metadata or () if key == "authorization"]
    token: str = values[0][len(_BEARER) :].strip() if len(values) == 1 else ""
    if not token or values[0][: len(_BEARER)].lower() != _BEARER:
        raise Unauthenticated(
            "TOKEN_MISSING" if not values else "TOKEN_MALFORMED",
            "the call carries no access token" if not values else "the authorization is not one bearer token",
            field="authorization",
            rule="RFC 6750, section 2.1",
            remedy="send a Maskinporten access token as 'authorization: Bearer …'",
        )
    return token
