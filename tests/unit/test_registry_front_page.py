"""The registry's own page: in the reader's language, with words for states and kinds."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response

from services.registry.front_page import TEXTS, FrontPage
from tests.unit.accreditation_samples import NOW
from tests.unit.asgi import call
from tests.unit.test_registry_catalogue_pages import Known
from tests.unit.test_registry_search import Catalogue
from vitne.runtime.http import install
from vitne_api.registry.v1 import facts_pb2


def served() -> Any:
    page, app = FrontPage(Known(Catalogue()), lambda: NOW + timedelta(seconds=1)), FastAPI()

    @app.get("/")
    async def show(request: Request) -> Response:
        return page.show(request)

    return install(app)


def test_every_table_has_every_text() -> None:
    shapes = [
        {
            name: set(told) if isinstance(told, dict) else len(told) if isinstance(told, list) else ""
            for name, told in table.items()
        }
        for table in TEXTS.values()
    ]
    assert all(shape == shapes[0] for shape in shapes)
    states = {name.removeprefix("ACCREDITATION_STATE_").lower() for name in facts_pb2.AccreditationState.keys()[1:]}
    assert shapes[0]["states"] == states


@pytest.mark.parametrize(
    ("address", "browser", "language", "neighbour"),
    [
        ("/", "", "en", False),
        ("/", "se, en", "nb", False),
        ("/?lang=nn", "en", "nn", False),
        ("/?lang=se", "en", "nb", True),
    ],
)
async def test_it_is_in_the_reader_s_language(address: str, browser: str, language: str, *, neighbour: bool) -> None:
    app, texts = served(), TEXTS[language]
    for other in ("en", "nb", "nn"):
        await call(app, f"/?lang={other}")
    page = await call(app, address, headers={"Accept-Language": browser})
    assert (page.status, page.header("Content-Language")) == (200, language)
    said = html.unescape(page.text)
    assert f'<html lang="{language}">' in said
    for told in (texts["title"], texts["states"]["granted"], texts["unaccredited"], *texts["accreditation_columns"]):
        assert told in said
    assert ("1.25 " if language == "en" else "1,25 ") in said
    assert (texts["neighbour"] in said) == neighbour
    for code in (">granted<", "dk.micro_credential", "dk.institution", "no.fagskolepoeng", "dk.nqf"):
        assert code not in said


async def test_a_language_that_nobody_reads_here_is_refused() -> None:
    answer = await call(served(), "/?lang=xx")
    assert (answer.status, b"UNKNOWN_LANGUAGE" in answer.body) == (400, True)
    assert b"one of nb, nn, en" in answer.body
