"""The learner's page as HTML: what adds up is on it, in every language, and it is there without that, too."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from fastapi import FastAPI

from services.portal.stacks import MAX_CREDENTIALS
from services.portal.texts import TEXTS
from tests.unit.asgi import call
from tests.unit.credential_samples import sample_achievement, sample_credential, texts
from tests.unit.portal_site import LOGGED_IN, Registry, answer, learner_site
from tests.unit.test_portal_presentation import kept
from vitne_api.registry.v1 import stacking_pb2


class Tree(HTMLParser):
    """Ids, links within the page, and whether every element is closed."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.labels: set[str] = set()
        self.languages: set[str] = set()
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag not in self.VOID:
            self._open.append(tag)
        self.ids += [said["id"] or ""] if "id" in said else []
        self.links |= {(said["href"] or "")[1:]} if (said.get("href") or "").startswith("#") else set()
        self.labels |= {said["aria-labelledby"] or ""} if "aria-labelledby" in said else set()
        self.languages |= {said["lang"] or ""} if "lang" in said else set()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def portal(registry: Registry | None, credentials: int = 2) -> FastAPI:
    achievements = [
        sample_achievement(title=texts(nb=f"Bevis {number}"), kind="no.kompetanseattest")
        for number in range(credentials)
    ]
    mine = [
        kept(sample_credential(achievement=one), handle=f"h{number:042}", kind=one.kind)
        for number, one in enumerate(achievements)
    ]
    return learner_site(mine, registry)


async def get(app: FastAPI, path: str, language: str = "nb") -> str:
    answer = await call(app, path, headers={**LOGGED_IN, "Accept-Language": language})
    assert answer.status == 200
    return answer.text


async def page(registry: Registry | None, language: str = "nb") -> str:
    return await get(portal(registry), "/me", language)


@pytest.mark.parametrize("language", TEXTS)
async def test_what_adds_up_is_on_the_page_in_plain_words(language: str) -> None:
    said = TEXTS[language]
    html = await page(Registry(answer()), language)
    tree = Tree(html)
    for text in (
        *("stacks", "stacks_lead", "stack_incomplete", "lacking", "in_place", "choices", "uncounted"),
        *("by_recognition", "non_formal_one", "formal_one"),
    ):
        assert said[text] in html, text
    assert said["progress"].format(percent=33) in html
    assert said["have_of_need"].format(have="0", need="2") in html
    assert said["more_choices"].format(count=2) in html
    assert said["reasons"]["NOT_RECOGNISED"] in html
    # Its level is upper secondary school's, and the page says that it is not that.
    assert "Gymnasieexamen" in html or "Upper secondary diploma" in html
    assert "Turbin &lt;1&gt;" in html
    assert len(tree.ids) == len(set(tree.ids))
    assert tree.links <= set(tree.ids), "what is counted leads to the credential on the page"
    assert tree.labels <= set(tree.ids)
    assert {language, "nb"} <= tree.languages, "each title says its language"


@pytest.mark.parametrize("language", TEXTS)
async def test_the_page_is_there_while_the_registry_is_not(language: str) -> None:
    html = await page(Registry(None), language)
    Tree(html)
    assert TEXTS[language]["stacks_unavailable"] in html.replace("&#39;", "'")
    assert "Bevis 1" in html
    assert '"stacks":null' in await get(portal(Registry(None)), "/me.json")


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("something", [True, False])
async def test_what_could_not_be_asked_about_is_said(language: str, something: bool) -> None:
    said = answer() if something else stacking_pb2.EvaluateStackingResponse()
    assert TEXTS[language]["stacks_unread"] not in (await page(Registry(said), language)).replace("&#39;", "'")
    said.not_read.append("01930f6e-7a00-7000-8000-00000000d001")
    html = await page(Registry(said), language)
    Tree(html)
    assert TEXTS[language]["stacks_unread"] in html.replace("&#39;", "'")
    assert (TEXTS[language]["stacks_lead"] in html) is something
    assert '"stacks_unread":1' in await get(portal(Registry(said)), "/me.json")


async def test_without_a_registry_nothing_is_said_of_it() -> None:
    html = await page(None)
    assert TEXTS["nb"]["stacks"] not in html
    assert '"stacks":[]' in await get(portal(None), "/me.json")


async def test_who_has_nothing_asks_nothing_and_who_has_much_asks_about_the_newest() -> None:
    registry = Registry(answer())
    await get(portal(registry, 0), "/me")
    assert registry.asked == []
    await get(portal(registry, MAX_CREDENTIALS + 1), "/me")
    assert len(registry.asked[0].credentials) == MAX_CREDENTIALS


@pytest.mark.parametrize(("kept", "told"), [("3", True), ("0", False), ("9" * 5000, False), ("x", False)])
async def test_after_an_erasure_a_number_in_the_address_is_told_and_nothing_else(kept: str, told: bool) -> None:
    page = await get(portal(None), f"/erased?kept={kept}")
    assert (TEXTS["nb"]["erased_kept"].format(count=kept) in page) is told
