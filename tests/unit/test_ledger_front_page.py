"""The ledger's page: in the reader's language, with what is published and how far the log is."""

from __future__ import annotations

import html
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response

from services.ledger.front_page import TEXTS, FrontPage
from services.ledger.lists import PublishedList
from tests.unit.accreditation_samples import NOW
from tests.unit.asgi import call
from vitne.runtime.http import install

LIST = PublishedList("https://status.example/lists/<1>", 7, b"", b"", NOW)


def served(*lists: PublishedList, **told: str) -> Any:
    page, app = FrontPage(1), FastAPI()

    @app.get("/")
    async def show(request: Request) -> Response:
        return page.show(request, lists, **told)

    return install(app)


def test_every_table_has_every_text() -> None:
    first, *others = (set(table) for table in TEXTS.values())
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("address", "browser", "language", "neighbour"),
    [
        ("/", "", "en", False),
        ("/", "nn-NO, en;q=0.5", "nn", False),
        ("/", "se, en", "nb", False),
        ("/?lang=se", "en", "nb", True),
    ],
)
async def test_it_is_in_the_reader_s_language(address: str, browser: str, language: str, *, neighbour: bool) -> None:
    page = await call(served(LIST, checkpoint="log.example\n42\n"), address, headers={"Accept-Language": browser})
    assert (page.status, page.header("Content-Language")) == (200, language)
    said, texts = html.unescape(page.text), TEXTS[language]
    assert f'<html lang="{language}">' in page.text
    for name in ("title", "lists_lead", "log_lead", "checkpoint", "tiles"):
        assert texts[name] in said
    assert texts["no_lists"] not in said
    assert texts["no_checkpoint"] not in said
    assert (texts["neighbour"] in said) == neighbour
    assert "log.example\n42\n" in said
    assert "/lists/&lt;1&gt;</a>" in page.text
    assert f"{NOW:%Y-%m-%d %H:%M:%S} UTC</li>" in said


async def test_what_is_not_there_is_said() -> None:
    said = html.unescape((await call(served(unshown="nothing yet"), "/?lang=nb")).text)
    assert TEXTS["nb"]["no_lists"] in said
    assert f'{TEXTS["nb"]["no_checkpoint"]} <span lang="en">nothing yet</span>' in said
    assert "<pre" not in said


async def test_a_language_that_nobody_reads_here_is_refused() -> None:
    answer = await call(served(), "/?lang=xx")
    assert (answer.status, b"UNKNOWN_LANGUAGE" in answer.body) == (400, True)
    assert b"one of nb, nn, en" in answer.body
