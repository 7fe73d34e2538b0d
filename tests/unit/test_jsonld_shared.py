"""What many documents share is expanded once, and filled in to the same quads as the general path gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.credential_samples import credentials
from tests.unit.european_samples import SALT, full_credential
from vitne.credentials.jsonld import to_rdf as module
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.model import Credential
from vitne.credentials.rdf.terms import Quad
from vitne.credentials.w3c import documents, open_badges
from vitne.errors import InvalidArgument

FULL = full_credential()
BADGE = open_badges.to_document(FULL, salt=SALT)
HOSTILE = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['"', "\\", "\n", "_:b0", '"@nb .\n<urn:a> <urn:b> <urn:c> .', "\u2028", "\U0001f600", "urn:x:y", "@id", "\x00"]
)


def generally(document: dict[str, Any]) -> list[Quad]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SHARED", frozenset())
        return to_rdf(document)


def outcome(read: Callable[[dict[str, Any]], list[Quad]], document: dict[str, Any]) -> list[Quad] | tuple[str, str]:
    try:
        return read(document)
    except InvalidArgument as error:
        return error.reason, error.field


@pytest.mark.parametrize("form", [documents, open_badges])
@given(credential=credentials())
@settings(max_examples=8)
def test_any_credential_has_the_same_quads(form: Any, credential: Credential) -> None:
    try:
        document = form.to_document(credential, salt=SALT)
    except InvalidArgument as error:
        assert error.reason == "EXPIRED_WHEN_ISSUED"  # noqa: PT017 - such a credential has no document
        return
    expected = generally(document)
    assert to_rdf(document) == expected  # made
    assert to_rdf(document) == expected  # filled in


def places(value: Any) -> list[tuple[Any, Any]]:
    steps = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [place for step in steps for place in ((value, step), *places(value[step]))]


@given(st.data())
@settings(max_examples=40)
def test_whatever_stands_there_has_the_same_quads_or_the_same_refusal(data: st.DataObject) -> None:
    document = copy.deepcopy(BADGE)
    for _ in range(data.draw(st.integers(1, 3))):
        subject = document["credentialSubject"]
        container, step = data.draw(
            st.sampled_from([*places(subject["achievement"]), *places(subject["micro_credential"])])
        )
        container[step] = data.draw(
            HOSTILE
            | st.none()
            | st.booleans()
            | st.integers(-(2**70), 2**70)
            | st.floats()
            | st.just({"@id": "_:b1"})
            | st.just({"@graph": {"@id": "urn:x:z"}})
            | st.just({"@value": "x", "@language": "NB"})
            | st.just({"@context": {"x": "urn:x:"}, "x": "y"})
            | st.just([])
            | st.just({})
        )
    expected = outcome(generally, document)
    assert outcome(to_rdf, document) == expected
    assert outcome(to_rdf, document) == expected


def test_two_in_one_document_have_nodes_of_their_own() -> None:
    document = copy.deepcopy(BADGE)
    document["credentialSubject"]["achievement"] = [document["credentialSubject"]["achievement"]] * 2
    quads = to_rdf(document)
    assert quads == generally(document)
    assert len(set(quads)) > len(set(to_rdf(BADGE)))


def test_the_limits_hold_for_what_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(to_rdf(BADGE))
    monkeypatch.setattr(module, "MAX_QUADS", count - 1)
    with pytest.raises(InvalidArgument, match="TOO_LARGE"):
        to_rdf(BADGE)
