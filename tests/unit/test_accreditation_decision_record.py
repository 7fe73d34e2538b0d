"""The decision record of RECORDS.md, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vitne.accreditation import DecisionOutcome, record_of
from vitne.errors import FailedPrecondition
from vitne.frameworks import Reason, Standing

ALLOWED = DecisionOutcome(
    allowed=True,
    reason=None,
    message="allowed",
    rule="dk.business_academy.micro_credential",
    basis="",
    standing=Standing.PILOT,
    remedy="",
    checks=(),
    accreditation_id="01930f6e-7a00-7000-8000-00000000a001",
    accreditation_revision=3,
    authority="0184:99000007",
    provider="0184:30859480",
    achievement_id="01930f6e-7a00-7000-8000-00000000c001",
    achievement_version=2,
    country="DK",
    framework_version="2026-11-01",
    at=datetime(2026, 11, 21, 10, tzinfo=UTC),
    known_at=4711,
)


def test_the_worked_value_of_records() -> None:
    record = record_of(ALLOWED)
    assert record.record == (
        b'{"accreditation":{"id":"01930f6e-7a00-7000-8000-00000000a001","revision":3},'
        b'"achievement":{"id":"01930f6e-7a00-7000-8000-00000000c001","version":2},"at":"2026-11-21T10:00:00Z",'
        b'"framework":{"country":"DK","version":"2026-11-01"},"outcome":"allowed","provider":"0184:30859480",'
        b'"registry_revision":4711,"rule":"dk.business_academy.micro_credential"}'
    )
    assert record.digest == "VhkMNUBmzZoorVxLPO0ZFsx2GMQWJkvUmugbN9NN7Io"


def test_the_message_carries_the_record_and_its_references() -> None:
    message = record_of(ALLOWED).to_proto()
    assert message.digest == "VhkMNUBmzZoorVxLPO0ZFsx2GMQWJkvUmugbN9NN7Io"
    assert (message.accreditation_id, message.accreditation_revision) == (ALLOWED.accreditation_id, 3)
    assert message.rule == "dk.business_academy.micro_credential"
    assert message.at.ToDatetime(tzinfo=UTC) == ALLOWED.at


def test_a_refusal_has_no_record() -> None:
    refused = ALLOWED._replace(allowed=False, reason=Reason.SIZE_BELOW_MINIMUM, remedy="make it larger")
    with pytest.raises(FailedPrecondition) as caught:
        record_of(refused)
    assert caught.value.reason == "SIZE_BELOW_MINIMUM"
    assert caught.value.rule == "dk.business_academy.micro_credential"
    assert caught.value.remedy == "make it larger"
