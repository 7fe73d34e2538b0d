"""Which tokens (SD-JWT VC, ``vc+jwt``) carry the certificates of the key that signs them (``x5c``).

What makes a key count here is the registry, so nobody's issuing stops for a certificate that is missing or has ended:
the token goes out without, and the log says for which key.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from vitne.clock import Clock
from vitne.credentials.certificates import Certificate, carried
from vitne.credentials.jose import Signer
from vitne.credentials.model import AwardingBody
from vitne.errors import FailedPrecondition
from vitne.runtime.certificates import Certificates

_log: Final = logging.getLogger(__name__)


class TokenCertificates:
    """Answers what a token carries as ``x5c``.

    Args:
        certificates: of signing keys.
        organisations: whose tokens carry them; None: everybody's whose key has one.
        clock: a certificate that has ended is none.
    """

    def __init__(self, certificates: Certificates, organisations: Collection[str] | None, clock: Clock) -> None:
        self._certificates = certificates
        self._organisations = organisations
        self._clock = clock
        self._missed: set[tuple[str, str]] = set()

    async def of(self, signer: Signer, body: AwardingBody) -> tuple[Certificate, ...]:
        """The chain of a key without its anchor; empty where there is none that readers could use."""
        if self._organisations is not None and str(body.id) not in self._organisations:
            return ()
        try:
            chain = carried(await self._certificates.chain(signer, body))
        except FailedPrecondition as error:
            return self._without(signer, error.reason)
        now = self._clock.now()
        if not chain:
            return self._without(signer, "CHAIN_NOT_CARRIED")
        if not all(one.parsed.not_valid_before_utc <= now <= one.parsed.not_valid_after_utc for one in chain):
            return self._without(signer, "CERTIFICATE_NOT_VALID_NOW")
        return chain

    def _without(self, signer: Signer, reason: str) -> tuple[Certificate, ...]:
        """None, which the log says once a key and reason: most keys never have one."""
        if (signer.key_id, reason) not in self._missed:
            self._missed.add((signer.key_id, reason))
            _log.info("tokens carry no certificates", extra={"key": signer.key_id, "reason": reason})
        return ()
