"""TLS everywhere in an embedded stack: an authority of its own, a certificate for each part, and the settings for both.

Services read their files whenever a connection is made (:mod:`vitne.runtime.tls`), so :meth:`Protection.renew`
replaces them while everything runs.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vitne.clock import SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.runtime.secret_files import read_secret
from vitne.runtime.tls import TlsFiles, client_context

#: Parts that serve something besides the five services.
IDENTITY: Final = "identity"
DATABASE: Final = "postgres"
#: Who acts in the demonstration: institutions, authorities, hubs and the operator share a certificate, as those who
#: come through one gateway do. What each may do, its token says.
ORGANISATIONS: Final = "organisations"
#: Scopes at the ledger that only the issuer's certificate opens, beside the token.
_ISSUER_ALONE: Final = ("vitne:ledger.lease", "vitne:ledger.status")
#: Key files that a service makes itself in development, and is given in production.
_KEY_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "issuer": ("learner-wrapping.key", "index.key", "webhook.key"),
    "ledger": ("index-order.secret",),
    "portal": ("portal-wrapping.key", "portal-index.key"),
}


class Protection:
    """Certificates of a stack's parts, made anew at each start; the authority is kept.

    Args:
        folder: for the authority and what it issues; made when missing, for its owner only.
        services: names of the services.
    """

    def __init__(self, folder: Path, services: tuple[str, ...]) -> None:
        self.authority = CertificateAuthority(folder, SystemClock())
        for name in (*services, IDENTITY, DATABASE, ORGANISATIONS):
            self.renew(name)
        own = self.path(ORGANISATIONS)
        #: What the demonstration's clients of gRPC trust and show.
        self.client: Final = TlsFiles(own, own, self.authority.certificate_path)
        trust = client_context(TlsFiles(authority=self.authority.certificate_path))
        assert trust is not None  # noqa: S101 - of files that are there
        #: What its clients of HTTPS trust; they show nothing.
        self.trust: Final[ssl.SSLContext] = trust

    @property
    def trust_environment(self) -> dict[str, str]:
        """What OpenSSL trusts where nobody says otherwise: the token issuer and the pages of others."""
        return {"SSL_CERT_FILE": str(self.authority.certificate_path)}

    def path(self, name: str) -> Path:
        """The file with a part's certificate and its key."""
        return self.authority.path(name)

    def renew(self, name: str) -> None:
        """Replace a part's certificate and key by new ones, in one step."""
        self.authority.issue(name, server=name != ORGANISATIONS, uris=[f"spiffe://vitne.example/{name}"])

    def environment(self, service: str) -> dict[str, str]:
        """The settings of a process that concern TLS, but for Kafka's and the database's."""
        authority, own = str(self.authority.certificate_path), str(self.path(service))
        settings = {
            **self.trust_environment,
            "VITNE_GRPC_CERTIFICATE_FILE": own,
            "VITNE_GRPC_KEY_FILE": own,
            "VITNE_HTTP_CERTIFICATE_FILE": own,
            "VITNE_HTTP_KEY_FILE": own,
            **self._channel(own),
        }
        if service == "verifier":  # For anybody, who has no certificate.
            return settings | {"VITNE_GRPC_PUBLIC": "true"}
        settings["VITNE_GRPC_CLIENT_AUTHORITY_FILE"] = authority
        if service == "ledger":
            peers = {scope: ["spiffe://vitne.example/issuer"] for scope in _ISSUER_ALONE}
            settings["VITNE_GRPC_ALLOWED_PEERS"] = json.dumps(peers)
        return settings

    def client_environment(self) -> dict[str, str]:
        """The same for programs of organisations: what the examples in docs/ read."""
        return {**self.trust_environment, **self._channel(str(self.path(ORGANISATIONS)))}

    def dsn_options(self) -> str:
        """What a DSN of the stack's PostgreSQL ends in: its certificate and the name in it are checked."""
        return f"sslmode=verify-full&sslrootcert={self.authority.certificate_path}"

    def _channel(self, own: str) -> dict[str, str]:
        return {
            "VITNE_CHANNEL_AUTHORITY_FILE": str(self.authority.certificate_path),
            "VITNE_CHANNEL_CERTIFICATE_FILE": own,
            "VITNE_CHANNEL_KEY_FILE": own,
        }


def provide_key_files(service: str, state: Path) -> None:
    """Give a service the key files that it would not make itself in production; those that are there stay."""
    for name in _KEY_FILES.get(service, ()):
        read_secret(state, name, create=True)
