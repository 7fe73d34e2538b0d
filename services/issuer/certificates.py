"""Which tokens (SD-JWT VC, ``vc+jwt``) carry the certificates of the key that signs them (``x5c``).

What makes a key count here is the registry, so nobody's issuing stops for certificates that are missing, have ended, or
are such that verifiers would refuse the token for them: it goes out without, and the log says for which key.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Final

from vitne.clock import Clock
from vitne.credentials.certificates import Certificate, carried
from vitne.credentials.jose import Signer
from vitne.credentials.model import AwardingBody
from vitne.credentials.trust_anchors import require_form
from vitne.errors import FailedPrecondition, InvalidArgument
from vitne.runtime.certificates import Certificates

_log: Final = logging.getLogger(__name__)


class TokenCertificates:
    """Answers what a token carries as ``x5c``.

    Args:
        certificates: of signing keys.
        organisations: whose tokens carry them.
        clock: a certificate that has ended is none.
    """

    def __init__(self, certificates: Certificates, organisations: Collection[str], clock: Clock) -> None:
        self._certificates = certificates
        self._organisations = organisations
        self._clock = clock
        #: Why a key's tokens go out without, as it was logged.
        self._missed: dict[str, str] = {}

    async def of(self, signer: Signer, body: AwardingBody, issued_at: datetime) -> tuple[Certificate, ...]:
        """The chain of a key without its anchor; empty where there is none that readers could use.

        Args:
            signer: the key.
            body: whose it is.
            issued_at: of the credential, which may be older than the token: verifiers ask whether the chain held then.
        """
        if str(body.id) not in self._organisations:
            return ()
        try:
            chain = carried(await self._certificates.chain(signer, body))
            if not chain:
                return self._without(signer, "CHAIN_NOT_CARRIED", logging.WARNING)
            require_form(chain, at=self._clock.now(), body=body.id, issuer_uri=body.issuer_uri)
        except FailedPrecondition as error:
            return self._without(signer, error.reason, logging.INFO)
        except InvalidArgument as error:
            return self._without(signer, error.reason, logging.WARNING)
        self._missed.pop(signer.key_id, None)
        if any(issued_at < one.parsed.not_valid_before_utc for one in chain):
            return ()  # The credential is older than a renewed certificate: nothing that an operator could mend.
        return chain

    def _without(self, signer: Signer, reason: str, level: int) -> tuple[Certificate, ...]:
        """None, which the log says when it begins, or its reason changes."""
        if self._missed.get(signer.key_id) != reason:
            self._missed[signer.key_id] = reason
            _log.log(level, "tokens carry no certificates", extra={"key": signer.key_id, "reason": reason})
        return ()
