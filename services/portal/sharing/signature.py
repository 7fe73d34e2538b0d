"""Makes the portal's documents, signed by a key of its own in custody."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Final

from services.portal.sharing.document import Paper
from vitne.clock import Clock
from vitne.credentials.certificates import Certificate
from vitne.credentials.jose import ES256, Signer
from vitne.credentials.model import AwardingBody
from vitne.runtime.certificates import Certificates
from vitne.runtime.custody import KeyCustody

#: Label of the key in custody: it signs documents and nothing else.
KEY_LABEL: Final = "portal.documents"


class DocumentSigner:
    """Signs documents.

    Args:
        custody: has the key, or makes it.
        certificates: of the key.
        organisation: whose key it is: the hub.
        clock: tells when a document is signed.
    """

    def __init__(
        self, custody: KeyCustody, certificates: Certificates, organisation: AwardingBody, clock: Clock
    ) -> None:
        self._custody = custody
        self._certificates = certificates
        self._organisation = organisation
        self._clock = clock
        # Making a document takes a core and some memory, which a thread keeps: one thread, so one document at a time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents")

    async def make(self, paper: Paper) -> bytes:
        """A signed document.

        Args:
            paper: what it says.

        Raises:
            FailedPrecondition: ``NO_CERTIFICATE``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        signer = await asyncio.to_thread(self._custody.ensure, KEY_LABEL, ES256)
        chain = await self._certificates.chain(signer, self._organisation)
        now = self._clock.now()
        work = partial(_make, paper, signer, chain, now)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _make(paper: Paper, signer: Signer, chain: tuple[Certificate, ...], now: datetime) -> bytes:
    # The libraries take half a second and 40 MiB: not before somebody wants a document.
    from services.portal.sharing import pades, rendering  # noqa: PLC0415

    return pades.sign(rendering.render(paper), signer, chain, now)
