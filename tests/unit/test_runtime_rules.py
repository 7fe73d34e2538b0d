"""The rules of the contract: what passes, what is refused, and how it is named."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime_probe import Everything, Part, WithMap, everything
from vitne.canonical import b64url
from vitne.errors import InvalidArgument
from vitne.runtime.rules import MAX_VIOLATIONS, check_rules, compile_rules
from vitne.runtime.status import RuleViolations
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2_grpc
from vitne_api.registry.v1 import registry_pb2, registry_pb2_grpc
from vitne_api.verifier.v1 import verifier_pb2_grpc

UUID = "01930f6e-7a00-7000-8000-00000000a001"


def refusals(message: Any, prefix: str = "") -> list[tuple[str, str]]:
    """(field, reason) of every violation; empty when the message passes."""
    try:
        check_rules(message, prefix)
    except RuleViolations as error:
        return [(violation.field, violation.reason) for violation in error.violations]
    return []


def test_a_sound_message_passes() -> None:
    assert refusals(everything()) == []


GOOD = {
    "uuid": [UUID],
    "organisation": ["0192:971035854", "0184:30859480"],
    "language": ["nb", "nn", "se", "da", "en-GB", "zh-Hant-TW", "sl-rozaj-biske", "de-DE-u-co-phonebk", "x-private"],
    "uri": [
        "https://vitne.example/issuers/0184:30859480",
        "http://data.europa.eu/esco/skill/0b0a",
        "https://example.org:8443/a?b=c#d",
        "https://example.org/%C3%A6",
    ],
    "date": ["2026-11-21", "2024-02-29", "0001-01-01"],
    "decimal": ["0", "0.75", "10", "99999.99", "00.5"],
    "country": ["NO", "DK", "SE", "IS", "FO"],
    "term": ["ects", "dk.micro_credential", "no.fagskole.programme", "a.1"],
    "digest": [b64url(bytes(32)), b64url(b"\xff" * 32)],
}
BAD = {
    "uuid": [UUID.upper(), UUID.replace("-", ""), f"{UUID}\n", "{" + UUID + "}", "x"],
    "organisation": ["0192:971035855", "971035854", "9999:971035854", "0192:971 035 854", "0192:971035854\n"],
    "language": ["", "n", "nb_NO", "norsk-bokmål", "nb-", "-nb", "nb\n", "i", "123"],
    "uri": [
        "ftp://example.org/",
        "//example.org/",
        "https:///path",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://@example.org/",
        "https://example.org/a b",
        "https://example.org/æ",
        "https://example.org/%zz",
        "https://example.org:99999/",
        "https://example.org:0/",
        "javascript:alert(1)",
        "https://[::1",
        "https://example.org/\n",
    ],
    "date": ["2026-02-30", "2025-02-29", "2026-11-21T00:00:00Z", "20261121", "0000-01-01", "2026-1-1", "٢٠٢٦-١١-٢١"],
    "decimal": ["-1", "+1", "1e3", "1.", ".5", "1.234", "123456", "1,5", "NaN", "١", "1\n", " 1"],
    "country": ["no", "NOR", "XX", "UK", "N", "NO\n"],
    "term": ["Dk.micro", "dk..micro", ".dk", "dk.", "dk micro", "9a", "dk-micro", "dk.micro\n"],
    "digest": ["A" * 42, "A" * 44, "A" * 43 + "=", "A" * 42 + "B", "+" + "A" * 42, "A" * 43 + "\n"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in GOOD.items() for value in values])
def test_a_value_of_the_format_passes(field: str, value: str) -> None:
    assert refusals(everything(**{field: value})) == []


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD.items() for value in values if value]
)
def test_a_value_without_the_format_is_refused_by_name(field: str, value: str) -> None:
    assert refusals(everything(**{field: value})) == [(field, f"BAD_{field.upper()}")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"needed": ""}, [("needed", "FIELD_REQUIRED")]),
        ({"needed": "abcd"}, [("needed", "TOO_LONG")]),
        ({"needed": "æøå"}, []),  # characters count, not bytes
        ({"needed_part": None}, [("needed_part", "FIELD_REQUIRED")]),
        ({"list": []}, [("list", "FIELD_REQUIRED")]),
        ({"text": None}, [("choice", "ONE_REQUIRED")]),
        ({"text": ""}, []),  # set, though empty
        ({"text": "abcd"}, [("text", "TOO_LONG")]),
        ({"text": None, "chosen": Part(name="abcdef")}, [("chosen.name", "TOO_LONG")]),
        ({"plain": "a" * 1000}, []),
        ({"plain": "a" * 1001}, [("plain", "TOO_LONG")]),
        ({"plain": "a\0b"}, [("plain", "FORBIDDEN_CHARACTER")]),
        ({"blob": b"1234"}, []),
        ({"blob": b"12345"}, [("blob", "TOO_LONG")]),
        ({"number": 10}, []),
        ({"number": 11}, [("number", "TOO_LARGE")]),
        ({"count": 8}, [("count", "TOO_LARGE")]),
        ({"colour": 1}, []),
        ({"colour": 2}, [("colour", "UNDEFINED_ENUM_VALUE")]),
        ({"any_colour": 2}, []),
        ({"uuids": [UUID, "x"]}, [("uuids[1]", "BAD_UUID")]),
        ({"uuids": [UUID, ""]}, [("uuids[1]", "FIELD_REQUIRED")]),
        ({"uuids": ["x", "x", "x"]}, [("uuids", "TOO_MANY_ITEMS")]),
        ({"texts": ["a"] * 100}, []),
        ({"texts": ["a"] * 101}, [("texts", "TOO_MANY_ITEMS")]),
        ({"list": [Part()] * 101}, [("list", "TOO_MANY_ITEMS")]),
        ({"part": Part(parts=[Part(), Part(name="abcdef")])}, [("part.parts[1].name", "TOO_LONG")]),
        ({"at": Timestamp(seconds=253402300799, nanos=999_999_999)}, []),
        ({"at": Timestamp(seconds=253402300800)}, [("at", "BAD_TIMESTAMP")]),
        ({"at": Timestamp(seconds=-62135596801)}, [("at", "BAD_TIMESTAMP")]),
        ({"at": Timestamp(nanos=-1)}, [("at", "BAD_TIMESTAMP")]),
        ({"at": Timestamp(nanos=1_000_000_000)}, [("at", "BAD_TIMESTAMP")]),
    ],
)
def test_each_rule(fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert refusals(everything(**fields)) == expected


def test_every_violation_is_told_up_to_a_bound() -> None:
    message = everything(needed="", number=11, list=[Part(name="abcdef")] * 50)
    told = refusals(message)
    assert len(told) == MAX_VIOLATIONS
    assert {("needed", "FIELD_REQUIRED"), ("number", "TOO_LARGE"), ("list[0].name", "TOO_LONG")} <= set(told)


def test_what_may_be_chosen_is_named_where_nothing_was() -> None:
    with pytest.raises(RuleViolations) as refused:
        check_rules(issuer_pb2.ChangeStatusRequest())
    (change,) = (each for each in refused.value.violations if each.field == "change")
    assert change.remedy == "set it: STATUS_CHANGE_SUSPEND, STATUS_CHANGE_REINSTATE, STATUS_CHANGE_REVOKE"


def test_a_prefix_names_where_the_message_stands() -> None:
    assert refusals(Part(name="abcdef"), prefix="items[3]") == [("items[3].name", "TOO_LONG")]


def test_deep_nesting_is_followed() -> None:
    message = Part(name="abcdef")
    for _ in range(40):
        message = Part(parts=[message])
    assert refusals(message) == [("parts[0]." * 40 + "name", "TOO_LONG")]


def test_a_contract_without_written_rules_is_refused_at_once() -> None:
    with pytest.raises(NotImplementedError, match="map"):
        compile_rules(WithMap.DESCRIPTOR)


@given(st.text(min_size=1, max_size=60), st.sampled_from(sorted(BAD)))
def test_a_refusal_never_repeats_the_value(text: str, field: str) -> None:
    secret = f"Kari {text} Nordmann"
    with pytest.raises(InvalidArgument) as caught:
        check_rules(everything(**{field: secret}))
    assert "Nordmann" not in str(caught.value)
    assert "Nordmann" not in repr(caught.value)


@given(st.dates(min_value=date(1, 1, 1)))
def test_every_date_that_exists_passes(day: date) -> None:
    assert refusals(everything(date=day.isoformat())) == []


@given(st.decimals(min_value=0, max_value=99999, places=2))
def test_every_amount_of_credits_passes(amount: Decimal) -> None:
    assert refusals(everything(decimal=f"{abs(amount):f}")) == []


@given(st.binary(min_size=32, max_size=32))
def test_every_digest_passes(digest: bytes) -> None:
    assert refusals(everything(digest=b64url(digest))) == []


@given(st.binary(max_size=200))
def test_whatever_parses_is_either_passed_or_refused(data: bytes) -> None:
    try:
        message = Everything.FromString(data)
    except DecodeError:
        return
    refusals(message)


def test_the_rules_of_every_method_compile() -> None:
    modules = (issuer_pb2_grpc, ledger_pb2_grpc, registry_pb2_grpc, verifier_pb2_grpc)
    assert all(modules)
    for file in (issuer_pb2.DESCRIPTOR, registry_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                assert compile_rules(method.input_type)


def test_an_issuance_names_the_learners_field_not_the_learner() -> None:
    request = issuer_pb2.IssueRequest(
        request_id=UUID,
        issuance=issuer_pb2.Issuance(
            learner=issuer_pb2.Learner(
                scheme="no.national_id",
                value="1" * 129,
                given_name="Kari",
                family_name="Nordmann",
                birth_date="1990-13-01",
            ),
            achievement_id=UUID,
            achievement_version=1,
            awarded_on=str(date(2026, 11, 21) - timedelta(days=1)),
            retention=credential_pb2.RETENTION_CLASS_ERASABLE,
        ),
    )
    assert refusals(request) == [
        ("issuance.learner.value", "TOO_LONG"),
        ("issuance.learner.birth_date", "BAD_DATE"),
    ]
