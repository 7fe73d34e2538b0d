"""The table of docs/formats.md is true: each element stands where it says, in every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from lxml import etree

from tests.unit.credential_samples import (
    ENTROPY,
    FOREIGN_KEY,
    sample_achievement,
    sample_credential,
    sample_decision,
    texts,
)
from tests.unit.european_samples import SALT, SETTING, full_credential
from tools.formats import PAGE, page
from vitne.canonical import canonical_bytes
from vitne.credentials import elements, places, sd_jwt_vc
from vitne.credentials.claims import plain_claims
from vitne.credentials.elm import document as elm
from vitne.credentials.elm import reading as elm_reading
from vitne.credentials.elmo import reading as elmo_reading
from vitne.credentials.elmo import writing as elmo
from vitne.credentials.elmo.names import ELMO, EXTENSION
from vitne.credentials.formats import PLACES, Format, not_carried
from vitne.credentials.model import Credential, DecisionReference, Learner, StatusReference
from vitne.credentials.places import ELEMENTS, Kind, Standing
from vitne.credentials.w3c import documents, open_badges
from vitne.identifiers import LearnerId, OrganisationId
from vitne_api.credential.v1 import credential_pb2
from vitne_api.credential.v1.credential_pb2 import LocalisedText

# --- Each format, written, read back and looked into ------------------------------------------------


def _json_values(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _json_values(item, path)
    elif not path:
        yield json.dumps(value, sort_keys=True)
    elif isinstance(value, dict):
        name, _, rest = path.partition(".")
        if name in value:
            yield from _json_values(value[name], rest)


def _elmo(credential: Credential) -> bytes:
    return etree.tostring(elmo.write([elmo.Node(credential, setting=SETTING)], SALT))


def _sd_jwt_claims(credential: Credential) -> dict[str, Any]:
    derived = {name: sd_jwt_vc.to_claims(credential)[name] for name in ("iat", "vct")}
    return plain_claims(credential) | derived


_W3C: dict[Format, Any] = {Format.VCDM: documents, Format.OPEN_BADGES: open_badges}


def _values(format_: Format, credential: Credential, path: str) -> list[str]:
    if format_ is Format.ELMO:
        found = etree.fromstring(_elmo(credential)).xpath(path, namespaces={"e": ELMO, "v": EXTENSION})
        return [item if isinstance(item, str) else etree.tostring(item, with_tail=False).decode() for item in found]
    if format_ is Format.ELM:
        return list(_json_values(elm.write(credential, SETTING, salt=SALT), path))
    if format_ in _W3C:
        return list(_json_values(_W3C[format_].to_document(credential, salt=SALT), path))
    return list(_json_values(_sd_jwt_claims(credential), path))


def _again(format_: Format, credential: Credential) -> Credential:
    if format_ is Format.ELMO:
        (node,) = elmo_reading.parse(_elmo(credential)).nodes()
        return node.credential
    if format_ is Format.ELM:
        return elm_reading.read(elm.write(credential, SETTING, salt=SALT))
    if format_ in _W3C:
        read: Credential = _W3C[format_].from_document(_W3C[format_].to_document(credential, salt=SALT))
        return read
    prepared = sd_jwt_vc.prepare(credential, key_id="k", entropy=ENTROPY)
    return sd_jwt_vc.parse(prepared.complete(bytes(64))).credential


# --- Every element said otherwise -------------------------------------------------------------------


def _achievement(change: Callable[[credential_pb2.Achievement], object]) -> Callable[[Credential], Credential]:
    def changed(credential: Credential) -> Credential:
        achievement = credential_pb2.Achievement()
        achievement.CopyFrom(credential.achievement)
        change(achievement)
        return replace(credential, achievement=achievement)

    return changed


def _say(text: str, localised: Iterable[LocalisedText]) -> None:
    for one in localised:
        one.text = text


def _set(name: str, value: Any) -> Callable[[Credential], Credential]:
    return _achievement(lambda achievement: setattr(achievement, name, value))


def _learner(**changes: Any) -> Callable[[Credential], Credential]:
    return lambda credential: replace(credential, learner=replace(credential.learner, **changes))


def _body(**changes: Any) -> Callable[[Credential], Credential]:
    return lambda credential: replace(credential, awarding_body=replace(credential.awarding_body, **changes))


def _decided_later(credential: Credential) -> Credential:
    record = sample_decision(credential.achievement, datetime(2026, 11, 22, 9, tzinfo=UTC))
    return replace(credential, decision=DecisionReference.parse(canonical_bytes(record)))


CHANGES: dict[str, Callable[[Credential], Credential]] = {
    places.LEARNER: _learner(given_name="Per"),
    places.TITLE: _achievement(lambda a: _say("Andet", a.title)),
    places.COUNTRY: _body(country="NO"),
    places.AWARDING_BODY: _body(name={"da": "En anden"}),
    places.ISSUED: _decided_later,
    places.OUTCOMES: _achievement(lambda a: _say("Kan andet", a.outcomes[0].text)),
    places.WORKLOAD: _achievement(lambda a: a.workload.MergeFrom(credential_pb2.Workload(points="2"))),
    places.LEVEL: _achievement(lambda a: a.level.MergeFrom(credential_pb2.Level(level="6"))),
    places.ASSESSMENT: _set("assessment", credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING),
    places.PARTICIPATION: _set("participation", credential_pb2.PARTICIPATION_FORM_WORKPLACE),
    places.QUALITY: _achievement(lambda a: a.quality_assurance.internal[0].MergeFrom(texts(da="Ingen")[0])),
    places.PREREQUISITES: _achievement(lambda a: a.ClearField("prerequisites")),
    places.SUPERVISION: _set("supervision", credential_pb2.SUPERVISION_NONE),
    places.GRADE: lambda credential: replace(credential, grade="10"),
    places.STACKABILITY: _set("stackability", credential_pb2.STACKABILITY_STAND_ALONE),
    places.FURTHER: _achievement(lambda a: a.ClearField("further_information")),
    places.LEARNER_ID: _learner(id=LearnerId("no.national_id", "01825500123")),
    places.BIRTH_DATE: _learner(birth_date=date(1956, 2, 1)),
    places.HOURS: _achievement(lambda a: a.workload.MergeFrom(credential_pb2.Workload(hours="40"))),
    places.CONCEPTS: _achievement(lambda a: a.outcomes[0].concepts.pop()),
    places.QUALITY_BODY: _achievement(lambda a: a.quality_assurance.ClearField("external_body")),
    places.FIELD: _set("field", "0521"),
    places.CREATOR: _set("creator", ""),
    places.DELIVERER: _set("deliverer", ""),
    places.PART_OF: _set("part_of", "dk.andet"),
    places.KIND: _set("kind", "dk.nano"),
    places.AWARDED: lambda credential: replace(credential, awarded_on=date(2026, 11, 19)),
    places.EXPIRES: lambda credential: replace(credential, expires_on=date(2030, 1, 1)),
    places.STATUS: lambda credential: replace(credential, status=StatusReference(credential.status.list, 7)),
    places.DECISION: _decided_later,
    places.RETENTION: lambda credential: replace(credential, retention=credential_pb2.RETENTION_CLASS_ARCHIVE),
    places.ACCREDITATION: lambda credential: replace(credential, accreditation_digest="B" * 43),
    places.RECOGNITION: lambda credential: replace(credential, recognition=None),
    places.HOLDER: lambda credential: replace(credential, holder=FOREIGN_KEY.public_key),
}


@pytest.mark.parametrize("format_", Format, ids=lambda format_: format_.name)
@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: element.name)
def test_an_element_that_is_changed_changes_where_the_table_says(format_: Format, element: places.Element) -> None:
    credential = full_credential()
    changed = CHANGES[element.name](credential)
    path = PLACES[format_][element.name].path
    assert element.stated(credential)
    assert _values(format_, credential, path), path
    assert _values(format_, credential, path) != _values(format_, changed, path)
    assert _again(format_, changed) == changed != credential


@pytest.mark.parametrize("format_", Format, ids=lambda format_: format_.name)
def test_every_format_has_a_place_for_every_element(format_: Format) -> None:
    assert PLACES[format_].keys() == {element.name for element in ELEMENTS} == CHANGES.keys()


def test_the_mandatory_elements_are_those_of_the_annex() -> None:
    annex = [element.name for element in elements.mandatory_elements(full_credential())]
    assert [element.name for element in ELEMENTS if element.kind is Kind.MANDATORY] == annex
    assert sum(element.kind is Kind.OPTIONAL for element in ELEMENTS) == 5


# --- What a format can't carry --------------------------------------------------------------------


def test_what_a_format_has_no_place_for_is_listed() -> None:
    listed = {format_: [item.element.name for item in not_carried(format_, full_credential())] for format_ in Format}
    assert listed[Format.SD_JWT_VC] == []
    assert listed[Format.ELM] == [
        places.STACKABILITY,
        places.QUALITY_BODY,
        places.CREATOR,
        places.DELIVERER,
        places.PART_OF,
        places.DECISION,
        places.RETENTION,
        places.HOLDER,
        places.RECOGNITION,
        places.ACCREDITATION,
    ]
    assert listed[Format.ELMO][:3] == [places.ASSESSMENT, places.PARTICIPATION, places.QUALITY]


def test_only_what_a_credential_says_is_listed() -> None:
    plain = sample_credential(achievement=sample_achievement(outcomes=sample_achievement().outcomes))
    assert [item.element.name for item in not_carried(Format.ELM, plain)] == [places.DECISION, places.RETENTION]


def test_supervision_without_a_grade_is_in_the_extension_of_elm() -> None:
    ungraded = full_credential(grade=None)
    item = next(item for item in not_carried(Format.ELM, ungraded) if item.element.name == places.SUPERVISION)
    assert _values(Format.ELM, ungraded, item.path) == ['"with_identification"']
    assert PLACES[Format.ELM][places.SUPERVISION].standing_for(full_credential()) is Standing.NATIVE


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make formats`"


def test_a_learner_of_a_provider_and_none_at_all_come_back() -> None:
    for learner in (Learner(LearnerId("provider.local_id", "A 17"), "Kari", "Prøvesen"), Learner(None, "K", "P")):
        for format_ in Format:
            assert _again(format_, sample_credential(learner=learner)).learner == learner


def test_organisations_of_another_country_come_back() -> None:
    body = replace(sample_credential().awarding_body, id=OrganisationId.parse("0192:971035854"), country="NO")
    achievement = sample_achievement(provider="0192:971035854")
    credential = sample_credential(awarding_body=body, achievement=achievement)
    assert all(_again(format_, credential) == credential for format_ in Format)
