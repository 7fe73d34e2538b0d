"""Names that somebody else chose are resolved apart: those that never answer keep nobody else from resolving."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from services.issuer.webhooks.address import Guard
from services.issuer.webhooks.resolver import SeparateResolver
from services.issuer.webhooks.sender import Sender
from vitne.clock import SystemClock
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks

#: More than the event loop has threads for names, on any machine.
MANY = 64


async def test_names_that_never_answer_block_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    real, answered, asked = socket.getaddrinfo, threading.Event(), threading.Event()

    def tarpit(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".tarpit.example"):
            asked.set()
            answered.wait(100)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", tarpit)
    sender = Sender(Guard(frozenset({443})), SystemClock(), connections=MANY, timeout_seconds=1)
    try:
        attempts = [
            asyncio.create_task(sender.post(f"https://{number}.tarpit.example/", {}, b"")) for number in range(MANY)
        ]
        async with asyncio.timeout(60):
            await asyncio.to_thread(asked.wait)
            # The issuer's own: its database, its broker.
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 443)
            outcomes = {answer.outcome for answer in await asyncio.gather(*attempts)}
        assert outcomes == {webhooks.WEBHOOK_OUTCOME_TIMEOUT}
    finally:
        answered.set()
        await sender.close()


async def test_a_name_is_resolved_to_its_addresses() -> None:
    resolver = SeparateResolver()
    (found, *_) = await resolver.resolve("localhost", 8443)
    assert (found["hostname"], found["host"], found["port"]) == ("localhost", "127.0.0.1", 8443)
    with pytest.raises(OSError, match=r"."):
        await resolver.resolve("no-such-name.invalid")
    await resolver.close()
