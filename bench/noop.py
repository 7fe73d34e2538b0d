"""``python -m bench.noop HOST:PORT``: a gRPC server whose one method does nothing, until SIGTERM.

It runs as the services do (grpc.aio on uvloop), without anything of theirs: what is
left is what any call costs, and what every rate is held against.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, Final

import grpc
import uvloop

_SERVICE: Final = "vitne.bench.Noop"
#: Full name of the method, as a client calls it. Its messages are empty.
METHOD: Final = f"/{_SERVICE}/Do"


async def _nothing(request: bytes, _context: Any) -> bytes:
    return request


async def _serve(address: str) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Do": grpc.unary_unary_rpc_method_handler(_nothing)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(address)
    await server.start()
    await ended.wait()
    await server.stop(grace=None)


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
