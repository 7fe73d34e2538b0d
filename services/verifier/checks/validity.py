"""Do its dates hold now, and agree with each other?"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from services.verifier.checks.names import FAILED, PASSED, VALIDITY, Check
from vitne.credentials.model import Credential

#: How far ahead of ours an issuer's clock may be.
CLOCK_SKEW: Final = timedelta(seconds=60)
#: A day in the provider's time zone may be a day ahead of UTC's.
TIME_ZONES: Final = timedelta(days=1)


def check_validity(credential: Credential, now: datetime) -> Check:
    """Issued in the past, awarded before it was issued, not expired."""
    issued, awarded, expires = credential.issued_at, credential.awarded_on, credential.expires_on
    evidence = f"iat {issued:%Y-%m-%dT%H:%M:%SZ}" + (f", exp {expires}" if expires else "")
    if issued > now + CLOCK_SKEW:
        return Check(VALIDITY, FAILED, "it says to be issued in the future", evidence)
    if awarded > (issued + TIME_ZONES).date():
        return Check(VALIDITY, FAILED, f"it was awarded on {awarded}, after it was issued", evidence)
    if expires is not None and now >= datetime.combine(expires, time(), UTC):
        return Check(VALIDITY, FAILED, f"it expired on {expires}", evidence)
    until = f"until {expires}" if expires else "without end"
    return Check(VALIDITY, PASSED, f"issued on {issued:%Y-%m-%d}, valid {until}", evidence)
