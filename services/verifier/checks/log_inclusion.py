"""Is its issuance in the append-only log, under a checkpoint that the operator signed?

A leaf is integrated within a second or two. Without it nothing is *valid*: while it
may still be on its way, and later, when it should be there, the answer is *not
determinable*, since absence can't be proved to us, and a log that lags or hides a leaf
must not make a true credential false. Where the issuer's key may be known to others,
what is not in the log is invalid, and so is what came into it after that was told: the
log alone tells a credential of before from one that was dated back. It orders its
leaves; when one was there, its witnesses say. What they saw before the key may have been
known is older, and of what came between that and the news nothing is determinable.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from services.verifier.checks.names import FAILED, LOG_INCLUSION, NOT_DETERMINABLE, PASSED, Check, told
from services.verifier.evidence import Inclusion
from services.verifier.presented import Presented
from vitne.canonical import from_b64url
from vitne.errors import NotFound, VitneError
from vitne.merkle.leaves import Issued

#: How long after issuance a leaf may still be on its way; past it, its absence is told in other words.
GRACE: Final = timedelta(minutes=1)


def leaf_of(presentation: Presented) -> bytes:
    """The leaf hash by which the log knows an issuance; whatever is disclosed, it is the same."""
    return Issued(from_b64url(presentation.digest)).leaf_hash()


def check_log_inclusion(
    presentation: Presented,
    found: Inclusion | VitneError,
    now: datetime,
    *,
    compromised_from: datetime | None,
    told_at: Inclusion | VitneError | None = None,
) -> Check:
    """Tell whether the issuance was proved to be in the log.

    Args:
        presentation: what is verified.
        found: where its issuance is.
        now: the present instant.
        compromised_from: from when others may know the key; None: nobody else does.
        told_at: where the fact that says so is, looked up after ``found``; None where nothing was looked up.
    """
    evidence = f"leaf {leaf_of(presentation).hex()}"
    if isinstance(found, NotFound):
        return _absent(presentation.credential.issued_at, now, evidence, compromised=compromised_from is not None)
    if isinstance(found, VitneError):
        return Check(LOG_INCLUSION, NOT_DETERMINABLE, f"the log proved nothing: {told(found)}", evidence)
    tree = found.checkpoint
    where = f"{tree.origin}, {tree.size} leaves, root {tree.root.hex()}"
    if compromised_from is None:
        return Check(LOG_INCLUSION, PASSED, f"its issuance is leaf {found.index} of the log", where)
    if isinstance(told_at, Inclusion) and found.place > told_at.place:
        detail = "its issuance came into the log after it was told that others may know the key: it was dated back"
        return Check(LOG_INCLUSION, FAILED, detail, evidence)
    since = f"{compromised_from:%Y-%m-%d %H:%M:%S} UTC"
    if found.seen is None:
        detail = f"it is in the log, and without its witnesses nobody says whether it was before {since}"
        return Check(LOG_INCLUSION, NOT_DETERMINABLE, detail, where)
    if found.seen > compromised_from:
        detail = f"it is in the log, and no witnesses saw it there by {since}, from when others may know the key"
        return Check(LOG_INCLUSION, NOT_DETERMINABLE, detail, where)
    seen = f"{found.seen:%Y-%m-%d %H:%M:%S} UTC"
    detail = f"its issuance is leaf {found.index} of the log, where witnesses had seen it by {seen}"
    return Check(LOG_INCLUSION, PASSED, detail, where)


def _absent(issued: datetime, now: datetime, evidence: str, *, compromised: bool) -> Check:
    if compromised:
        detail = "its issuance is not in the log, and others may know the key: it may have been dated back"
        return Check(LOG_INCLUSION, FAILED, detail, evidence)
    if now - issued <= GRACE:
        detail = "its issuance is not in the log yet; try again in a second or two"
    else:
        detail = "its issuance is not in the log, where it should be by now"
    return Check(LOG_INCLUSION, NOT_DETERMINABLE, detail, evidence)
