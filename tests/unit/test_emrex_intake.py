"""What anybody may send where EMREX answers arrive: cheap to read, bounded, and taken only where somebody is asked."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.portal.emrex.assembly import Emrex
from services.portal.emrex.clients import Clients
from services.portal.emrex.envelope import MAX_FORM, unseal
from services.portal.emrex.providers import DataProviders
from services.portal.web.forms import MAX_ESCAPES, MAX_LARGE_FIELDS, parse_large_form
from services.portal.web.imports import ARRIVING, RETURN
from tests.unit.asgi import call
from tests.unit.emrex_samples import entry, providers_file
from tests.unit.portal_site import learner_site
from vitne.errors import InvalidArgument, NotFound


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["elmo", "sessionId", "æ ø", "a&b+c"]), st.text(max_size=20), min_size=1, max_size=4
    )
)
def test_a_large_form_says_what_any_form_says(fields: dict[str, str]) -> None:
    body = urlencode(fields)
    assert parse_large_form(body.encode()).fields == parse_qs(body, keep_blank_values=True)


@pytest.mark.parametrize(
    "text",
    ["a%2525b", "a%252Bb", "%%2B41", "a%2b%2F%3d%0d%0A", "a+b%2Bc", "%", "%4", "%zz", "a=b=c", "%26%3B", "a%2%2F5"],
)
def test_an_escape_is_read_once(text: str) -> None:
    assert (
        parse_large_form(f"elmo={text}".encode()).text("elmo")
        == parse_qs(f"elmo={text}", keep_blank_values=True)["elmo"][0]
    )


@pytest.mark.parametrize(
    "body",
    [
        b"elmo=" + b"%41" * (MAX_ESCAPES + 1),
        b"&".join([b"sessionId=a"] * (MAX_LARGE_FIELDS + 1)),
        "sessionId=æ".encode(),
        b"sessionId=%ff",
    ],
    ids=["escapes", "fields", "not-ascii", "not-utf-8"],
)
def test_a_large_form_that_cant_be_read_is_an_empty_one(body: bytes) -> None:
    assert parse_large_form(body).fields == {}


@pytest.mark.parametrize("escape", ["%41", "%2B", "%0D%0A", "&a=b"])
def test_a_large_form_takes_a_few_times_its_size(escape: str) -> None:
    """Read as any form, it took eighty times its size."""
    body = b"elmo=" + escape.encode() * (1_000_000 // len(escape))
    tracemalloc.start()
    try:
        parse_large_form(body)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    finally:
        tracemalloc.stop()


def test_an_envelope_takes_a_few_times_its_size() -> None:
    text = "AB " * 300_000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument, match="ENVELOPE_BROKEN"):
            unseal(text)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text)
    finally:
        tracemalloc.stop()


class Nobody:
    """Awaits no answer."""

    async def awaited(self, _session: str) -> Any:
        raise NotFound("EMREX_SESSION_UNKNOWN", "no results are awaited")


def asked(folder: Path) -> Any:
    """A portal that fetches from one data provider."""
    providers = DataProviders.read(providers_file(folder, entry()), allow_http=False)
    return learner_site([], None, emrex=Emrex(Clients([]), providers, Nobody(), None))  # type: ignore[arg-type]


async def test_where_nobody_asks_or_is_asked_emrex_is_not_served() -> None:
    app = learner_site([], None)
    for path in (RETURN, "/emrex", "/emrex/answer"):
        unknown = await call(app, "/no-such-page", form={})
        assert (await call(app, path, form={"sessionId": "s" * 32})).status == unknown.status
    for path in ("/emrex/results", "/emrex/login", "/emrex/certificate.pem"):
        answer = await call(app, path)
        assert (answer.status, ">NO_SUCH_PAGE<" in answer.text) == (404, True)


async def test_bodies_that_are_under_way_are_bounded(tmp_path: Path) -> None:
    app = asked(tmp_path)
    arrived, waiting = asyncio.Event(), asyncio.Semaphore(0)
    form = urlencode({"sessionId": "s" * 32, "returnCode": "NCP_CANCEL"}).encode()

    async def slow(number: int) -> int:
        answered: list[Any] = []

        async def receive() -> Any:
            waiting.release()
            await arrived.wait()
            return {"type": "http.request", "body": form, "more_body": False}

        async def send(message: Any) -> None:
            answered.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": RETURN,
            "raw_path": RETURN.encode(),
            "query_string": b"",
            "headers": [],
            "client": ("192.0.2.1", number),
            "server": ("portal.example", 443),
            "scheme": "https",
        }
        await app(scope, receive, send)
        status: int = answered[0]["status"]
        return status

    places = ARRIVING // MAX_FORM
    async with asyncio.TaskGroup() as sending:
        under_way = [sending.create_task(slow(number)) for number in range(places)]
        for _ in range(places):
            await waiting.acquire()
        refused = await call(app, RETURN, form=form)
        assert (refused.status, ">TOO_MANY_ANSWERS<" in refused.text) == (429, True)
        arrived.set()
    assert [task.result() for task in under_way] == [404] * places
    assert (await call(app, RETURN, form=form)).status == 404, "there is room again"
    # What says that it is small takes no more room than it needs.
    assert (await call(app, RETURN, form=form, headers={"Content-Length": str(len(form))})).status == 404
