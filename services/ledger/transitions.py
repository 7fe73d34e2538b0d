"""What may become of a status: the state machine, without any I/O.

::

    valid --suspend--> suspended --reinstate--> valid
    valid, suspended --revoke--> revoked   (final)

Time goes forward: a change holds from ``effective`` on, which is neither later
than its recording, nor earlier than the issuance or the change before it. Each
change of a status is recorded at an instant of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from vitne.errors import FailedPrecondition, InvalidArgument


class Status(Enum):
    """A status, with its value in a Token Status List (draft-20, section 7.1)."""

    VALID = 0x00
    REVOKED = 0x01
    SUSPENDED = 0x02


class Change(Enum):
    """What somebody asks to happen to a status."""

    SUSPEND = "suspend"
    REINSTATE = "reinstate"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class Standing:
    """A status that somebody set: from when it holds, and when that was recorded."""

    status: Status
    effective: datetime
    recorded: datetime


#: What instants are told apart by.
TICK: Final = timedelta(milliseconds=1)

_LEADS_TO: Final = {
    (Status.VALID, Change.SUSPEND): Status.SUSPENDED,
    (Status.SUSPENDED, Change.REINSTATE): Status.VALID,
    (Status.VALID, Change.REVOKE): Status.REVOKED,
    (Status.SUSPENDED, Change.REVOKE): Status.REVOKED,
}
_RULE: Final = "valid can be suspended, suspended reinstated, either revoked; revoked is final"


def change_status(
    current: Standing | None,
    change: Change,
    *,
    now: datetime,
    effective: datetime | None = None,
    issued_at: datetime | None = None,
) -> Standing:
    """The standing after a change; ``current`` itself where the change says nothing new.

    Revoking what is revoked is answered with the first revocation, whoever asks
    and whatever possible ``effective`` they name: it is final, and so is since when.

    Args:
        current: what was set last; None: never touched, so valid.
        change: what is to happen.
        now: the present instant.
        effective: from when it is to hold; None: from its recording.
        issued_at: the credential's issuance, to which ``effective`` is held; None: not known, not checked.

    Raises:
        InvalidArgument: ``EFFECTIVE_IN_FUTURE``, ``EFFECTIVE_BEFORE_ISSUANCE``.
        FailedPrecondition: ``STATUS_FINAL``, ``STATUS_CONTRADICTS``, ``EFFECTIVE_BEFORE_LAST_CHANGE``.
    """
    # A clock that was set back does not put history out of order, and two changes never are the same leaf of the log.
    recorded = max(now, current.recorded + TICK) if current else now
    # An issuer whose clock is ahead of ours is no reason to leave a credential in force, nor to record what is to come.
    _check_times(effective or recorded, recorded, issued_at if effective else None)
    before = current.status if current else Status.VALID
    if before is Status.REVOKED and current is not None:
        if change is Change.REVOKE:
            return current
        raise FailedPrecondition(
            "STATUS_FINAL",
            f"the credential is revoked: {change.value} is not possible any more",
            field="change",
            rule=_RULE,
            remedy="issue a new credential; what may count again is suspended, not revoked",
        )
    after = _LEADS_TO.get((before, change))
    if after is None:
        raise FailedPrecondition(
            "STATUS_CONTRADICTS",
            f"the credential is {before.name.lower()}: {change.value} contradicts that",
            field="change",
            rule=_RULE,
            remedy="read the credential's status; repeat a request with its own request_id to get its first answer",
        )
    if current is not None and (effective or recorded) < current.effective:
        raise FailedPrecondition(
            "EFFECTIVE_BEFORE_LAST_CHANGE",
            "the change would hold from before the last one",
            field="effective",
            rule="changes of a status follow each other in time",
            remedy="give an instant at or after the last change, or leave effective out",
        )
    return Standing(after, effective or recorded, recorded)


def _check_times(effective: datetime, recorded: datetime, issued_at: datetime | None) -> None:
    if effective > recorded:
        raise InvalidArgument(
            "EFFECTIVE_IN_FUTURE",
            "a status can't be set to change later",
            field="effective",
            rule="effective is not after the recording",
            remedy="leave effective out, or send the change when it is to hold; check your clock",
        )
    if issued_at is not None and effective < issued_at:
        raise InvalidArgument(
            "EFFECTIVE_BEFORE_ISSUANCE",
            "the change would hold from before the credential was issued",
            field="effective",
            rule="effective is not before issued_at",
            remedy="give an instant at or after the issuance",
        )
