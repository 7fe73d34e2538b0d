"""The verifier's answers: the bytes that are served are the documented model's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.verifier.answers import VerifyAnswer, check_lines, to_json, to_json_bytes
from services.verifier.checks.names import Check, skipped
from services.verifier.verification import Verification
from vitne_api.credential.v1 import credential_pb2
from vitne_api.verifier.v1 import verifier_pb2


@pytest.mark.parametrize("detail", ["fine", 'Bestått – "ja"\n\u2028', "\x7f\u00e5\U0001f393"])
def test_what_is_served_is_what_is_documented(detail: str) -> None:
    verification = Verification(
        verifier_pb2.VERDICT_VALID_WITH_NOTES,
        f"valid: {detail}",
        (
            Check("structure", credential_pb2.Check.OUTCOME_PASSED, detail, ""),
            Check("status_list", credential_pb2.Check.OUTCOME_NOT_DETERMINABLE, detail, "https://status.example/1"),
        ),
        datetime(2026, 11, 22, 1, 2, 3, 4000, UTC),
        4711,
    )
    assert to_json_bytes(verification) == to_json(verification).model_dump_json().encode()
    assert VerifyAnswer.model_validate_json(to_json_bytes(verification)) == to_json(verification)


def test_what_was_not_looked_at_for_one_reason_shares_a_line_that_names_it() -> None:
    checks = [
        Check("structure", credential_pb2.Check.OUTCOME_PASSED, "it can be read", "vct"),
        skipped("issuer", "signature decided"),
        Check("signature", credential_pb2.Check.OUTCOME_FAILED, "it does not hold", ""),
        skipped("catalogue", "there is none"),
        skipped("decision", "signature decided"),
    ]
    assert list(check_lines(checks, verbose=False)) == [
        "  passed           structure: it can be read",
        "                   vct",
        "  skipped          issuer, decision: not looked at, since signature decided",
        "  failed           signature: it does not hold",
        "  skipped          catalogue: not looked at, since there is none",
    ]
    each = list(check_lines(checks, verbose=True))
    assert len(each) == 6
    assert each[-1] == "  skipped          decision: not looked at, since signature decided"
