"""Bodies of answers, read to their end and no further than a limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


async def read_bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """A body to its end, in however many pieces it comes; None: it is longer than the limit, in bytes."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            return None
        await asyncio.sleep(0)  # a fast sender must not keep the loop from others
    return bytes(body)
