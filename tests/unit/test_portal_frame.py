"""What every page of the portal shares: languages, headers, cookies, forms, refusals."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta

import pytest
from fastapi import FastAPI, Request, Response

from services.portal.texts import LANGUAGES, TEXTS
from services.portal.web import assets
from services.portal.web.application import application, largest_body
from services.portal.web.frame import Frame, in_language
from services.portal.web.routes import Route
from tests.unit.asgi import Answer, call
from vitne.clock import ManualClock
from vitne.errors import FailedPrecondition, Unavailable

PROVIDER = "https://login.example"
SECRET = "s" * 43


class Sessions:
    """Whoever has the secret is logged in."""

    async def whose(self, secret: str, _now: datetime) -> bytes | None:
        return b"learner" if secret == SECRET else None


class Subject:
    """Pages of a subject, as a module of the portal has them."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.sent: list[str] = []

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/", self.front),
            Route("GET", "/away", self.away),
            Route("GET", "/broken", self.broken),
            Route("GET", "/once", self.away, once=True),
            Route("GET", "/away.json", self.away, for_programs=True),
            Route("GET", "/mine", self.mine),
            Route("POST", "/do", self.do, max_body=200),
        ]

    async def front(self, request: Request) -> Response:
        return await self._frame.render(
            request, "front.html", form_action=["https://elsewhere.example"], logged_out=False
        )

    async def away(self, _request: Request) -> Response:
        raise Unavailable("ISSUER_AWAY", "the issuer does not answer")

    async def broken(self, _request: Request) -> Response:
        raise RuntimeError("Kari Nordmann")

    async def mine(self, request: Request) -> Response:
        await self._frame.require_learner(request)
        return await self._frame.render(request, "front.html", logged_out=False)

    async def do(self, request: Request) -> Response:
        lookup, form = await self._frame.require_form(request)
        assert lookup == b"learner"
        self.sent = [form.text("what"), *form.all("what"), form.text("nothing")]
        if form.text("what") == "refuse":
            raise FailedPrecondition("NOT_NOW", "not now")
        return self._frame.redirect("/mine")


async def origins() -> list[str]:
    return [PROVIDER]


def portal(public_url: str = "https://portal.example") -> tuple[FastAPI, Subject]:
    frame = Frame(
        sessions=Sessions(),  # type: ignore[arg-type]
        clock=ManualClock(datetime.fromisoformat("2026-11-21T10:00:00Z")),
        public_url=public_url,
        lifetime=timedelta(hours=1),
        origins=origins,
    )
    subject = Subject(frame)
    routes = [*assets.routes(), *subject.routes()]
    assert largest_body(routes) == 4096
    return application(frame, routes), subject


def cookies(secure: bool = True, **more: str) -> dict[str, str]:
    """Headers of a browser that is logged in."""
    prefix = "__Host-" if secure else ""
    pairs = {f"{prefix}vitne_session": SECRET} | {f"{prefix}{name}": value for name, value in more.items()}
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in pairs.items())}


def language(answer: Answer) -> str:
    found = re.search(r'<html lang="(\w+)">', answer.text)
    assert found is not None
    return found[1]


def token(answer: Answer) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', answer.text)
    assert found is not None
    return html.unescape(found[1])


@pytest.mark.parametrize("chosen", LANGUAGES)
async def test_a_language_is_chosen_without_script_and_without_a_cookie(chosen: str) -> None:
    app, _ = portal()
    answer = await call(app, f"/?lang={chosen}&x=1", headers={"Accept-Language": "en"})
    assert (answer.status, language(answer)) == (200, chosen)
    assert answer.cookies() == [], "nobody is logged in: nothing is kept in her browser"
    assert f'href="/login?lang={chosen}"' in answer.text, "the choice goes with her"
    assert set(re.findall(r'href="/\?x=1&amp;lang=(\w+)"', answer.text)) == set(LANGUAGES)
    assert re.search(rf'hreflang="{chosen}" aria-current="true"', answer.text)
    assert html.escape(TEXTS[chosen]["skip"]) in answer.text


async def test_who_is_logged_in_keeps_her_choice() -> None:
    app, _ = portal()
    answer = await call(app, "/mine?lang=se", headers=cookies())
    (kept,) = answer.cookies()
    assert kept.startswith("__Host-vitne_language=se;")
    for attribute in ("HttpOnly", "SameSite=lax", "Secure", "Path=/"):
        assert attribute in kept
    assert language(await call(app, "/mine", headers=cookies(vitne_language="se"))) == "se"
    assert language(await call(app, "/mine?lang=nn", headers=cookies(vitne_language="se"))) == "nn"


@pytest.mark.parametrize("asked", ["xx", "", "nb%3Cscript%3E", "NB"])
async def test_a_language_that_there_is_not_is_as_if_not_chosen(asked: str) -> None:
    app, _ = portal()
    answer = await call(app, f"/?lang={asked}", headers={"Accept-Language": "nn", "Cookie": "vitne_language=%3Cb"})
    assert language(answer) == "nn"
    assert "<script" not in answer.text


async def test_pages_load_nothing_from_elsewhere_and_run_nothing() -> None:
    app, _ = portal()
    for path in ("/", "/away", "/no/such/page"):
        answer = await call(app, path)
        policy = dict(part.split(" ", 1) for part in answer.header("Content-Security-Policy").split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["style-src"] == policy["img-src"] == "'self'"
        assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert "script-src" not in policy
        others = {"https://elsewhere.example"} if path == "/" else set()
        assert set(policy["form-action"].split()) == {"'self'", PROVIDER, *others}
        assert answer.header("Cache-Control") == "no-store"
        assert answer.header("Referrer-Policy") == "no-referrer"
        assert answer.header("Strict-Transport-Security").startswith("max-age=")
        assert "<script" not in answer.text
        assert "style=" not in answer.text.replace("stylesheet", "")
        loaded = re.findall(r'<link rel="(?:stylesheet|icon)" href="([^"]+)"', answer.text)
        assert len(loaded) == 2
        for address in loaded:
            assert (await call(app, address)).status == 200
            assert address.startswith("/")


async def test_without_tls_there_is_no_claim_of_it() -> None:
    app, _ = portal("http://127.0.0.1:8080")
    answer = await call(app, "/mine?lang=nb", headers=cookies(secure=False))
    assert answer.status == 200
    assert answer.header("Strict-Transport-Security") == ""
    assert answer.cookies()[0].startswith("vitne_language=nb;")
    assert "Secure" not in answer.cookies()[0]


async def test_a_form_of_this_session_is_taken_and_no_other() -> None:
    app, subject = portal()
    good = token(await call(app, "/mine", headers=cookies()))
    sent = b"csrf_token=" + good.encode() + b"&what=%C3%A6&what=b"
    answer = await call(app, "/do", form=sent, headers=cookies())
    assert (answer.status, answer.header("Location")) == (303, "/mine")
    assert subject.sent == ["æ", "æ", "b", ""]
    subject.sent = []
    for form in ({}, {"csrf_token": ""}, {"csrf_token": good[:-1] + "x"}, b"csrf_token=%ff", b"\xff", b"a=1&" * 40):
        answer = await call(app, "/do", form=form, headers=cookies())
        assert (answer.status, "FORGED_FORM" in answer.text) == (403, True)
    answer = await call(app, "/do", form={"csrf_token": good}, headers={"Cookie": "__Host-vitne_session=another"})
    assert (answer.status, answer.header("Location")) == (303, "/?logged_out=1"), "nobody is logged in"
    answer = await call(app, "/do", form=b"csrf_token=" + good.encode() + b"&what=" + b"x" * 200, headers=cookies())
    assert (answer.status, "BODY_TOO_LARGE" in answer.text) == (413, True)
    assert subject.sent == []


@pytest.mark.parametrize("chosen", LANGUAGES)
async def test_a_refusal_is_a_page_in_the_reader_s_language(chosen: str) -> None:
    app, _ = portal()
    said = TEXTS[chosen]["refused"]
    for path, status, text, reason in (
        ("/away", 503, said["UNAVAILABLE"], "ISSUER_AWAY"),
        ("/no/such/page", 404, said["NOT_FOUND"], "NO_SUCH_PAGE"),
        ("/do", 404, said["NOT_FOUND"], "NO_SUCH_PAGE"),  # a form's address, come back to
        ("/broken", 500, said["other"], "INTERNAL"),
    ):
        answer = await call(app, path, headers={"Accept-Language": chosen})
        assert answer.status == status, path
        titles = TEXTS[chosen]["refused_titles"]
        heading = titles.get(reason) or titles[{503: "UNAVAILABLE", 404: "NOT_FOUND", 500: "other"}[status]]
        assert f"<h1>{html.escape(heading, quote=False)}</h1>" in answer.text.replace("&#39;", "'"), "what happened"
        assert (f'href="{path}">{TEXTS[chosen]["try_again"]}' in answer.text) == (status == 503), "what to do"
        assert answer.header("Content-Type").startswith("text/html")
        assert language(answer) == chosen
        assert html.escape(text) in answer.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
        assert reason in answer.text
        assert "Nordmann" not in answer.text


async def test_programs_are_refused_in_their_own_way() -> None:
    app, _ = portal()
    answer = await call(app, "/away.json")
    assert (answer.status, answer.header("Content-Type")) == (503, "application/problem+json")


async def test_who_is_not_logged_in_is_led_to_the_front_and_told_so_who_was() -> None:
    app, _ = portal()
    for path, expected in (("/mine?lang=nn", "/?lang=nn"), ("/mine", "/")):
        answer = await call(app, path)
        assert (answer.status, answer.header("Location")) == (303, expected), "she never was logged in"
    answer = await call(app, "/mine?lang=nn", headers={"Cookie": "__Host-vitne_session=ended"})
    assert (answer.status, answer.header("Location")) == (303, "/?lang=nn&logged_out=1")
    assert answer.cookies()[0].startswith('__Host-vitne_session="";'), "what is not her log-in any more is forgotten"


async def test_no_page_leads_again_to_an_address_that_is_good_for_one_time() -> None:
    app, _ = portal()
    answer = await call(app, "/once?code=secret&state=s")
    assert (answer.status, "ISSUER_AWAY" in answer.text) == (503, True)
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("language", "said"),
    [("da", '<span lang="da">K&lt;1&gt;</span>'), ('"><b', '<span lang="&#34;&gt;&lt;b">K&lt;1&gt;</span>')]
    + [(untold, "K&lt;1&gt;") for untold in (None, "", "und")],
)
def test_a_text_of_somebody_s_own_says_its_language(language: str | None, said: str) -> None:
    assert in_language("K<1>", language) == said
