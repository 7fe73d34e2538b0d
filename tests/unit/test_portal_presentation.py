"""What learners are shown: languages, what is formal, what is not known."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.portal.presentation import show, size_text
from services.portal.store import Kept
from services.portal.texts import LANGUAGES, TEXTS, best_text, page_texts, reader_languages
from tests.unit.credential_samples import ENTROPY, PROVIDER_KEY, credentials, sample_achievement, sample_credential
from vitne.credentials import sd_jwt_vc
from vitne.credentials.model import Credential
from vitne_api.credential.v1 import credential_pb2

TODAY = date(2026, 11, 21)
FOLDER = files("services.portal").joinpath("texts")
FETCHED_AT = datetime(2026, 11, 21, 10, tzinfo=UTC)


def artefact(credential: Credential) -> str:
    prepared = sd_jwt_vc.prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
    return prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))


def kept(credential: Credential | None = None, **changes: Any) -> Kept:
    fields: dict[str, Any] = {
        "handle": "h" * 43,
        "kind": "dk.micro_credential",
        "provider": "0184:30859480",
        "artefact": artefact(credential or sample_credential()),
        "status": "valid",
        "pending": False,
        "fetched_at": FETCHED_AT,
    }
    return Kept(**fields | changes)


def shape(texts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shape(text) if isinstance(text, Mapping) else bool(text) for name, text in texts.items()}


def blanks(texts: Mapping[str, Any]) -> dict[str, Any]:
    """What is filled in, ``{count}``, in each text."""
    return {
        name: blanks(text) if isinstance(text, Mapping) else sorted(re.findall(r"\{(\w+)\}", text))
        for name, text in texts.items()
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("file", sorted(file.name for file in FOLDER.iterdir()))
def test_every_language_has_every_text(file: str, language: str) -> None:
    tables = tomllib.loads((FOLDER / file).read_text("utf-8"))
    assert tables.keys() == LANGUAGES.keys()
    assert shape(tables[language]) == shape(tables["nb"])
    assert blanks(tables[language]) == blanks(tables["nb"])


def test_every_table_is_of_its_language() -> None:
    assert {language: texts["language"] for language, texts in TEXTS.items()} == {one: one for one in LANGUAGES}
    # A text that was forgotten in one of them is most likely another's.
    assert TEXTS["se"]["front_title"] not in {TEXTS[other]["front_title"] for other in ("nb", "nn", "en")}


def test_what_the_page_does_not_name_is_called_as_the_national_rules_call_it() -> None:
    for texts in TEXTS.values():
        assert texts["units"]["se.yh_point"] != "se.yh_point"
        assert "SeQF" in texts["frameworks"]["se.seqf"]
        assert texts["units"]["ects"] == {"en": "ECTS credits", "se": "oahppočuoggá (ECTS)"}.get(
            texts["language"], "studiepoeng (ECTS)"
        )


@pytest.mark.parametrize(
    ("header", "languages", "page"),
    [
        ("", [], "nb"),
        ("nn-NO,nb;q=0.8,en;q=0.5", ["nn", "nb", "en"], "nn"),
        ("no", ["nb"], "nb"),
        ("da-DK, da;q=0.9", ["da"], "nb"),
        ("en;q=0.3, nn;q=0.7", ["nn", "en"], "nn"),
        ("fr, nb;q=0", ["fr"], "en"),
        ("*", [], "nb"),
        ("x" * 5000, [], "nb"),
        ("nb;q=high, <script>", [], "nb"),
    ],
)
def test_the_reader_s_languages(header: str, languages: list[str], page: str) -> None:
    assert reader_languages(header) == languages
    assert page_texts(languages)["language"] == page


@given(st.text(max_size=300))
def test_any_header_gives_a_page(header: str) -> None:
    assert page_texts(reader_languages(header))["language"] in TEXTS


def test_a_title_in_her_language_or_one_that_she_understands() -> None:
    titles = {"da": "Klimaregnskaber", "en-GB": "Climate accounting"}
    assert best_text(titles, ["nb"]) == ("da", "Klimaregnskaber")
    assert best_text(titles, ["en"]) == ("en-GB", "Climate accounting")
    assert best_text(titles, ["fi"]) == ("en-GB", "Climate accounting")
    assert best_text({"fi": "Vain suomeksi"}, ["nb"]) == ("fi", "Vain suomeksi")
    assert best_text({}, ["nb"]) == ("", "")


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("se,en", ["se", "nb", "nn", "sv", "en"]),
        ("se,nn;q=0.9,nb;q=0.8,en;q=0.7", ["se", "nn", "nb", "sv", "en"]),
        ("nb-NO,nb;q=0.9,no;q=0.8,en-US;q=0.6,en;q=0.5", ["nb", "nn", "da", "sv", "en"]),
        ("nn,en", ["nn", "nb", "da", "sv", "en"]),
        ("en,nn", ["en", "nn", "nb", "da", "sv"]),
        ("fi,en", ["fi", "en", "nb", "da", "sv"]),
        ("de", ["de", "en"]),
    ],
)
def test_a_neighbour_s_language_comes_before_the_one_that_browsers_name_for_everybody(
    header: str, read: list[str]
) -> None:
    languages = reader_languages(header)
    there = {language: language for language in read}
    for language in read:
        assert best_text(there, languages)[0] == language
        del there[language]


def test_a_credential_in_words() -> None:
    (shown,) = show([kept()], ["nb"], TODAY)
    assert (shown.title, shown.title_language) == ("Klimaregnskaber: scope 1 og 2", "da")
    assert (shown.size, shown.country_name, shown.kind_name) == (
        "1,25 studiepoeng (ECTS)",
        "Danmark",
        "Mikrokvalifikasjon (Danmark)",
    )
    assert (shown.level, shown.level_framework, shown.grade) == ("5", "dk.nqf", "12")
    assert (shown.formal, shown.state, shown.status) == (True, "fetched", "valid")
    assert shown.fetched_at == "2026-11-21T10:00:00Z"


@pytest.mark.parametrize(
    ("kind", "formal", "name"),
    [
        ("no.kompetanseattest", False, "Kompetanseattest"),
        ("no.vitnemal", True, "Vitnemål"),
        ("se.mikromerit", False, "Mikromerit"),  # in its country's own word, where the page has none
        ("se.something_new", None, "se.something_new"),
    ],
)
def test_a_kind_is_called_what_the_national_rules_call_it(kind: str, formal: bool | None, name: str) -> None:
    (shown,) = show([kept(kind=kind)], ["nb"], TODAY)
    assert (shown.formal, shown.kind_name) == (formal, name)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "valid"),
        ({"pending": True}, "unknown"),  # something newer is known of: what is here may not hold any more
        ({"status": "revoked"}, "revoked"),
        ({"status": "suspended"}, "suspended"),
        ({"artefact": None, "status": None, "fetched_at": None, "pending": True}, "unknown"),
    ],
)
def test_what_is_not_known_is_never_valid(changes: dict[str, Any], status: str) -> None:
    assert show([kept(**changes)], ["nb"], TODAY)[0].status == status


@pytest.mark.parametrize(("day", "status"), [(date(2026, 11, 21), "expired"), (date(2026, 11, 22), "valid")])
def test_it_expires_on_its_day_and_revoked_stays_revoked(day: date, status: str) -> None:
    credential = sample_credential(expires_on=day)
    assert show([kept(credential)], ["nb"], TODAY)[0].status == status
    assert show([kept(credential, status="revoked")], ["nb"], TODAY)[0].status == "revoked"


def test_what_can_t_be_read_is_shown_as_being_there() -> None:
    (shown,) = show([kept(artefact="not.a.credential~")], ["en"], TODAY)
    assert (shown.title, shown.kind_name, shown.provider) == (None, "Micro-credential (Denmark)", "0184:30859480")


def test_newest_first_and_what_is_not_here_last() -> None:
    early = sample_credential(awarded_on=date(2025, 1, 1))
    late = sample_credential(awarded_on=date(2026, 1, 1))
    nothing = kept(artefact=None, status=None, fetched_at=None, pending=True, handle="c")
    shown = show([nothing, kept(early, handle="a"), kept(late, handle="b")], ["nb"], TODAY)
    assert [one.handle for one in shown] == ["b", "a", "c"]


@given(credentials(), st.sampled_from(["nb", "en", "fi"]))
def test_every_credential_can_be_shown(credential: Credential, language: str) -> None:
    (shown,) = show([kept(credential, kind=credential.achievement.kind)], [language], TODAY)
    assert shown.id == str(credential.id)
    assert shown.title in {text.text for text in credential.achievement.title}
    assert shown.size


@pytest.mark.parametrize(
    ("language", "points", "size"),
    [
        ("en", "1", "1 ECTS credit, 1 hour"),
        ("en", "1.25", "1.25 ECTS credits, 1 hour"),
        ("nb", "1", "1 studiepoeng (ECTS), 1 time"),
        ("nn", "1", "1 studiepoeng (ECTS), 1 time"),
        ("se", "1", "1 oahppočuokkis (ECTS), 1 diibmu"),
    ],
)
def test_one_is_singular(language: str, points: str, size: str) -> None:
    assert size_text(points, "ects", "1", TEXTS[language]) == size


def test_hours_and_points_together() -> None:
    workload = credential_pb2.Workload(unit="no.fagskolepoeng", points="10", hours="250")
    (shown,) = show([kept(sample_credential(achievement=sample_achievement(workload=workload)))], ["nb"], TODAY)
    assert shown.size == "10 studiepoeng (fagskole), 250 timer"
