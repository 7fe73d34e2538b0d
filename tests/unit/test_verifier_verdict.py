from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.verifier.checks import names
from services.verifier.checks.names import Check
from services.verifier.verdict import (
    INVALID,
    NOT_DETERMINABLE,
    ON_FAILURE,
    OPTIONAL,
    REVOKED,
    SUSPENDED,
    VALID,
    VALID_WITH_NOTES,
    headline,
    verdict_of,
)

REQUIRED = sorted(ON_FAILURE.keys() - OPTIONAL)
GOOD = {VALID, VALID_WITH_NOTES}
PASSING = [Check(name, names.PASSED, "it holds", "") for name in ON_FAILURE]

check_names = st.sampled_from([*ON_FAILURE, "unheard_of", ""])
check_outcomes = st.integers(0, 9)
checks = st.builds(Check, check_names, check_outcomes, st.just("detail"), st.just(""))


def changed(name: str, outcome: int) -> list[Check]:
    return [Check(name, outcome, "why", "") if check.name == name else check for check in PASSING]  # type: ignore[arg-type]  # any number may come over a wire


def test_all_passed_is_valid() -> None:
    assert verdict_of(PASSING) == VALID
    assert headline(VALID, PASSING, "a credential") == "Valid: a credential."


@given(st.lists(checks, max_size=30))
def test_good_verdicts_need_every_required_check_to_have_held(made: list[Check]) -> None:
    if verdict_of(made) in GOOD:
        held = {check.name for check in made if check.outcome in {names.PASSED, names.NOTE}}
        assert held >= set(REQUIRED)
        assert all(
            check.outcome in {names.PASSED, names.NOTE} or (check.name in OPTIONAL and check.outcome == names.SKIPPED)
            for check in made
        )
        assert all(check.name in ON_FAILURE for check in made)


@given(st.lists(st.sampled_from(PASSING), unique=True).map(lambda made: made + PASSING), checks)
def test_no_further_check_makes_it_better(made: list[Check], further: Check) -> None:
    before = verdict_of(made)
    after = verdict_of([*made, further])
    assert before == VALID
    assert after == VALID or further.outcome != names.PASSED or further.name not in ON_FAILURE


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_or_skipped_check_is_never_valid(name: str) -> None:
    assert verdict_of([check for check in PASSING if check.name != name]) == NOT_DETERMINABLE
    for outcome in (names.SKIPPED, names.NOT_DETERMINABLE, 0, 99):
        assert verdict_of(changed(name, outcome)) == NOT_DETERMINABLE


def test_an_optional_check_may_be_skipped_or_missing_but_not_fail() -> None:
    assert verdict_of(changed(names.CATALOGUE, names.SKIPPED)) == VALID
    assert verdict_of([check for check in PASSING if check.name != names.CATALOGUE]) == VALID
    assert verdict_of(changed(names.CATALOGUE, names.FAILED)) == INVALID
    assert verdict_of(changed(names.CATALOGUE, 0)) == NOT_DETERMINABLE


@pytest.mark.parametrize("name", list(ON_FAILURE))
def test_a_failure_has_the_consequence_of_the_table(name: str) -> None:
    verdict = verdict_of(changed(name, names.FAILED))
    assert verdict == ON_FAILURE[name]
    assert verdict not in GOOD
    assert headline(verdict, changed(name, names.FAILED), "a credential").endswith(": a credential: why.")


def test_the_worst_counts() -> None:
    revoked = Check(names.NOT_REVOKED, names.FAILED, "revoked", "")
    suspended = Check(names.NOT_SUSPENDED, names.FAILED, "suspended", "")
    unknown = Check(names.LOG_INCLUSION, names.NOT_DETERMINABLE, "no proof", "")
    forged = Check(names.SIGNATURE, names.FAILED, "forged", "")
    note = Check(names.ISSUER_KEY, names.NOTE, "retired", "")
    ladder = [
        (note, VALID_WITH_NOTES),
        (unknown, NOT_DETERMINABLE),
        (suspended, SUSPENDED),
        (revoked, REVOKED),
        (forged, INVALID),
    ]
    made = list(PASSING)
    for check, verdict in ladder:
        made.append(check)
        assert verdict_of(made) == verdict
        assert headline(verdict, made, "").endswith(f": {check.detail}.")


def test_a_headline_without_a_deciding_check_says_so() -> None:
    assert headline(NOT_DETERMINABLE, [], "") == "Not determinable: not every check could be made."
