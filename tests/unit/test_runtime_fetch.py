from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.resolver import ThreadedResolver

from vitne.errors import InvalidArgument, PermissionDenied, Unavailable
from vitne.runtime import fetch
from vitne.runtime.fetch import AllowRule, Fetcher, parse_rules

PREFIX = "https://status.vitne.example/"
Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a handler on loopback; answers its base URL."""
    runners: list[web.AppRunner] = []

    async def start(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}/"

    yield start
    for runner in runners:
        await runner.cleanup()


def fetcher(base: str, **options: Any) -> Fetcher:
    return Fetcher([AllowRule(PREFIX, base)], development=True, **options)


async def reason_of(call: Awaitable[Any]) -> str:
    with pytest.raises((Unavailable, PermissionDenied)) as caught:
        await call
    return caught.value.reason


async def test_the_rule_says_where_and_the_answer_keeps_its_name(serve: Serve) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(f"{request.path_qs} {request.headers['Accept']} {request.headers.get('Cookie')}")
        response = web.Response(text="list", content_type="application/statuslist+jwt")
        response.set_cookie("follow", "me")
        return response

    async with fetcher(await serve(handler) + "lists/") as fetching:
        for _ in range(2):
            fetched = await fetching.fetch(PREFIX + "2026/dk-7?x=1", accept="application/statuslist+jwt")
    assert asked == ["/lists/2026/dk-7?x=1 application/statuslist+jwt None"] * 2
    assert (fetched.url, fetched.body, fetched.content_type) == (
        PREFIX + "2026/dk-7?x=1",
        b"list",
        "application/statuslist+jwt",
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://status.vitne.example.evil/x",
        "https://status.vitne.example@evil/x",
        "https://status.vitne.example:444/x",
        "http://status.vitne.example/x",
        "https://other.example/x",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "",
        *(PREFIX + rest for rest in ("../x", "a/../x", "a/..", "./x", "..?x", "%2e%2e/x", "a\\b", "/evil/x", "a#b")),
        *(PREFIX + rest for rest in ("a b", "a\nb", "ø", "a" * 2000)),
    ],
)
async def test_what_no_rule_covers_is_not_called(serve: Serve, url: str) -> None:
    called = False

    async def handler(_: web.Request) -> web.Response:
        nonlocal called
        called = True
        return web.Response()

    async with fetcher(await serve(handler)) as fetching:
        assert await reason_of(fetching.fetch(url)) == "FETCH_NOT_ALLOWED"
    assert not called


@pytest.mark.parametrize("private", [False, True])
async def test_a_name_that_leads_to_a_private_address_is_called_where_its_rule_says_so(
    monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    called = asyncio.Event()

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        writer.close()

    class Cluster(ThreadedResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            assert host == "ledger.vitne.svc"
            return await super().resolve("127.0.0.1", port, family)

    monkeypatch.setattr(fetch, "ThreadedResolver", Cluster)
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rule = AllowRule.parse(f"{PREFIX}=https://Ledger.vitne.svc:{port}/{';private' if private else ''}")
    async with server, Fetcher([rule]) as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_FAILED"
    assert called.is_set() == private


@pytest.mark.parametrize("text", [f"{PREFIX}=https://b.svc/", f"{PREFIX}=https://b.svc/;private"])
def test_a_rule_is_read_as_it_is_written(text: str) -> None:
    rule = AllowRule.parse(text)
    assert (rule.base, rule.private, str(rule)) == ("https://b.svc/", text.endswith("private"), text)


def test_the_longest_prefix_decides() -> None:
    rules = parse_rules(f"{PREFIX}=https://a.example/ {PREFIX}2026/=https://b.example/lists/")
    fetching = Fetcher(rules)
    assert fetching.place_of(PREFIX + "2025/x") == "https://a.example/2025/x"
    assert fetching.place_of(PREFIX + "2026/x") == "https://b.example/lists/x"


@pytest.mark.parametrize(
    "text",
    [
        "https://a/;public",
        ";private",
        "https://a.example",
        "https://a.example/=https://b.example",
        "ftp://a/=https://b/",
        "https://u@a/",
        "https://[a/",
        "x",
        "=",
    ],
)
def test_a_malformed_rule_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_ALLOW_RULE"):
        AllowRule.parse(text)


@pytest.mark.parametrize(
    ("base", "development"),
    [("http://127.0.0.1:1/", False), ("http://status.example/", True), ("http://10.0.0.1/", True)],
)
def test_plain_http_goes_only_to_loopback_in_development(base: str, development: bool) -> None:
    with pytest.raises(InvalidArgument, match="BAD_ALLOW_RULE"):
        Fetcher([AllowRule(PREFIX, base)], development=development)


async def test_a_redirect_is_not_followed(serve: Serve) -> None:
    followed = False

    async def target(_: web.Request) -> web.Response:
        nonlocal followed
        followed = True
        return web.Response(text="secret")

    elsewhere = await serve(target)

    async def handler(_: web.Request) -> web.Response:
        raise web.HTTPFound(elsewhere)

    async with fetcher(await serve(handler)) as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_FAILED"
    assert not followed


@pytest.mark.parametrize("chunked", [False, True])
async def test_size_is_bounded_announced_or_not(serve: Serve, chunked: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if not chunked:
            return web.Response(body=bytes(101))
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(20):
            await response.write(bytes(10))
        return response

    async with fetcher(await serve(handler), max_bytes=100) as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_TOO_LARGE"


async def test_time_is_bounded(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with fetcher(await serve(handler), timeout_seconds=0.05) as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_TIMEOUT"


@pytest.mark.parametrize("status", [204, 304, 404, 500])
async def test_any_answer_but_200_is_none(serve: Serve, status: int) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with fetcher(await serve(handler)) as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_FAILED"


async def test_a_compressed_answer_that_nobody_asked_for_is_refused(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})

    async with fetcher(await serve(handler)) as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_FAILED"


async def test_nobody_there_is_unavailable() -> None:
    async with fetcher("http://127.0.0.1:1/") as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_FAILED"


async def test_what_has_not_changed_is_not_sent_again(serve: Serve) -> None:
    conditions: list[str | None] = []
    version = 1

    async def handler(request: web.Request) -> web.Response:
        condition = request.headers.get("If-None-Match")
        conditions.append(condition)
        etag = f'"{version}"'
        if condition == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(text=f"version {version}", headers={"ETag": etag})

    async with fetcher(await serve(handler), cached_bodies=1) as fetching:
        bodies = [(await fetching.fetch(PREFIX + "x")).body for _ in range(2)]
        version = 2
        bodies.append((await fetching.fetch(PREFIX + "x")).body)
        await fetching.fetch(PREFIX + "y")  # takes the only place
        bodies.append((await fetching.fetch(PREFIX + "x")).body)
    assert bodies == [b"version 1", b"version 1", b"version 2", b"version 2"]
    assert conditions == [None, '"1"', '"1"', None, None]


async def test_a_host_name_that_leads_to_a_private_address_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = False

    def connect(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected = True
        writer.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def lookup(*_: Any, **__: Any) -> Any:
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup, raising=False)
    async with server, Fetcher([AllowRule(PREFIX, f"https://rebound.example:{port}/")]) as fetching:
        assert await reason_of(fetching.fetch(PREFIX + "x")) == "FETCH_FAILED"
        await asyncio.sleep(0.05)
    assert not connected
