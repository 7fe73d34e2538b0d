"""A signing key of the portal's own, and what is made with it: one piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import ClassVar, TypeVar

from vitne.clock import Clock
from vitne.credentials.certificates import Certificate
from vitne.credentials.jose import ES256, Signer
from vitne.credentials.model import AwardingBody
from vitne.runtime.certificates import Certificates
from vitne.runtime.custody import KeyCustody

T = TypeVar("T")


class OwnKey:
    """A key in custody; a subclass says which, and what it makes.

    Args:
        custody: has the key, or makes it.
        certificates: of the key.
        organisation: whose key it is: the hub.
        clock: tells when something is signed.
    """

    #: Of the key in custody: it signs what this class makes, and nothing else.
    label: ClassVar[str]

    def __init__(
        self, custody: KeyCustody, certificates: Certificates, organisation: AwardingBody, clock: Clock
    ) -> None:
        self._custody = custody
        self._certificates = certificates
        self._organisation = organisation
        self._clock = clock
        # Making a document takes a core and some memory, which a thread keeps: one thread, so one document at a time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.label)

    async def certificates(self) -> tuple[Certificate, ...]:
        """The key's chain, its own certificate first.

        Raises:
            FailedPrecondition: ``NO_CERTIFICATE``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        return await self._certificates.chain(await self._signer(), self._organisation)

    async def _made(self, make: Callable[[Signer, tuple[Certificate, ...], datetime], T]) -> T:
        """What ``make`` answers, which is given the key, its chain and the present; it runs in the thread.

        Raises:
            FailedPrecondition: ``NO_CERTIFICATE``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        signer, chain = await self._signer(), await self.certificates()
        now = self._clock.now()
        return await asyncio.get_running_loop().run_in_executor(self._thread, make, signer, chain, now)

    def _soon(self, prepare: Callable[[], object]) -> None:
        """Have the thread do something beforehand; what is made meanwhile waits for it."""
        self._thread.submit(prepare)

    async def _signer(self) -> Signer:
        return await asyncio.to_thread(self._custody.ensure, self.label, ES256)
