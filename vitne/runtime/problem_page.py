"""Refusals for people: the same that programs read as problem details, as a page where a browser asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Any, Final

from fastapi.responses import HTMLResponse

#: What programs are answered.
_FOR_PROGRAMS: Final = ("application/json", "application/problem+json")
_HTML: Final = "text/html"
#: Characters of an Accept header that are read.
_HEADER_LIMIT: Final = 500
#: A weight (RFC 9110, section 12.4.2).
_WEIGHT: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z", re.ASCII)
#: The page loads nothing, runs nothing, and is nobody's to keep.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
<p>{detail}</p>
<dl>
{members}</dl>
<p><a href="/">To the front page</a></p>
</body>
</html>
"""
#: What is shown of a problem, beside its detail, and under which name.
_SHOWN: Final = {"field": "Field", "rule": "Rule", "remedy": "What to do", "reason": "Reason"}


def wants_page(accept: str) -> bool:
    """Whether who asks would rather read a page (RFC 9110, section 12.5.1): where HTML is named, as browsers do."""
    weights: dict[str, float] = {}
    for entry in accept[:_HEADER_LIMIT].split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        found = [match[1] for parameter in parameters if (match := _WEIGHT.match(parameter))]
        weights[name] = float(found[0]) if found else 1.0
    return weights.get(_HTML, 0.0) > max(weights.get(name, 0.0) for name in _FOR_PROGRAMS)


def problem_page(body: Mapping[str, Any], status: HTTPStatus, headers: Mapping[str, str] | None) -> HTMLResponse:
    """A problem's members (RFC 9457) as a page."""
    members = "".join(
        f"<dt>{label}</dt><dd>{escape(str(body[name]))}</dd>\n" for name, label in _SHOWN.items() if body.get(name)
    )
    title = f"{status.value} {escape(str(body['title']))}"
    page = _PAGE.format(title=title, detail=escape(str(body.get("detail", ""))), members=members)
    return HTMLResponse(page, status.value, {**(headers or {}), **_HEADERS})
