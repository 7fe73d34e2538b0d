"""The terms of an offer to a wallet: how long it lasts, what may be offered, and why not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.portal.store import Kept
from vitne.credentials.model import Credential
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound, Unauthenticated, Unavailable

#: For how long a wallet may ask with an offer: time to unlock a phone and to type a code.
OFFER_LIFETIME: Final = timedelta(minutes=10)
#: For how long a wallet that gave the codes may fetch, again too where an answer was lost.
TOKEN_LIFETIME: Final = timedelta(minutes=5)
#: Transaction codes that may be tried; the last wrong one ends the offer.
MAX_TRIES: Final = 5
#: Offers that a learner can make within :data:`A_DAY`.
MAX_OFFERS: Final = 20
A_DAY: Final = timedelta(days=1)
#: The only status in which a credential is handed over.
_VALID: Final = "valid"


class State(StrEnum):
    """How it stands with an offer."""

    #: A wallet can ask with it.
    OPEN = "open"
    #: A wallet has given the codes and may fetch.
    REDEEMED = "redeemed"
    TAKEN = "taken"
    #: Too many wrong transaction codes; until it would have expired.
    LOCKED = "locked"
    EXPIRED = "expired"
    #: By the learner, or by the next offer of the same credential.
    ENDED = "ended"


#: States in which a wallet can get something still: she can end such an offer.
LIVE: Final = (State.OPEN, State.REDEEMED)


class Obstacle(StrEnum):
    """Why a credential can't be taken over to a wallet."""

    #: The provider does not let it be.
    NOT_OFFERED = "not_offered"
    #: The registry does not answer, so nobody can say whether the provider does.
    NOT_KNOWN = "not_known"
    #: It, or what became of it since, is not here yet.
    FETCHING = "fetching"
    #: It can't be read here.
    UNREADABLE = "unreadable"
    #: It is suspended, revoked, or expired, or its status is not known.
    NOT_VALID = "not_valid"
    #: It was issued for the key of one wallet: in another one it would prove nothing.
    BOUND = "bound"


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer as its learner sees it.

    Attributes:
        id: UUIDv7.
        handle: of the credential.
        reference_hash: tells her browser's reference from others.
        made_at: when she made it.
        expires_at: from when on no wallet can ask with it.
        tries: of transaction codes.
        token_expires_at: until when the wallet that gave the codes may fetch; None: none did.
        taken_at: when it was handed over; None: it was not.
        ended_at: when she ended it; None: she did not.
    """

    id: UUID
    handle: str
    reference_hash: bytes
    made_at: datetime
    expires_at: datetime
    tries: int
    token_expires_at: datetime | None
    taken_at: datetime | None
    ended_at: datetime | None

    def state(self, now: datetime) -> State:
        """How it stands with it at an instant."""
        if self.taken_at is not None:
            return State.TAKEN
        if self.ended_at is not None:
            return State.ENDED
        if self.token_expires_at is not None:
            return State.REDEEMED if now < self.token_expires_at else State.EXPIRED
        if now >= self.expires_at:
            return State.EXPIRED
        return State.LOCKED if self.tries >= MAX_TRIES else State.OPEN


def obstacle(kept: Kept, credential: Credential | None, today: date) -> Obstacle | None:
    """What keeps a credential from being taken over, whatever its provider says; None: nothing does.

    Args:
        kept: what the portal has of it.
        credential: what that says; None where it can't be read.
        today: decides what has expired.
    """
    if kept.unreadable:
        return Obstacle.UNREADABLE
    if kept.pending or kept.artefact is None:
        return Obstacle.FETCHING
    if credential is None:
        return Obstacle.UNREADABLE
    if kept.status != _VALID or (credential.expires_on is not None and credential.expires_on <= today):
        return Obstacle.NOT_VALID
    return Obstacle.BOUND if credential.holder is not None else None


def not_transferable(why: Obstacle) -> FailedPrecondition:
    """Why a credential is not handed over."""
    return FailedPrecondition(
        "NOT_TRANSFERABLE",
        "the credential can't be taken over to a wallet",
        rule="valid, bound to no key, and of a provider that offers it",
        remedy="look at the credential's page",
        metadata={"cause": why.value},
    )


def not_yet() -> Unavailable:
    """The credential will be here in a moment: a wallet asks again, with the same access token."""
    return Unavailable(
        "WALLET_CREDENTIAL_NOT_YET", "the credential is being fetched", remedy="ask again in a few seconds"
    )


def bad_grant() -> InvalidArgument:
    """A code that opens nothing: unknown, used, expired, ended, or with a wrong transaction code."""
    return InvalidArgument(
        "WALLET_GRANT_REFUSED",
        "the pre-authorized code or the transaction code is not right, or not any more",
        field="pre-authorized_code",
        rule=f"a code is used once, within {OFFER_LIFETIME}, with at most {MAX_TRIES} transaction codes",
        remedy="make a new offer at the portal",
    )


def bad_token() -> Unauthenticated:
    """An access token that opens nothing (any more)."""
    return Unauthenticated(
        "WALLET_TOKEN_REFUSED", "the access token is unknown, or not valid any more", remedy="make a new offer"
    )


def unknown_offer() -> NotFound:
    """There is no such offer, it is over, or another learner's: all told alike."""
    return NotFound("WALLET_OFFER_UNKNOWN", "there is no such offer (any more)", remedy="make a new one at the portal")
