"""What is known of a credential's status over time, and of what its learner did with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from services.portal.local_time import local_date
from services.portal.store import Kept
from vitne.credentials.model import Credential

#: A status in which a credential is issued: that it had it is no news.
_FIRST: Final = "valid"


def history(kept: Kept, credential: Credential, today: date, taken: Sequence[datetime] = ()) -> list[tuple[str, str]]:
    """Days (ISO 8601, in Norway) and names of texts, oldest first: issued, told since, and running out.

    Args:
        kept: what the portal has.
        credential: what it says.
        today: decides what has expired.
        taken: when it was taken over to wallets.
    """
    told = [
        (local_date(moment).isoformat(), f"status_{status}")
        for number, (status, moment) in enumerate(kept.history)
        if number or status != _FIRST
    ]
    lines = [(local_date(credential.issued_at).isoformat(), "history_issued"), *told]
    lines += [(local_date(moment).isoformat(), "history_wallet") for moment in taken]
    if credential.expires_on is not None:
        ran_out = credential.expires_on <= today
        lines.append((credential.expires_on.isoformat(), "status_expired" if ran_out else "history_expires"))
    return sorted(lines, key=lambda line: line[0])
