"""Object storage by its answers: which are a condition that did not hold, trouble for a moment, an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vitne.clock import ManualClock
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.errors import Unavailable
from vitne.runtime.objects import Kind
from vitne.runtime.objects.s3 import PROBE, S3Objects
from vitne.runtime.objects.signature_v4 import Credentials

ANY = Kind("text/x-any", "no-store")
CONDITIONS = ("If-Match", "If-None-Match")


def client(base: str) -> S3Objects:
    return S3Objects(base, Credentials("key", "secret", "us-east-1"), ManualClock(datetime(2026, 11, 21, tzinfo=UTC)))


@asynccontextmanager
async def storage(
    answer: Callable[[web.Request], int], holds: tuple[str, ...] = CONDITIONS, probe: Sequence[int] = ()
) -> AsyncIterator[tuple[S3Objects, list[web.Request]]]:
    """A storage of one who answers; the file by which it is tried holds to the conditions that are named.

    Args:
        answer: to what is asked of other files.
        holds: conditions.
        probe: what the file answers before that.
    """
    refusals = iter(probe)
    asked: list[web.Request] = []
    made: set[str] = set()

    async def answered(request: web.Request) -> web.Response:
        await request.read()
        asked.append(request)
        headers = {"ETag": '"tag"', "Location": "/elsewhere"}
        if request.path.endswith(PROBE):
            await asyncio.sleep(0.01)
            if refused := next(refusals, None):
                return web.Response(status=refused)
            given = [name for name in holds if name in request.headers]
            fails = given and ("If-Match" in given or PROBE in made)
            made.add(PROBE)
            return web.Response(status=412 if fails else 200, headers=headers)
        return web.Response(status=answer(request), headers=headers)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answered)
    async with TestServer(application, host=LOOPBACK) as server:
        objects = client(f"{server.make_url('/bucket')}")
        yield objects, asked
        await objects.close()


@pytest.mark.parametrize(
    ("status", "over"), [(412, "tag"), (409, "tag"), (404, "tag"), (412, None), (409, None)], ids=str
)
async def test_a_condition_that_did_not_hold_is_no_outage(status: int, over: str | None) -> None:
    async with storage(lambda _request: status) as (objects, _):
        assert await objects.replace("list", b"", ANY, over=over) is None


@pytest.mark.parametrize(("status", "over"), [(404, None), (403, "tag"), (400, None), (302, "tag")], ids=str)
async def test_any_other_answer_is_one(status: int, over: str | None) -> None:
    async with storage(lambda _request: status) as (objects, _):
        with pytest.raises(Unavailable, match=f"it answered {status}"):
            await objects.replace("list", b"", ANY, over=over)
        if status != 404:
            with pytest.raises(Unavailable, match=f"it answered {status}"):
                await objects.read("list")
        with pytest.raises(Unavailable, match=f"it answered {status}"):
            await objects.put("list", b"", ANY)


@pytest.mark.parametrize("status", [412, 409, 404])
async def test_without_conditions_no_answer_is_one_that_did_not_hold(status: int) -> None:
    async with storage(lambda request: 404 if request.method == "GET" else status, holds=()) as (objects, _):
        with pytest.raises(Unavailable, match=f"it answered {status}"):
            await objects.replace("list", b"", ANY, over=None)


@pytest.mark.parametrize("holds", [(), ("If-Match",), ("If-None-Match",)], ids=str)
async def test_a_storage_that_holds_one_kind_of_condition_holds_none(
    holds: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with storage(lambda request: 404 if request.method == "GET" else 200, holds) as (objects, asked):
        assert await objects.replace("list", b"", ANY, over=None) == '"tag"'
        (written,) = [each for each in asked if each.method == "PUT" and each.path == "/bucket/list"]
        assert not written.headers.keys() & set(CONDITIONS)
    assert "STORAGE_UNCONDITIONAL" in caplog.text


async def test_a_refusal_for_another_reason_says_nothing_of_conditions_and_is_not_remembered() -> None:
    async with storage(lambda _request: 200, probe=[403]) as (objects, asked):
        with pytest.raises(Unavailable, match="it answered 403"):
            await objects.replace("list", b"", ANY, over=None)
        assert [each.path for each in asked] == [f"/bucket/{PROBE}"]
        assert await objects.replace("list", b"", ANY, over=None) == '"tag"'
        assert asked[-1].headers["If-None-Match"] == "*"


async def test_whoever_writes_at_once_has_it_asked_once() -> None:
    async with storage(lambda _request: 200) as (objects, asked):
        await asyncio.gather(*(objects.replace(f"{number}", b"", ANY, over=None) for number in range(5)))
        assert [each.path for each in asked].count(f"/bucket/{PROBE}") == 3


async def test_a_write_says_how_the_file_is_to_be_served() -> None:
    async with storage(lambda _request: 200) as (objects, asked):
        await objects.put("list", b"", ANY)
        assert asked[0].headers["Content-Type"] == ANY.media_type
        assert asked[0].headers["Cache-Control"] == ANY.cache_control


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_trouble_is_waited_out_for_a_moment(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [status, status, 200]
    waited: list[float] = []

    async def sleep(_clock: ManualClock, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(ManualClock, "sleep", sleep)
    async with storage(lambda _request: left.pop(0)) as (objects, _):
        await objects.put("list", b"", ANY)
    assert (left, len(waited)) == ([], 2)
    assert 0 < waited[0] < waited[1]


async def test_a_storage_where_nobody_answers_is_out_of_reach() -> None:
    objects = client(f"http://{LOOPBACK}:{free_ports(1)[0]}/bucket")
    with pytest.raises(Unavailable, match="STORAGE_UNAVAILABLE"):
        await objects.get("list")
    await objects.close()
