"""What the harness found, each as the smallest scenario that showed it."""

from __future__ import annotations

import pytest

from tests.faults.sim.grounds import Grounds
from tests.faults.sim.plan import Operation, Scenario
from tests.faults.sim.runner import run
from tests.faults.sim.scheduler import Fault

pytestmark = pytest.mark.timeout(900)


def agrees(grounds: Grounds, *steps: Operation | Fault, seed: int = 1) -> None:
    """The scenario ends with everything in agreement, and every fault of it did happen."""
    faults = [step for step in steps if isinstance(step, Fault)]
    operations = [step for step in steps if isinstance(step, Operation)]
    outcome = run(grounds, Scenario(seed, operations, faults))
    assert outcome.disagreements == []
    assert sum(outcome.tally.faults.values()) == len(faults)


def test_suspended_reinstated_and_suspended_within_a_millisecond_is_three_leaves(grounds: Grounds) -> None:
    """The first and the third leaf were equal, so the log kept one: it ended with *valid* for what was suspended."""
    agrees(
        grounds,
        Operation(1000, 0, "issue", (0,)),
        Operation(2000, 1, "change", of=0, change="suspend reinstate suspend"),
    )


def test_changes_after_the_ledgers_clock_was_set_back_have_leaves_of_their_own(grounds: Grounds) -> None:
    """The same in earnest: with its clock set back, the ledger recorded each change at the instant of the last."""
    agrees(
        grounds,
        Operation(1000, 0, "issue", (0,)),
        Operation(2000, 1, "change", of=0, change="suspend"),
        Fault("time", 4000, "clock", "ledger-1", -400.0),
        Fault("time", 4001, "clock", "ledger-2", -400.0),
        Operation(5000, 2, "change", of=0, change="reinstate suspend reinstate suspend"),
    )


def test_a_ledger_whose_clock_is_behind_revokes_what_was_just_issued(grounds: Grounds) -> None:
    """It refused with EFFECTIVE_BEFORE_ISSUANCE, though nobody had named an instant."""
    agrees(
        grounds,
        Fault("time", 500, "clock", "ledger-1", -30.0),
        Fault("time", 501, "clock", "ledger-2", -30.0),
        Operation(1000, 0, "issue", (0,)),
        Operation(2000, 1, "change", of=0, change="revoke"),
    )


def test_a_portal_whose_clock_was_ahead_leaves_nothing_behind_that_is_due_in_an_hour(grounds: Grounds) -> None:
    """What its fetcher had claimed, or was told of, waited until everybody's clock was there."""
    agrees(
        grounds,
        Operation(500, 0, "register", (0,)),
        Fault("time", 900, "clock", "portal-1", 4000.0),
        Fault("time", 901, "clock", "portal-2", 4000.0),
        Operation(1000, 1, "batch", (0, 0, 0)),
        Fault("portal.rpc", 2, "lost_after"),
        Fault("time", 1600, "kill", "portal-1", 3.0),
        Fault("time", 1601, "kill", "portal-2", 3.0),
    )


def test_a_list_that_was_signed_by_a_clock_ahead_is_signed_again(grounds: Grounds) -> None:
    """Dated later than now, no relying party took it until its date had come."""
    agrees(
        grounds,
        Fault("time", 500, "clock", "ledger-1", 4000.0),
        Fault("time", 501, "clock", "ledger-2", 4000.0),
        Operation(1000, 0, "issue", (0,)),
        Operation(2000, 1, "change", of=0, change="suspend"),
    )
