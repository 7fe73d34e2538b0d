"""The terms of a share: how long it lasts, what opens it, and what may be done with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.portal.texts import one_line
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound, VitneError

#: Days for which a learner can share; an application takes weeks, a year is for a CV.
LIFETIMES: Final = (1, 7, 30, 90, 365)
#: What a form proposes.
DEFAULT_LIFETIME: Final = 30
#: Wrong codes in a row that lock a link: with :data:`.access.CODE_LENGTH` nobody guesses it in so many.
MAX_WRONG_CODES: Final = 5
#: Credentials in one share, and shares that a learner can have at a time.
MAX_ITEMS: Final = 50
MAX_SHARES: Final = 200
#: Characters of what a learner calls a share, at most: a name, and what for.
MAX_LABEL: Final = 80
#: How long a share that ended stays with its learner, who may renew one that expired.
KEPT_AFTER_END: Final = timedelta(days=30)


class State(StrEnum):
    """Whether a share can be opened."""

    OPEN = "open"
    #: Too many wrong codes: only a new link and code help.
    LOCKED = "locked"
    EXPIRED = "expired"
    #: By the learner; or all that was in it is withdrawn from this portal.
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Terms:
    """When a share opens.

    Attributes:
        id: of the share, UUIDv7.
        created_at: when it was made.
        expires_at: from when on it does not open.
        withdrawn_at: when its learner ended it; None: she did not.
        wrong_codes: in a row.
        items: how many credentials are in it.
    """

    id: UUID
    created_at: datetime
    expires_at: datetime
    withdrawn_at: datetime | None
    wrong_codes: int
    items: int

    def state(self, now: datetime) -> State:
        """Whether it can be opened at an instant."""
        if self.withdrawn_at is not None or not self.items:
            return State.WITHDRAWN
        if self.expires_at <= now:
            return State.EXPIRED
        return State.LOCKED if self.wrong_codes >= MAX_WRONG_CODES else State.OPEN


def lifetime(days: str) -> timedelta:
    """How long a learner wants to share, as her form says it.

    Raises:
        InvalidArgument: ``BAD_LIFETIME``.
    """
    if days not in {str(choice) for choice in LIFETIMES}:
        raise InvalidArgument(
            "BAD_LIFETIME",
            "a share does not last that long",
            field="days",
            rule=f"one of {', '.join(map(str, LIFETIMES))} days",
            remedy="choose one of these",
        )
    return timedelta(days=int(days))


def label(text: str) -> str:
    """What a learner calls a share, as her form says it: on one line; empty where she calls it nothing.

    Raises:
        InvalidArgument: ``LABEL_TOO_LONG``.
    """
    written = one_line(text)
    if len(written) > MAX_LABEL:
        raise InvalidArgument(
            "LABEL_TOO_LONG",
            "what the share is called is too long",
            field="label",
            rule=f"at most {MAX_LABEL} characters",
            remedy="write less",
        )
    return written


def refusal(state: State) -> VitneError:
    """Why a share in this state does not open. It says nothing of what is in it, nor whose it is."""
    if state is State.LOCKED:
        return FailedPrecondition(
            "SHARE_LOCKED",
            "too many wrong codes were given for this link",
            rule=f"{MAX_WRONG_CODES} wrong codes lock a link",
            remedy="ask whoever sent it for a new link and code",
        )
    if state is State.EXPIRED:
        return FailedPrecondition(
            "SHARE_EXPIRED", "this link has expired", remedy="ask whoever sent it to renew the share"
        )
    return FailedPrecondition(
        "SHARE_WITHDRAWN", "what this link led to is not shared any more", remedy="ask whoever sent it"
    )


def unknown() -> NotFound:
    """There is no such share, or it is another learner's: the two are told alike."""
    return NotFound("SHARE_UNKNOWN", "there is no such share", remedy="check the link, or ask whoever sent it")
