"""How a module says what it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response

#: Bytes of a form, at most, unless a route says otherwise.
MAX_FORM: Final = 4096

Page = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One address.

    Attributes:
        method: of HTTP.
        path: as FastAPI writes it, ``/s/{token}``.
        page: answers; what it refuses is shown as a page.
        max_body: bytes of a request's body, at most.
        for_programs: True: what it refuses is answered as problem details (RFC 9457), no page.
        once: True: its query is good for one time, and a secret: no page of a refusal leads there again.
    """

    method: str
    path: str
    page: Page
    max_body: int = MAX_FORM
    for_programs: bool = False
    once: bool = False
