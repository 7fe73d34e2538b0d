"""Puts together what sharing needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.portal.sealing import PortalKeys
from services.portal.sharing.checking import LiveChecks
from services.portal.sharing.signature import KEY_LABEL, DocumentSigner
from services.portal.sharing.store import Shares
from vitne.clock import Clock
from vitne.credentials.jose import ES256, Signer
from vitne.credentials.model import AwardingBody
from vitne.identifiers import OrganisationId
from vitne.runtime.certificates import CertificateFiles, Certificates, DevelopmentCertificates
from vitne.runtime.custody import FileKeyCustody, KeyCustody


def document_key(state_dir: Path) -> Signer:
    """The key that signs documents; made where there is none.

    Raises:
        Unavailable: ``CUSTODY_UNAVAILABLE``.
    """
    return FileKeyCustody(state_dir).ensure(KEY_LABEL, ES256)


@dataclass(frozen=True, slots=True)
class Sharing:
    """What sharing needs.

    Attributes:
        shares: what is shared.
        checks: what the verifier says of it, now.
        signer: signs documents.
    """

    shares: Shares
    checks: LiveChecks
    signer: DocumentSigner

    @classmethod
    def assemble(
        cls,
        pool: Any,
        keys: PortalKeys,
        verifier: Any,
        *,
        hub: OrganisationId,
        public_url: str,
        state_dir: Path,
        certificates: Path | None,
        development: bool,
        clock: Clock,
    ) -> Sharing:
        """Put it together.

        Args:
            pool: the portal's database.
            keys: seal what is shared.
            verifier: stub of the verifier's service; None: nothing can be checked.
            hub: the organisation that the portal is: whose documents they are.
            public_url: where the portal is found: what its certificate calls it in development.
            state_dir: where the key that signs documents is.
            certificates: folder with that key's certificate; None in development: one is made.
            development: whether this is an installation for development.
            clock: tells the time.
        """
        custody = FileKeyCustody(state_dir)
        found = certificates_of(custody, certificates, development=development, clock=clock)
        signer = DocumentSigner(custody, found, organisation_of(hub, public_url), clock)
        return cls(Shares(pool, keys), LiveChecks(verifier, clock), signer)


def certificates_of(custody: KeyCustody, folder: Path | None, *, development: bool, clock: Clock) -> Certificates:
    """Certificates of the portal's own keys: from the operator's folder; in development without one they are made."""
    if development and folder is None:
        return DevelopmentCertificates(custody, clock)
    return CertificateFiles(folder)


def organisation_of(hub: OrganisationId, public_url: str) -> AwardingBody:
    """The portal as its certificates call it in development: by its host."""
    name = urlsplit(public_url).hostname or str(hub)
    return AwardingBody(id=hub, name={"en": name}, country=hub.country, issuer_uri=public_url)
