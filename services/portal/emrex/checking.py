"""What is checked of results that came from an EMP, before anybody is shown them. Pure; takes tens of milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from services.portal.emrex.envelope import unseal
from services.portal.emrex.person import Match, Name, match
from services.portal.emrex.providers import DataProvider
from services.portal.emrex.results import read, stated
from vitne.credentials.elmo.signature import parse_signed
from vitne.errors import InvalidArgument, Unauthenticated

#: A document is made as it is fetched. EMPs' clocks are not ours, and some make it before she has chosen.
MAX_AGE: Final = timedelta(days=1)
MAX_AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose results are awaited, and from whom.

    Attributes:
        provider: that the learner chose.
        birth_date: hers.
        names: hers, as far as known.
        is_hers: whether a Norwegian national identity number is hers.
    """

    provider: DataProvider
    birth_date: date = field(repr=False)
    names: Sequence[Name] = field(repr=False)
    is_hers: Callable[[str], bool] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Received:
    """Results that hold.

    Attributes:
        document: ELMO, as it was signed.
        match: how sure it is that they are hers.
    """

    document: bytes = field(repr=False)
    match: Match


def check(envelope: str, expected: Expected, now: datetime) -> Received:
    """Open an envelope, and believe its results only if they hold.

    Args:
        envelope: the field ``elmo`` of an answer.
        expected: whose they have to be.
        now: when they came.

    Raises:
        InvalidArgument: what :func:`~services.portal.emrex.envelope.unseal`,
            :func:`~vitne.credentials.elmo.signature.parse_signed` and :func:`~services.portal.emrex.results.read`
            refuse; ``ELMO_STALE``.
        Unauthenticated: ``EMP_KEY_UNKNOWN``: it is signed with another key than is registered for the EMP;
            ``EMP_SIGNATURE_WRONG``.
        PermissionDenied: ``OTHER_PERSON``.
    """
    document = unseal(envelope)
    signed = parse_signed(document)
    # The registered key decides; the certificate beside the signature only has to be of it.
    if not expected.provider.signed_with(signed.certificates[0]):
        raise Unauthenticated(
            "EMP_KEY_UNKNOWN",
            "the results are signed with another key than the data provider has registered",
            rule="the key of the data provider's entry",
            remedy="ask the data provider; its entry here may be old",
        )
    if not signed.verified():
        raise Unauthenticated(
            "EMP_SIGNATURE_WRONG",
            "the signature does not hold: the results were changed after they were signed",
            rule="EMREX ELMO 1.7, Signature",
            remedy="fetch the results again",
        )
    made = signed.document.generated_at
    if not now - MAX_AGE <= made <= now + MAX_AHEAD:
        raise InvalidArgument(
            "ELMO_STALE",
            "the results were not put together now",
            field="elmo/generatedDate",
            rule=f"at most {MAX_AGE} ago",
            remedy="fetch the results again",
        )
    results = read(signed.document)
    person = stated(signed.document, results, country=expected.provider.country, is_hers=expected.is_hers)
    return Received(document, match(person, birth_date=expected.birth_date, names=expected.names))
