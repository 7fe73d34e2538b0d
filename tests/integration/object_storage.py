"""Object storages for tests: a real S3 server, and one that does not hold writes to conditions."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.integration import s3_server
from tests.integration.ledger_harness import eventually
from vitne.canonical import sha256
from vitne.dev.ports import LOOPBACK, free_ports

_ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def s3_bucket(folder: Path) -> AsyncIterator[str]:
    """Address of an empty bucket of a real S3 server; its output goes to the folder."""
    (port,) = free_ports(1)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", s3_server.__name__, str(port), cwd=_ROOT, stdout=log, stderr=log
        )
    url = f"http://{LOOPBACK}:{port}/log"

    async def made() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.put(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        await eventually(made, 90)
        yield url
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _answering(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Address of a bucket whose requests are answered so."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, LOOPBACK, port).start()
    try:
        yield f"http://{LOOPBACK}:{port}/log"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def unconditional_bucket(refusal: int | None) -> AsyncIterator[str]:
    """Address of a bucket in memory that writes whatever the condition; a refusal is what it answers conditions by."""
    files: dict[str, bytes] = {}

    async def answer(asked: web.Request) -> web.Response:
        if asked.method == "PUT":
            if refusal and asked.headers.keys() & {"If-Match", "If-None-Match"}:
                return web.Response(status=refusal)
            files[asked.path] = await asked.read()
        data = files.get(asked.path)
        if data is None:
            return web.Response(status=404)
        etag = {"ETag": f'"{sha256(data).hex()}"'}
        return web.Response(body=data if asked.method == "GET" else b"", headers=etag)

    async with _answering(answer) as url:
        yield url


@asynccontextmanager
async def troubled_bucket(troubles: int) -> AsyncIterator[str]:
    """Address of a bucket in memory that does what it is asked, and says so only after so many troubles each time."""
    files: dict[str, bytes] = {}
    left: dict[str, int] = {}

    def etag(data: bytes) -> str:
        return f'"{sha256(data).hex()}"'

    async def answer(asked: web.Request) -> web.Response:
        data, status = files.get(asked.path), 200
        if asked.method == "PUT":
            match, none = asked.headers.get("If-Match"), asked.headers.get("If-None-Match")
            if (match and (data is None or match != etag(data))) or (none and data is not None):
                status = 412
            else:
                data = files[asked.path] = await asked.read()
        elif data is None:
            status = 404
        left[asked.path] = left.get(asked.path, troubles) - 1
        if left[asked.path] >= 0:
            return web.Response(status=(500, 503)[left[asked.path] % 2])
        left.pop(asked.path)
        return web.Response(status=status, body=data or b"", headers={"ETag": etag(data)} if data is not None else {})

    async with _answering(answer) as url:
        yield url
