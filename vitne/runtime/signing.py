"""Signatures, measured: how long custody takes, by what it signs."""

from __future__ import annotations

import time

from vitne.credentials.jose import Signer
from vitne.runtime.metrics import SIGN_DURATION
from vitne.runtime.telemetry import step


class MeasuredSigner:
    """A signer that takes down how long it takes; in a call that is traced, as a step of it.

    Args:
        signer: signs.
        purpose: what: ``credential``, ``status_list``, ``checkpoint``, ``trust_list``.
    """

    __slots__ = ("_purpose", "_signer")

    def __init__(self, signer: Signer, purpose: str) -> None:
        self._signer = signer
        self._purpose = purpose

    @property
    def key_id(self) -> str:
        """See :class:`Signer`."""
        return self._signer.key_id

    @property
    def algorithm(self) -> str:
        """See :class:`Signer`."""
        return self._signer.algorithm

    @property
    def public_jwk(self) -> dict[str, str]:
        """See :class:`Signer`."""
        return self._signer.public_jwk

    def sign(self, data: bytes) -> bytes:
        """See :class:`Signer`."""
        with step("sign", {"vitne.purpose": self._purpose}):
            began = time.perf_counter()
            signature = self._signer.sign(data)
            SIGN_DURATION.record(time.perf_counter() - began, self._purpose)
        return signature
