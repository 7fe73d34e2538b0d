"""Makes the portal's documents, signed by a key of its own in custody."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from types import ModuleType
from typing import Final

from services.portal.own_key import OwnKey
from services.portal.sharing.document import Paper
from vitne.credentials.certificates import Certificate
from vitne.credentials.jose import Signer

#: Label of the key in custody: it signs documents and nothing else.
KEY_LABEL: Final = "portal.documents"


class DocumentSigner(OwnKey):
    """Signs documents."""

    label = KEY_LABEL

    def prepare(self) -> None:
        """Load what makes documents, in the background: a learner is about to want one."""
        self._soon(_libraries)

    async def make(self, paper: Paper) -> bytes:
        """A signed document.

        Args:
            paper: what it says.

        Raises:
            FailedPrecondition: ``NO_CERTIFICATE``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        return await self._made(partial(_make, paper))


def _libraries() -> tuple[ModuleType, ModuleType]:
    """They take half a second and 40 MiB: not before somebody is about to want a document."""
    from services.portal.sharing import pades, rendering  # noqa: PLC0415

    return pades, rendering


def _make(paper: Paper, signer: Signer, chain: tuple[Certificate, ...], now: datetime) -> bytes:
    pades, rendering = _libraries()
    signed: bytes = pades.sign(rendering.render(paper), signer, chain, now)
    return signed
