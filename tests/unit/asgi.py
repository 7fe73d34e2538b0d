"""A client of an ASGI application, without a server: what is sent, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.types import Message


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def header(self, name: str) -> str:
        """The first header of a name; empty where there is none."""
        return next((value for one, value in self.headers if one == name.lower()), "")

    def cookies(self) -> list[str]:
        return [value for name, value in self.headers if name == "set-cookie"]


async def call(
    app: Any,
    path: str,
    *,
    form: Mapping[str, str] | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
) -> Answer:
    """GET ``path``, or POST a form to it."""
    route, _, query = path.partition("?")
    body = form if isinstance(form, bytes) else urlencode(form or {}).encode()
    sent = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": method or ("GET" if form is None else "POST"),
        "path": route,
        "raw_path": route.encode(),
        "query_string": query.encode(),
        "headers": sent,
        "client": ("192.0.2.1", 40000),
        "server": ("portal.example", 443),
        "scheme": "https",
    }
    answered: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        answered.append(message)

    await app(scope, receive, send)
    start = answered[0]
    return Answer(
        start["status"],
        [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]],
        b"".join(message.get("body", b"") for message in answered[1:]),
    )
