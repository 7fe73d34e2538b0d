"""Puts together what EMREX needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from services.portal.emrex.answering import AnswerSigner
from services.portal.emrex.clients import Clients
from services.portal.emrex.providers import DataProviders
from services.portal.emrex.store import Imports
from services.portal.sealing import PortalKeys
from services.portal.signing import certificates_of, organisation_of
from vitne.clock import Clock
from vitne.identifiers import OrganisationId
from vitne.runtime.custody import FileKeyCustody


@dataclass(frozen=True, slots=True)
class Emrex:
    """What EMREX needs.

    Attributes:
        clients: who may ask for results.
        providers: where results can be fetched.
        imports: what was fetched.
        signer: signs answers.
    """

    clients: Clients
    providers: DataProviders
    imports: Imports
    signer: AnswerSigner

    @classmethod
    def assemble(
        cls,
        pool: Any,
        keys: PortalKeys,
        *,
        hub: OrganisationId,
        public_url: str,
        state_dir: Path,
        certificates: Path | None,
        clients_file: Path | None,
        providers_file: Path | None,
        development: bool,
        clock: Clock,
    ) -> Self:
        """Put it together.

        Args:
            pool: the portal's database.
            keys: seal what is imported.
            hub: the organisation that the portal is: whose answers they are.
            public_url: where the portal is found: what its certificate calls it in development.
            state_dir: where the key that signs answers is.
            certificates: folder with that key's certificate; None in development: one is made.
            clients_file: see :meth:`Clients.read`.
            providers_file: see :meth:`DataProviders.read`.
            development: whether this is an installation for development.
            clock: tells the time.

        Raises:
            FailedPrecondition: ``EMREX_FILE_REFUSED``.
        """
        custody = FileKeyCustody(state_dir)
        signer = AnswerSigner(
            custody,
            certificates_of(custody, certificates, development=development, clock=clock),
            organisation_of(hub, public_url),
            clock,
        )
        return cls(
            Clients.read(clients_file, allow_http=development),
            DataProviders.read(providers_file, allow_http=development),
            Imports(pool, keys, clock),
            signer,
        )
