"""Forms as they are sent: ``application/x-www-form-urlencoded``, few fields, each a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from fastapi import Request

#: Fields of a form, at most: a page's choices, with room for what a browser's extension may add.
MAX_FIELDS: Final = 512


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
