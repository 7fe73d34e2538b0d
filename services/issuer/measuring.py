"""How long issuances take and how they come out, whichever way they were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.issuer.metrics import FAILED, ISSUE_CREDENTIALS, ISSUE_DURATION, ISSUED, REFUSED
from vitne.clock import Clock
from vitne.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, VitneError
from vitne.runtime.interceptors.deadline import remaining_seconds

#: What is final: the request is at fault, or the rules say no. All else is ours to mend.
FINAL: Final = (AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied)


@contextmanager
def measured_issue(mode: str, clock: Clock) -> Iterator[None]:
    """Measure one issuance. One whose caller went away is no outcome; one whose deadline passed has failed."""
    began = clock.monotonic()
    try:
        yield
    except asyncio.CancelledError:
        if remaining_seconds() == 0:
            _record(mode, FAILED, clock.monotonic() - began)
        raise
    except Exception as error:
        _record(mode, REFUSED if isinstance(error, FINAL) else FAILED, clock.monotonic() - began)
        raise
    _record(mode, ISSUED, clock.monotonic() - began)


def refused_at_once(error: VitneError) -> None:
    """Count an item of a batch that never came on the road."""
    ISSUE_CREDENTIALS.add(1, REFUSED if isinstance(error, FINAL) else FAILED)


def _record(mode: str, outcome: str, seconds: float) -> None:
    ISSUE_DURATION.record(seconds, mode, outcome)
    ISSUE_CREDENTIALS.add(1, outcome)
