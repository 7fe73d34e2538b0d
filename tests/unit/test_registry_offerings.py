"""What may be published for those who choose: concepts that exist, dates in order, a currency."""

from __future__ import annotations

import pytest

from services.registry.concepts import check_concept
from services.registry.offerings import check_information
from tests.unit.accreditation_samples import text
from vitne.errors import InvalidArgument
from vitne_api.credential.v1 import credential_pb2

SKILL = "http://data.europa.eu/esco/skill/f0de4973-0a70-4644-8fd4-3a97080476f4"


@pytest.mark.parametrize(
    "uri",
    [
        SKILL,
        "http://data.europa.eu/esco/skill/S1.2.3",
        "http://data.europa.eu/esco/occupation/114e1eff-215e-47df-8e10-45a5b72f8197",
        "http://data.europa.eu/esco/isco/C2310",
        "http://data.europa.eu/esco/isced-f/0613",
        "https://example.org/skills/1",
    ],
)
def test_concepts_that_are_cited(uri: str) -> None:
    check_concept(uri, field="x")


@pytest.mark.parametrize(
    "uri",
    [
        SKILL.replace("http:", "https:"),
        SKILL.upper().replace("HTTP://DATA.EUROPA.EU/ESCO", "http://data.europa.eu/esco"),
        SKILL + "/",
        SKILL[:-1],
        "http://data.europa.eu/esco/skill/",
        "http://data.europa.eu/esco/isced-f/06130",
        "http://data.europa.eu/esco/model#Skill",
    ],
)
def test_concepts_that_can_not_be(uri: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_concept(uri, field="achievement.outcomes[0].concepts[1]")
    assert (caught.value.reason, caught.value.field) == ("BAD_CONCEPT", "achievement.outcomes[0].concepts[1]")


def offered(**offering: object) -> credential_pb2.CatalogueInformation:
    return credential_pb2.CatalogueInformation(offerings=[credential_pb2.Offering(**offering)])  # type: ignore[arg-type]


def test_information_that_is_published() -> None:
    check_information(credential_pb2.CatalogueInformation(), field="c")
    check_information(
        offered(starts_on="2027-01-11", ends_on="2027-01-11", price=credential_pb2.Price(amount=1200, currency="NOK")),
        field="c",
    )


@pytest.mark.parametrize(
    ("information", "reason", "field"),
    [
        (offered(starts_on="2027-01-11", ends_on="2027-01-10"), "DATES_CONTRADICT", "c.offerings[0].ends_on"),
        (offered(price=credential_pb2.Price(currency="kr")), "BAD_CURRENCY", "c.offerings[0].price.currency"),
        (offered(place=[text("A"), text("B")]), "LANGUAGE_REPEATED", "c.offerings[0].place[1].language"),
        (
            credential_pb2.CatalogueInformation(content=[text("A"), text("B")]),
            "LANGUAGE_REPEATED",
            "c.content[1].language",
        ),
    ],
)
def test_information_that_is_refused(information: credential_pb2.CatalogueInformation, reason: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_information(information, field="c")
    assert (caught.value.reason, caught.value.field) == (reason, field)
