"""What an EMP answers: the results that a learner chose, as one ELMO document under the portal's own seal.

The portal restates what issuers have said, and can't sign for them. So each result carries its issuer's own credential
(SD-JWT VC) as an attachment, whose signature, status and accreditation a receiver can check without the portal's word
(docs/decisions/0034).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from services.portal.emrex.envelope import seal
from services.portal.own_key import OwnKey
from services.portal.presentation import read
from services.portal.sharing.presenting import claims_of, present
from services.portal.store import Kept
from vitne.credentials.certificates import Certificate
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import SALT_BYTES, Node
from vitne.credentials.jose import Signer
from vitne.credentials.model import AwardingBody, Credential, Learner
from vitne.errors import InvalidArgument
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, norwegian_birth_date

#: Label of the key in custody: it signs what the EMP answers, and nothing else.
KEY_LABEL: Final = "portal.emrex"
#: Results in one answer, at most: with ten kilobytes each, twenty at worst, clients of ours can read it.
MAX_RESULTS: Final = 100
#: What an attached credential discloses: who she is as the answer says it, and how well she did; never her number.
DISCLOSED: Final = frozenset({"given_name", "family_name", "birthdate", "grade"})
_VALID: Final = "valid"


def answerable(one: Kept) -> bool:
    """Whether a credential can be answered with: it is here, can be read, and is valid as far as the portal knows."""
    return not one.pending and one.status == _VALID and read(one) is not None


def chosen(kept: Sequence[Kept], handles: Collection[str]) -> list[Kept]:
    """What a learner chose, in the order of her choice.

    Raises:
        InvalidArgument: ``NOTHING_PICKED``; ``TOO_MANY_PICKED``; ``CREDENTIAL_NOT_HERS``, also for one that can't be
            answered with.
    """
    if not handles:
        raise InvalidArgument("NOTHING_PICKED", "no credential was picked", field="pick", remedy="pick one")
    if len(handles) > MAX_RESULTS:
        raise InvalidArgument(
            "TOO_MANY_PICKED", "too many credentials at once", field="pick", rule=f"at most {MAX_RESULTS} in one answer"
        )
    own = {one.handle: one for one in kept if answerable(one)}
    if not own.keys() >= set(handles):
        raise InvalidArgument(
            "CREDENTIAL_NOT_HERS", "it is not one of the learner's credentials", field="pick", remedy="begin anew"
        )
    return [own[handle] for handle in dict.fromkeys(handles)]


def forest(kept: Sequence[Kept]) -> list[Node]:
    """Credentials as an ELMO document has them: of one person, and of each institution under one name.

    Issuers write a name as it was then; the document has what the newest of its credentials says. What each issuer
    wrote is in the attached credential. Her national identity number is in neither.
    """
    found = [(credential, one.artefact or "") for one in kept if (credential := read(one)) is not None]
    newest = sorted((credential for credential, _ in found), key=lambda one: one.issued_at)
    learner = _learner(newest)
    bodies: dict[str, AwardingBody] = {str(one.awarding_body.id): one.awarding_body for one in newest}
    return [
        Node(
            replace(credential, learner=learner, awarding_body=bodies[str(credential.awarding_body.id)]),
            original=_original(artefact),
        )
        for credential, artefact in found
    ]


def _learner(credentials: Sequence[Credential]) -> Learner:
    """Whom the document is about; the newest credential last."""
    born = [
        one.learner.birth_date
        or (
            norwegian_birth_date(one.learner.id.value)
            if one.learner.id and one.learner.id.scheme == NORWEGIAN_NATIONAL_ID
            else None
        )
        for one in credentials
    ]
    newest = credentials[-1].learner
    return Learner(
        id=None,
        given_name=newest.given_name,
        family_name=newest.family_name,
        birth_date=next((day for day in reversed(born) if day), None),
    )


def _original(artefact: str) -> str:
    return present(artefact, [claim for claim in claims_of(artefact) if claim in DISCLOSED])


class AnswerSigner(OwnKey):
    """Makes answers, and signs them; clients register its :meth:`certificates`."""

    label = KEY_LABEL

    async def answer(self, kept: Sequence[Kept]) -> str:
        """An envelope with these credentials, which are one learner's.

        Raises:
            InvalidArgument: one says what ELMO can't carry: ``TEXT_NOT_CARRIED`` and its kin.
            FailedPrecondition: ``NO_CERTIFICATE``.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        return await self._made(partial(_sealed, kept))


def _sealed(kept: Sequence[Kept], signer: Signer, chain: tuple[Certificate, ...], now: datetime) -> str:
    return seal(sign(forest(kept), signer, certificates=chain, salt=secrets.token_bytes(SALT_BYTES), at=now))
