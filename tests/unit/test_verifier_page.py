"""The verifier's page: in the reader's language, the verdict in plain words first, and nothing runs in her browser."""

from __future__ import annotations

import asyncio
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.verifier import command
from services.verifier.checks import names
from services.verifier.details import DETAILS, MAX_DETAIL, in_language
from services.verifier.form_page import TEXTS
from services.verifier.pages import build_pages
from services.verifier.verdict import ON_FAILURE, PRECEDENCE, name_of
from tests.unit.asgi import Answer, call
from tests.unit.test_verifier_verification import shown
from tests.unit.verifier_world import World
from vitne.runtime.http import install

#: What a text takes over.
_PLACES = re.compile(r"\{([a-z]+)\}")
#: Where a table's rows are told.
_FOLDED = re.compile(r"<details>(.*?)</details>", re.DOTALL)


@pytest.fixture
def world() -> World:
    return World()


def served(world: World) -> Any:
    return install(build_pages(world.verifier()))


async def verified(app: Any, credential: str, address: str = "/", **headers: str) -> Answer:
    sent = {"Content-Type": "application/x-www-form-urlencoded"} | headers
    return await call(app, address, form={"credential": credential}, headers=sent)


def _in_english(page: str) -> list[str]:
    """What is told in English in the tables."""
    return re.findall(r'<span lang="en">(.*?)</span>', "".join(re.findall(r"<table.*?</table>", page, re.DOTALL)))


def test_every_table_has_every_text() -> None:
    shapes = [
        {
            name: set(told) if isinstance(told, dict) else len(told) if isinstance(told, list) else ""
            for name, told in table.items()
        }
        for table in TEXTS.values()
    ]
    assert all(shape == shapes[0] for shape in shapes)
    for table in TEXTS.values():
        assert set(table["verdicts"]) == set(table["verdict_leads"]) == {name_of(verdict) for verdict in PRECEDENCE}
        assert set(table["checks"]) == set(ON_FAILURE)
        assert len({*table["check_outcomes"].values()}) == len(table["check_outcomes"])


@pytest.mark.parametrize(
    ("address", "browser", "language"),
    [
        ("/", "", "en"),
        ("/", "nb-NO, nb;q=0.9, en;q=0.8", "nb"),
        ("/", "nn", "nn"),
        ("/", "se, en", "nb"),
        ("/", "de", "en"),
        ("/?lang=nn", "en", "nn"),
        ("/?lang=se", "en", "nb"),
        ("/?lang=en", "nb", "en"),
    ],
)
async def test_it_is_in_the_reader_s_language(world: World, address: str, browser: str, language: str) -> None:
    app, texts = served(world), TEXTS[language]
    headers = {"Accept-Language": browser}
    form = await call(app, address, headers=headers)
    answer = await verified(app, world.issue(), address, **headers)
    nothing = await verified(app, " ", address, **headers)
    for page in (form, answer, nothing):
        assert page.header("Content-Language") == language
        assert f'<html lang="{language}">' in page.text
        assert f"<h1>{texts['title']}</h1>" in page.text
        assert f'action="{address}"' in page.text, "the language goes with the form"
        assert f'href="/?lang={language}" lang="{language}" hreflang="{language}" aria-current="true"' in page.text
    assert texts["verdict_leads"]["valid"] in answer.text
    assert texts["checks"]["log_inclusion"] in answer.text
    assert (nothing.status, texts["nothing_given"] in nothing.text) == (400, True)
    if language != "en":
        # The headline alone is told as machines are told it.
        assert answer.text.count('<span lang="en">') == 1, "what is in English says so"


@pytest.mark.parametrize(("browser", "language"), [("nn", "nn"), ("", "en")])
async def test_a_language_that_nobody_reads_here_is_refused_on_the_page(
    world: World, browser: str, language: str
) -> None:
    app, headers = served(world), {"Accept-Language": browser}
    form = await call(app, "/?lang=xx", headers=headers)
    answer = await verified(app, world.issue(), "/?lang=xx", **headers)
    for page in (form, answer):
        assert (page.status, page.header("Content-Language")) == (400, language)
        assert TEXTS[language]["unknown_language"] in html.unescape(page.text)
        assert 'action="/"' in page.text
    assert TEXTS[language]["verdict_leads"]["valid"] not in answer.text


def test_every_detail_is_there_in_every_language_with_what_is_taken_over() -> None:
    for texts in DETAILS:
        assert set(texts) == set(TEXTS)
        for language in set(TEXTS) - {"en"}:
            assert set(_PLACES.findall(texts[language])) <= set(_PLACES.findall(texts["en"])), texts["en"]
            assert "{rest}" not in texts[language], "it comes last, in English"


@pytest.mark.parametrize("language", ["nb", "nn"])
async def test_what_was_found_is_told_in_the_reader_s_language(world: World, language: str) -> None:
    app, address = served(world), f"/?lang={language}"
    sound = world.issue()
    assert _in_english((await verified(app, sound, address)).text) == []
    assert _in_english((await verified(app, shown(sound), address)).text) == []
    signed, _, disclosures = sound.partition("~")
    forged = await verified(app, f"{signed[:-8]}AAAAAAAA~{disclosures}", address)
    assert _in_english(forged.text) == []
    decided = TEXTS[language]["checks"][names.SIGNATURE]
    told = in_language(f"not looked at, since {names.SIGNATURE} decided", language, TEXTS[language]["checks"])
    assert decided in told.own
    assert told.own in html.unescape(forged.text)


async def test_what_only_an_error_says_stays_in_english_and_says_so(world: World) -> None:
    said = (await verified(served(world), "ey" + "x" * 40, "/?lang=nb")).text
    [rest] = _in_english(said)
    assert "det kan ikke leses: <span" in said
    assert "can't be read" not in html.unescape(rest)


async def test_the_verdict_comes_first_and_what_was_not_looked_at_is_folded(world: World) -> None:
    answer = await verified(served(world), "ey" + "x" * 40, "/?lang=nb")
    said = html.unescape(answer.text)
    assert (
        said.index(TEXTS["nb"]["verdict_leads"]["invalid"])
        < said.index("Invalid: it can't be read")
        < said.index("<table")
    )
    [folded] = _FOLDED.findall(said)
    told = [name for name, text in TEXTS["nb"]["checks"].items() if f"</span>{text}</td>" in folded]
    assert names.STRUCTURE not in told
    assert names.SIGNATURE in told
    assert f"{len(told)}</summary>" in folded
    above = said.replace(folded, "")
    assert TEXTS["nb"]["checks"][names.STRUCTURE] in above
    assert TEXTS["nb"]["checks"][names.SIGNATURE] not in above


async def test_nothing_is_folded_where_all_was_looked_at(world: World) -> None:
    said = (await verified(served(world), world.issue())).text
    assert 'class="verdict valid"' in said
    made = [name for name, text in TEXTS["en"]["checks"].items() if f"</span>{html.escape(text)}</td>" in said]
    assert len(made) >= len(ON_FAILURE) - 2
    for folded in _FOLDED.findall(said):
        assert "passed" not in folded


@pytest.mark.parametrize("pasted", ["hei", "# README", "PK\x03\x04", "x" * 40])
async def test_what_is_no_credential_is_not_called_a_bad_one(world: World, pasted: str) -> None:
    answer = await verified(served(world), pasted, "/?lang=nb")
    assert (answer.status, TEXTS["nb"]["no_credential"] in html.unescape(answer.text)) == (400, True)
    assert not any(text in answer.text for text in TEXTS["nb"]["verdict_leads"].values())


@pytest.mark.parametrize("text", ["hei", "PK\x03\x04", "{}", '{"a": 1}', "[1]"])
async def test_what_is_no_credential_is_told_alike_by_page_interface_and_command(
    world: World, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = served(world)
    sent = json.dumps({"credential": text}).encode()
    answer = await call(app, "/v1/verify", form=sent, headers={"Content-Type": "application/json"})
    assert answer.status == 200
    [structure] = [check for check in json.loads(answer.text)["checks"] if check["name"] == names.STRUCTURE]

    for address in ("/?lang=nb", "/?lang=en"):
        page = await verified(app, text, address)
        assert (page.status, structure["detail"] in html.unescape(page.text)) == (400, True)
        assert not re.search(r'class="verdict \w', page.text), "no verdict"

    file = tmp_path / "given"
    file.write_text(text)
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--registry-key", "A" * 43]
    assert await asyncio.to_thread(command.main, [*where, str(file)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    told = re.fullmatch(r"(\w+): (.*?); field: CREDENTIAL_FILE; rule: .*; remedy: (.*)\n", shown.err)
    assert told is not None, "nothing but that was told: nobody was asked"
    reason, message, remedy = told.groups()
    assert reason == "NOT_A_CREDENTIAL"
    assert structure["detail"] == f"it can't be read: {message} ({reason}); remedy: {remedy}"


@pytest.mark.parametrize("text", ['{"proof": 1}', '{"a":', "eyJ", "<a/>"])
async def test_a_bad_credential_is_an_answer_on_page_and_interface_and_of_the_command(
    world: World, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = await verified(served(world), text)
    assert (page.status, 'class="verdict invalid"' in page.text, "remedy: " in page.text) == (200, True, False)
    file = tmp_path / "given"
    file.write_text(text)
    where = ["--trust-list", "http://127.0.0.1:1/list", "--ledger", "127.0.0.1:1", "--registry-key", "A" * 43]
    assert await asyncio.to_thread(command.main, [*where, str(file)]) == 1
    assert capsys.readouterr().out.startswith("Invalid: it can't be read: ")


@pytest.mark.parametrize(
    ("language", "about"), [("en", "issued by Provider on 2026-11-21"), ("nb", "utstedt av Provider")]
)
async def test_it_says_what_it_is_and_whom_it_is_about(world: World, language: str, about: str) -> None:
    app, texts = served(world), TEXTS[language]
    said = html.unescape((await verified(app, world.issue(), f"/?lang={language}")).text)
    assert about in said
    assert f"{texts['learner']}: <strong>Kari Prøvesen</strong>, {texts['born']} 1990-01-01" in said
    assert texts["same_person"] in said
    hidden = html.unescape((await verified(app, shown(world.issue()), f"/?lang={language}")).text)
    assert texts["withheld"] in hidden
    assert "Kari" not in hidden
    signed, _, disclosures = world.issue().partition("~")
    forged = html.unescape((await verified(app, f"{signed[:-8]}AAAAAAAA~{disclosures}", f"/?lang={language}")).text)
    assert texts["unsigned"] in forged
    assert "Kari" not in forged


async def test_who_chose_a_language_that_it_is_not_written_in_is_told(world: World) -> None:
    app = served(world)
    assert TEXTS["nb"]["neighbour"] in html.unescape((await call(app, "/?lang=se")).text)
    assert TEXTS["nb"]["neighbour"] not in html.unescape((await call(app, "/?lang=nb")).text)


async def test_what_is_pasted_is_shown_as_text(world: World) -> None:
    answer = await verified(served(world), "<script>alert(1)</script>", "/?lang=nb")
    assert answer.status == 200
    assert "<script" not in answer.text
    assert answer.header("Cache-Control") == "no-store"
    assert "default-src 'none'" in answer.header("Content-Security-Policy")


def test_a_detail_with_a_long_text_of_somebody_elses_is_not_taken_apart() -> None:
    long = "not looked at, since " + "it is revoked " * 1000
    assert in_language(long, "nb", TEXTS["nb"]["checks"]) == ("", long)
    assert len(long) > MAX_DETAIL
