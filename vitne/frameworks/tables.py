"""A strict reader of TOML: every value is asked for by its type, and what nobody asked for is refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

from vitne.errors import InvalidArgument

_TERM: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\Z")


class Table:
    """A TOML table that knows where it stands and which of its keys nobody asked for.

    Every method that reads a key raises InvalidArgument (``BAD_FRAMEWORK``), naming file and
    place, when the key is missing or of another type.
    """

    def __init__(self, file: str, path: str, content: Mapping[str, Any]) -> None:
        self.file = file
        self._path = path
        self._content = content
        self._read: set[str] = set()

    @classmethod
    def parse(cls, file: str, text: str) -> Table:
        """Read a whole file.

        Raises:
            InvalidArgument: ``BAD_FRAMEWORK`` for what is not TOML.
        """
        try:
            return cls(file, "", tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            # The decoder's message has line and column.
            raise bad(file, "", f"not TOML: {error}", rule="TOML 1.0", remedy="mend the line that is named") from error

    def entries(self) -> list[str]:
        """Every key, in the file's order."""
        return list(self._content)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._content

    def is_list(self, key: str) -> bool:
        """Whether a list stands at the key."""
        return isinstance(self._content.get(key), list)

    def bad(self, key: str, problem: str, *, rule: str, remedy: str) -> InvalidArgument:
        """The refusal of what stands at a key; a rule or term that has an id is named by it, too."""
        named = self._content.get("id")
        whose = f" ({named})" if isinstance(named, str) and key != "id" else ""
        return bad(self.file, self._at(key), problem + whose, rule=rule, remedy=remedy)

    def done(self) -> None:
        """Refuse keys that nothing has read."""
        for key in self._content.keys() - self._read:
            raise self.bad(
                key,
                "unknown key",
                rule="keys here: " + (", ".join(sorted(self._read)) or "none"),
                remedy="correct its spelling, or leave it out",
            )

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.bad(key, "no text", rule="a text that is not empty", remedy="write a text in quotes")
        return value

    def optional_text(self, key: str) -> str:
        """A text; empty where the key is absent."""
        return self.text(key) if key in self._content else ""

    def term(self, key: str) -> str:
        """A dotted identifier, such as ``no.fagskole.module``."""
        value = self.text(key)
        if not _TERM.match(value):
            raise self.bad(
                key,
                f"{value} is no identifier",
                rule="words of a to z, digits and _, with dots between them, in lower case",
                remedy="write it like no.fagskole.module",
            )
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts, each once."""
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.bad(key, "no list of texts", rule="a list of texts", remedy='write it like ["a", "b"]')
        if len(set(value)) != len(value):
            raise self.bad(key, "something is there twice", rule="each once", remedy="leave one of them out")
        return value

    def terms(self, key: str, known: Iterable[str]) -> frozenset[str]:
        """A list, not empty, of terms that are defined."""
        found = frozenset(self.texts(key))
        if not found:
            raise self.bad(key, "the list is empty", rule="at least one", remedy="name one, or leave the entry out")
        self.require_known(key, found, known)
        return found

    def require_known(self, key: str, found: Iterable[str], known: Iterable[str]) -> None:
        """Refuse terms that the file does not define."""
        unknown = sorted(set(found) - set(known))
        if unknown:
            raise self.bad(
                key,
                f"{', '.join(unknown)} is not defined",
                rule="a term is defined before it is used",
                remedy="use one of " + ", ".join(sorted(known)) + ", or define it",
            )

    def names(self, key: str) -> Mapping[str, str]:
        """Names by language, English among them."""
        table = self.table(key)
        names = {language: table.text(language) for language in table.entries()}
        if "en" not in names:
            raise self.bad(
                key, "no English name", rule="the country's own words, and English ones", remedy='add en = "…"'
            )
        return MappingProxyType(names)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise self.bad(key, "neither true nor false", rule="true or false", remedy="write it without quotes")
        return value

    def optional_flag(self, key: str) -> bool:
        """True or false; false where the key is absent."""
        return key in self._content and self.flag(key)

    def optional_day(self, key: str) -> date | None:
        """A day, or None."""
        if key not in self._content:
            return None
        value = self._take(key)
        if type(value) is not date:
            raise self.bad(key, "no day", rule="a day, without quotes", remedy="write it like 2025-01-01")
        return value

    def optional_years(self, key: str) -> int | None:
        """A number of years from 1, or None."""
        if key not in self._content:
            return None
        value = self._take(key)
        if type(value) is not int or value < 1:
            raise self.bad(
                key, "no number of years", rule="a whole number from 1", remedy="write it like 10, without quotes"
            )
        return value

    def optional_decimal(self, key: str) -> Decimal | None:
        """A decimal number, zero or more, or None. Written in quotes: a TOML float is binary, a rule's limit is not."""
        if key not in self._content:
            return None
        rule, remedy = "a decimal number in quotes, zero or more", 'write it like "0.5"'
        value = self._take(key)
        try:
            number = Decimal(value) if isinstance(value, str) else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite() or number < 0:
            raise self.bad(key, f"{value} is no number in quotes, zero or more", rule=rule, remedy=remedy)
        return number

    def table(self, key: str) -> Table:
        """A table inside this one."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.bad(key, "no table", rule="a table", remedy=f"write it as [{key}], or as {{ … }} in one line")
        return Table(self.file, self._at(key), value)

    def tables(self, key: str) -> list[Table]:
        """A list of tables; none where the key is absent."""
        if key not in self._content:
            return []
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.bad(key, "no list of tables", rule="a list of tables", remedy=f"write each as [[{key}]]")
        return [Table(self.file, f"{self._at(key)}[{number}]", item) for number, item in enumerate(value)]

    def _take(self, key: str) -> Any:
        if key not in self._content:
            raise self.bad(key, "missing", rule=f"{key} is always stated", remedy="state it")
        self._read.add(key)
        return self._content[key]

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def bad(file: str, key: str, problem: str, *, rule: str, remedy: str) -> InvalidArgument:
    """The refusal of a file of rules, at a place in it; the whole file without a key."""
    return InvalidArgument(
        "BAD_FRAMEWORK",
        f"{file}: {key or 'the file'}: {problem}",
        field=f"{file}: {key}" if key else file,
        rule=rule,
        remedy=remedy,
    )
