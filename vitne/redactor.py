"""What keeps personal data and secrets out of logs, traces and metrics.

The second line of defence: the first is that nobody writes content into them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

#: What stands in for something that must not be told.
WITHHELD: Final = "<withheld>"
#: What every log record has: not an extra of whoever logs.
STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# Ids are matched first and kept: their hexadecimal may hold eleven digits in a row by chance.
_SENSITIVE = re.compile(
    r"(?P<id>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b)"
    r"|(?P<bearer>\b[Bb]earer\s+)[^\s\"',;]+"
    # A JWT or SD-JWT begins with base64url of '{"', a disclosure alone with that of '["'.
    r"|\b(?:eyJ|Wy[I-L][A-Za-z0-9_-]{8})[A-Za-z0-9_.~-]*"
    r"|(?<!\d)\d{6}[ -]?\d{5}(?!\d)"
)
# PostgreSQL quotes the values of the offending row in these.
_ROW_VALUES = re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE)


def redact(text: str) -> str:
    """Withhold what looks like a national identity number, a token, or a quoted database row."""
    return _ROW_VALUES.sub(
        lambda match: f"{match[1]}: {WITHHELD}",
        _SENSITIVE.sub(lambda match: match["id"] or (match["bearer"] or "") + WITHHELD, text),
    )


def redacted(value: Any) -> Any:
    """A value of any depth with all its text redacted; numbers that look like a person's become text."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(entry) for entry in value]
    if value is None or isinstance(value, bool | float):
        return value
    text = redact(str(value))
    return value if isinstance(value, int) and text == str(value) else text


class Redactor(logging.Filter):
    """Withholds personal data and secrets in a record's message, extras and exception text."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; it always passes."""
        record.msg, record.args = redact(record.getMessage()), None
        for key, value in vars(record).items():
            if key not in STANDARD_FIELDS:
                setattr(record, key, redacted(value))
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True
