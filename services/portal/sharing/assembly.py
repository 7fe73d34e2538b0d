"""Puts together what sharing needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.portal.sealing import PortalKeys
from services.portal.sharing.checking import LiveChecks
from services.portal.sharing.signature import DocumentSigner
from services.portal.sharing.store import Shares
from services.portal.signing import certificates_of, organisation_of
from vitne.clock import Clock
from vitne.identifiers import OrganisationId
from vitne.runtime.custody import FileKeyCustody


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
