"""Forms as they are sent: ``application/x-www-form-urlencoded``, few fields, each a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote

from fastapi import Request

#: Fields of a form, at most: a page's choices, some four for each of 500 credentials. Each route bounds their bytes.
MAX_FIELDS: Final = 2_048
#: The same of a form that carries a large text: EMREX has four.
MAX_LARGE_FIELDS: Final = 16
#: Escapes in such a form besides those of Base64.
MAX_ESCAPES: Final = 4_096
#: What Base64 has that a form escapes, and what it is; white space between its lines too.
_BASE64_ESCAPES: Final = ((b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"="), (b"%0D", b"\r"), (b"%0A", b"\n"))


@dataclass(frozen=True, slots=True)
class Form:
    """What was filled in.

    Attributes:
        fields: all values of each name, in their order.
    """

    fields: Mapping[str, Sequence[str]]

    def text(self, name: str) -> str:
        """The first value of a field; empty where there is none."""
        return next(iter(self.fields.get(name, ())), "")

    def all(self, name: str) -> Sequence[str]:
        """All values of a field: what was ticked."""
        return self.fields.get(name, ())


async def read_form(request: Request) -> Form:
    """The form of a request; one that can't be read is an empty one."""
    body = await request.body()
    try:
        fields = parse_qs(
            body.decode("ascii"),
            encoding="utf-8",
            errors="strict",
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        fields = {}
    return Form(fields)


def parse_large_form(body: bytes) -> Form:
    """A form with a large text in Base64, which anybody may send: takes a few times its size, whatever is in it.

    Each escape costs a hundred times its three bytes in Python. Those of Base64 are replaced at once, and of others
    there may be only :data:`MAX_ESCAPES`: a form with more, or with more than :data:`MAX_LARGE_FIELDS` fields, is an
    empty one, as any that can't be read.
    """
    body = body.replace(b"+", b" ")
    for escaped, plain in _BASE64_ESCAPES:
        # None of them becomes a part of another escape: what they stand for is no hexadecimal digit.
        body = body.replace(escaped, plain).replace(escaped.lower(), plain)
    if body.count(b"%") > MAX_ESCAPES or body.count(b"&") >= MAX_LARGE_FIELDS:
        return Form({})
    fields: dict[str, list[str]] = {}
    try:
        for field in body.decode("ascii").split("&"):
            name, _, value = field.partition("=")
            fields.setdefault(unquote(name, errors="strict"), []).append(unquote(value, errors="strict"))
    except ValueError:
        return Form({})
    return Form(fields)
