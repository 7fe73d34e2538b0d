"""The verifier's page: in the reader's language, the verdict in plain words first, and nothing runs in her browser."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from services.verifier.checks import names
from services.verifier.form_page import TEXTS
from services.verifier.pages import build_pages
from services.verifier.verdict import ON_FAILURE, PRECEDENCE, name_of
from tests.unit.asgi import Answer, call
from tests.unit.verifier_world import World
from vitne.runtime.http import install

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
    english = answer.text.count('<span lang="en">')
    assert english == 0 if language == "en" else english > len(ON_FAILURE) - 3, "what is in English says so"


async def test_a_language_that_nobody_reads_here_is_refused() -> None:
    answer = await call(served(World()), "/?lang=xx")
    assert (answer.status, b"UNKNOWN_LANGUAGE" in answer.body, b"nb, nn, se" in answer.body) == (400, True, True)


async def test_the_verdict_comes_first_and_what_was_not_looked_at_is_folded(world: World) -> None:
    answer = await verified(served(world), "x" * 40, "/?lang=nb")
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


async def test_what_is_pasted_is_shown_as_text(world: World) -> None:
    answer = await verified(served(world), "<script>alert(1)</script>", "/?lang=nb")
    assert "<script" not in answer.text
    assert answer.header("Cache-Control") == "no-store"
    assert "default-src 'none'" in answer.header("Content-Security-Policy")
