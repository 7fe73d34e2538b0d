"""Headers of every answer: nothing is kept, nothing is loaded from elsewhere, nothing runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Of every answer that says something of somebody.
PRIVATE: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Language, Cookie",
}
#: A year, which is what RFC 6797 calls usual.
STRICT_TRANSPORT: Final = "max-age=31536000"


def content_security_policy(form_action: Iterable[str]) -> str:
    """The policy of a page (CSP 3): our own style and pictures, and nothing else.

    Args:
        form_action: origins besides our own that a form may end up at, by way of redirects too.
    """
    targets = " ".join(["'self'", *sorted(set(form_action))])
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {targets}"
    )
