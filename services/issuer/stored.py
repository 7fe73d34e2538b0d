"""A credential as the store has it, together with the learner whose key opens it."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.issuer.learners import Learner
from services.issuer.store import Credential
from vitne.credentials.sd_jwt import Prepared


@dataclass(frozen=True, slots=True)
class Stored:
    """A credential that is stored, pending or issued, and its learner."""

    credential: Credential
    learner: Learner
    #: What is, or was, to be signed, where that is at hand; else the credential has it sealed.
    prepared: Prepared | None = field(default=None, repr=False)

    def open(self) -> Prepared:
        """What is, or was, to be signed.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return self.prepared or self.credential.open(self.learner.key)
