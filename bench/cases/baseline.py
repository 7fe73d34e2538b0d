"""``rpc.noop.c16``: what a call costs here that does nothing."""

from __future__ import annotations

import sys
from typing import Any, Final

import grpc

from bench.catalogue import BASELINE
from bench.load import closed
from bench.noop import METHOD
from bench.resources import cpu_seconds, rss_mib
from bench.results import Finding
from bench.session import Case, Session
from vitne.dev.ports import LOOPBACK, answers, free_port
from vitne.dev.processes import ManagedProcess

_READY_SECONDS: Final = 30.0


async def noop(session: Session) -> None:
    """Sixteen calls at a time to a server of its own."""
    port = free_port()
    address = f"{LOOPBACK}:{port}"
    process = ManagedProcess("noop", [sys.executable, "-m", "bench.noop", address], log_path=session.home / "noop.log")
    process.start()
    try:
        await process.wait_ready(lambda: answers(port), _READY_SECONDS)
        async with grpc.aio.insecure_channel(address) as channel:
            call: Any = channel.unary_unary(METHOD)

            async def operation(_number: int) -> None:
                await call(b"")

            await closed(operation, 16, session.seconds(1))
            before = cpu_seconds([process.pid])
            measured = await closed(operation, 16, session.seconds(6))
            cpu = cpu_seconds([process.pid]) - before
        session.record(
            Finding.rate(
                BASELINE,
                measured,
                rss_mib=rss_mib(process.pid),
                cpu_ms_per_op=cpu * 1000 / measured.operations,
            )
        )
    finally:
        await process.stop()


CASES: Final = (Case((BASELINE,), noop),)
