"""Officers by names that count in one case alone: facts are public and kept for ever, people's work is not."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from services.registry import store
from vitne.canonical import b64url
from vitne_api.registry.v1 import facts_pb2

#: Random bytes of a name: nobody meets another's by chance.
ALIAS_BYTES: Final = 16


def case_id_of(fact: facts_pb2.Fact) -> str:
    """The case in which an officer did what a fact says."""
    return fact.case_step.id or fact.accreditation.id or fact.provider.closing_case


@dataclass(frozen=True, slots=True)
class Officer:
    """Who acts for an organisation, as the token issuer says.

    Attributes:
        organisation: for which.
        subject: the issuer's opaque name for the person, personal data; empty: nobody in particular.
        case: id of the case at hand; None: it begins with this act.
    """

    organisation: str
    subject: str = field(repr=False)
    case: UUID | None = None

    async def alias(self, conn: Any) -> str:
        """The officer's name in the case: the one that its facts have, or a fresh one; empty for nobody."""
        if not self.subject:
            return ""
        known = None
        if self.case is not None:
            known = await store.officer_alias(conn, self.case, self.organisation, self.subject)
        return known or b64url(secrets.token_bytes(ALIAS_BYTES))

    async def remember(self, conn: Any, fact: facts_pb2.Fact) -> None:
        """Keep whom the fact's officer stands for, in the transaction of the fact."""
        if fact.officer:
            about = case_id_of(fact)
            await store.remember_officer(conn, UUID(about), self.organisation, self.subject, fact.officer)
