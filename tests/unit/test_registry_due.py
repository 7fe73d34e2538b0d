"""Which accreditations end soon."""

from __future__ import annotations

from datetime import timedelta

from services.registry.due import DueWatch, due
from tests.unit.accreditation_samples import FAGSKOLE, NOW, PRIVATE, UCL, UIO, WITHDRAWN, Chronicle, scope, uuid
from tests.unit.declared_metrics import samples
from vitne.accreditation import timestamp
from vitne.clock import ManualClock

COVERED = scope("no.micro_credential")
DUE = "vitne_registry_accreditations_due"


def _chronicle() -> Chronicle:
    """Ends in 10 days, 89, 91, never; ended yesterday; withdrawn; of a closed provider; prolonged."""
    chronicle = Chronicle()
    chronicle.authority()
    for provider in (UIO, FAGSKOLE, PRIVATE):
        chronicle.provider(provider)
    chronicle.provider(UCL, closed_at=timestamp(NOW - timedelta(days=1)))
    for number, days in enumerate((10, 89, 91, None, -1), start=1):
        until = None if days is None else NOW + timedelta(days=days)
        chronicle.accredit(UIO, "no.x", COVERED, accreditation=number, valid_until=until)
    chronicle.accredit(FAGSKOLE, "no.x", COVERED, accreditation=6, valid_until=NOW + timedelta(days=5))
    chronicle.accredit(
        FAGSKOLE, "no.x", COVERED, accreditation=6, revision=2, state=WITHDRAWN, valid_until=NOW + timedelta(days=5)
    )
    chronicle.accredit(UCL, "no.x", COVERED, accreditation=7, valid_until=NOW + timedelta(days=5))
    chronicle.accredit(PRIVATE, "no.x", COVERED, accreditation=8, valid_until=NOW + timedelta(days=5))
    chronicle.accredit(
        PRIVATE, "no.x", COVERED, accreditation=8, revision=2, valid_until=NOW + timedelta(days=500), effective_from=NOW
    )
    return chronicle


def test_what_ends_within_the_time_and_nothing_else() -> None:
    found = list(due(_chronicle().projection(), NOW, timedelta(days=90)))
    assert [(each.accreditation, each.days) for each in found] == [(uuid(1), 10), (uuid(2), 89)]
    first = found[0]
    assert (first.provider, first.provider_name, first.state, first.revision) == (UIO, "Provider", "granted", 1)
    assert (first.due, first.due_at) == ("end", "2026-12-01T10:00:00Z")


def test_the_last_day_counts() -> None:
    projection = _chronicle().projection()
    assert [each.days for each in due(projection, NOW, timedelta(days=10))] == [10]
    assert list(due(projection, NOW, timedelta(days=9, hours=23))) == []


def test_the_number_is_told_once_everything_is_known() -> None:
    read = False
    watch = DueWatch(_chronicle().projection(), lambda: read, ManualClock(NOW))
    before = samples(DUE)
    watch.look()
    assert samples(DUE) == before
    read = True
    watch.look()
    assert samples(DUE) == {("30",): 1, ("90",): 2}
