"""JSON that others wrote, read by name and type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final, TypeVar

from vitne.errors import InvalidArgument

# What the contract takes for a decimal (``FORMAT_DECIMAL``), and nothing else was ever published.
_DECIMAL: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,2})?")
_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_T = TypeVar("_T")


class Members:
    """A JSON object, read by name and type; errors name the path.

    Args:
        members: the object.
        path: where it stands, with a dot behind; empty for the outermost.
        rule: what says what it is to hold, for refusals.
    """

    def __init__(self, members: Mapping[str, Any], path: str = "", *, rule: str) -> None:
        self._members = members
        self._path = path
        self._rule = rule

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def where(self, name: str) -> str:
        """The path of a member."""
        return f"{self._path}{name}"

    def _get(self, name: str, kind: type[_T], says: str) -> _T:
        if name not in self._members:
            raise self._refused("CLAIM_MISSING", self.where(name), "the claim is missing")
        value = self._members[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._refused("CLAIM_MALFORMED", self.where(name), f"the claim is not {says}")
        return value

    def text(self, name: str) -> str:
        """A text that is not empty."""
        value = self._get(name, str, "text")
        if not value:
            raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is empty")
        return value

    def optional_text(self, name: str) -> str | None:
        """The same; None where it is missing."""
        return self.text(name) if name in self._members else None

    def number(self, name: str) -> int:
        """A whole number."""
        return self._get(name, int, "a whole number")

    def optional_decimal(self, name: str) -> str:
        """A decimal as the contract has it (``FORMAT_DECIMAL``); empty where it is missing."""
        text = self.optional_text(name)
        if text is not None and not _DECIMAL.fullmatch(text):
            raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is not a decimal like 0.75")
        return text or ""

    def digest(self, name: str) -> str:
        """A SHA-256, base64url."""
        text = self.text(name)
        if not _DIGEST.fullmatch(text):
            raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is not a SHA-256 in base64url")
        return text

    def members(self, name: str) -> dict[str, Any]:
        """An object as it is."""
        return self._get(name, dict, "an object")

    def object(self, name: str) -> Members:
        """An object, to be read."""
        return Members(self.members(name), f"{self.where(name)}.", rule=self._rule)

    def objects(self, name: str) -> list[Members]:
        """An array of objects, to be read."""
        items = self._get(name, list, "an array")
        if not all(isinstance(item, dict) for item in items):
            raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is not an array of objects")
        return [Members(item, f"{self.where(name)}[{place}].", rule=self._rule) for place, item in enumerate(items)]

    def strings(self, name: str) -> list[str]:
        """An array of texts; empty where it is missing."""
        items = self._get(name, list, "an array") if name in self._members else []
        if not all(isinstance(item, str) for item in items):
            raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is not an array of text")
        return items

    def numbers(self, name: str) -> list[int]:
        """An array of whole numbers; empty where it is missing."""
        items = self._get(name, list, "an array") if name in self._members else []
        if not all(type(item) is int for item in items):
            raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is not an array of whole numbers")
        return items

    def texts(self, name: str) -> dict[str, str]:
        """Texts by language, at least one."""
        texts = self.members(name)
        if not texts or not all(isinstance(text, str) and text for text in texts.values()):
            raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is not text by language")
        return texts

    def optional_texts(self, name: str) -> dict[str, str]:
        """The same; empty where it is missing."""
        return self.texts(name) if name in self._members else {}

    def day(self, name: str) -> date:
        """A day (RFC 3339, ``full-date``)."""
        text = self.text(name)
        try:
            read = date.fromisoformat(text)
            if read.isoformat() == text:
                return read
        except ValueError:
            pass
        raise self._refused("CLAIM_MALFORMED", self.where(name), "the claim is not a day like 2026-11-21")

    def optional_object(self, name: str) -> Members | None:
        """An object, to be read; None where it is missing."""
        return self.object(name) if name in self._members else None

    def refused(self, name: str, message: str) -> InvalidArgument:
        """The refusal of a member that says what it can't."""
        return self._refused("CLAIM_MALFORMED", self.where(name), message)

    def _refused(self, reason: str, where: str, message: str) -> InvalidArgument:
        return refused(reason, where, message, rule=self._rule)


def refused(reason: str, where: str, message: str, *, rule: str) -> InvalidArgument:
    """The refusal of a credential that can't be understood."""
    return InvalidArgument(
        reason, message, field=where, rule=rule, remedy="ask the issuer for a credential of this type, unchanged"
    )
