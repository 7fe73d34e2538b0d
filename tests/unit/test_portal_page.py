"""The learner's page as HTML: what adds up is on it, in every language, and it is there without that, too."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import grpc
import pytest
from starlette.requests import Request

from services.portal.stacks import MAX_CREDENTIALS
from services.portal.texts import TEXTS
from services.portal.web.frame import Frame
from services.portal.web.learner import CHOICES_SHOWN, LearnerPages
from services.portal.web.log_in import LogIn
from tests.unit.accreditation_samples import uuid
from tests.unit.credential_samples import sample_achievement, sample_credential, texts
from tests.unit.test_portal_presentation import FETCHED_AT, kept
from vitne.clock import ManualClock
from vitne.runtime.rules import check_rules
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import qualification_pb2, stacking_pb2

M1, M2, WHOLE = uuid(1), uuid(2), uuid(9)
ELECTIVES = [uuid(100 + number) for number in range(CHOICES_SHOWN + 2)]


class Sessions:
    """One learner is logged in."""

    async def whose(self, _secret: str, _now: Any) -> bytes:
        return b"learner"


class Store:
    """She is registered."""

    def __init__(self, credentials: list[Any]) -> None:
        self._credentials = credentials

    async def pseudonym(self, _lookup: bytes) -> str:
        return "pseudonym"

    async def credentials(self, _lookup: bytes) -> list[Any]:
        return self._credentials


async def no_origins() -> list[str]:
    return []


class Registry:
    """The registry at the service boundary."""

    def __init__(self, answer: stacking_pb2.EvaluateStackingResponse | None) -> None:
        self._answer = answer
        self.asked: list[stacking_pb2.EvaluateStackingRequest] = []

    async def EvaluateStacking(self, request: Any, *, timeout: float) -> Any:  # noqa: N802 - the contract's
        check_rules(request)
        assert timeout > 0
        self.asked.append(request)
        await asyncio.sleep(0)
        if self._answer is None:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "down")
        return self._answer


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


def named(achievement: str, kind: str, title: str, **changes: Any) -> stacking_pb2.NamedAchievement:
    return stacking_pb2.NamedAchievement(id=achievement, version=1, kind=kind, title=texts(nb=title), **changes)


def answer() -> stacking_pb2.EvaluateStackingResponse:
    """An industry's qualification of a module that is there, one that is not, and electives."""

    def one(key: str, achievement: str) -> qualification_pb2.Requirement:
        return qualification_pb2.Requirement(key=key, achievement=qualification_pb2.AchievementRange(id=achievement))

    electives = qualification_pb2.NOf(
        count=2, requirements=[one(f"e{number}", elective) for number, elective in enumerate(ELECTIVES)]
    )
    parts = [
        one("m1", M1),
        one("m2", M2),
        qualification_pb2.Requirement(key="electives", n_of=electives),
    ]
    return stacking_pb2.EvaluateStackingResponse(
        answers=[
            stacking_pb2.StackingAnswer(
                qualification_id=uuid(50),
                version=1,
                awards=qualification_pb2.AchievementVersion(id=WHOLE, version=1),
                outcome=stacking_pb2.STACKING_OUTCOME_INCOMPLETE,
                percent=33,
                counted=[stacking_pb2.CountedCredential(reference="0", requirement="m1", by_recognition=True)],
                uncounted=[stacking_pb2.UncountedCredential(reference="1", reason="NOT_RECOGNISED")],
                missing=[
                    stacking_pb2.MissingRequirement(requirement="m2", have="0", need="1"),
                    stacking_pb2.MissingRequirement(
                        requirement="electives",
                        have="0",
                        need="2",
                        any_of=[f"e{number}" for number in range(len(ELECTIVES))],
                    ),
                ],
            )
        ],
        qualifications=[
            qualification_pb2.Qualification(
                id=uuid(50),
                version=1,
                requirement=qualification_pb2.Requirement(
                    key="all", all_of=qualification_pb2.AllOf(requirements=parts)
                ),
            )
        ],
        achievements=[
            named(WHOLE, "se.kvalifikationsbevis", "Drifttekniker",
                  level=credential_pb2.Level(framework="se.seqf", level="4")),
            named(M1, "se.mikromerit", "Turbin <1>"),
            named(M2, "no.fagskole.module", "Elektro"),
            *(named(one, "se.mikromerit", f"Valg {number}") for number, one in enumerate(ELECTIVES)),
        ],
    )  # fmt: skip


def pages(registry: Registry | None, credentials: int = 2) -> LearnerPages:
    achievements = [sample_achievement(title=texts(nb=f"Bevis {number}"), kind="no.kompetanseattest")
                    for number in range(credentials)]  # fmt: skip
    mine = [
        kept(sample_credential(achievement=one), handle=f"h{number:042}", kind=one.kind)
        for number, one in enumerate(achievements)
    ]
    clock = ManualClock(FETCHED_AT)
    frame = Frame(
        sessions=Sessions(),  # type: ignore[arg-type]  # the parts around the pages, at their edges
        clock=clock,
        public_url="http://portal.example",
        lifetime=timedelta(hours=1),
        origins=no_origins,
    )
    log_in = LogIn(frame, openid=None, keys=None)  # type: ignore[arg-type]
    return LearnerPages(
        frame,
        log_in,
        store=Store(mine),  # type: ignore[arg-type]
        issuer=None,
        registry=registry,
        clock=clock,
    )


def request(language: str = "nb") -> Request:
    headers = [(b"accept-language", language.encode()), (b"cookie", b"vitne_session=secret")]
    return Request({"type": "http", "method": "GET", "path": "/me", "query_string": b"", "headers": headers})


async def page(registry: Registry | None, language: str = "nb") -> str:
    response = await pages(registry).me(request(language))
    assert response.status_code == 200
    return bytes(response.body).decode()


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
    shown = await pages(Registry(None)).me_json(request())
    assert b'"stacks":null' in bytes(shown.body)


async def test_without_a_registry_nothing_is_said_of_it() -> None:
    html = await page(None)
    assert TEXTS["nb"]["stacks"] not in html
    assert b'"stacks":[]' in bytes((await pages(None).me_json(request())).body)


async def test_who_has_nothing_asks_nothing_and_who_has_much_asks_about_the_newest() -> None:
    registry = Registry(answer())
    await pages(registry, 0).me(request())
    assert registry.asked == []
    await pages(registry, MAX_CREDENTIALS + 1).me(request())
    assert len(registry.asked[0].credentials) == MAX_CREDENTIALS
