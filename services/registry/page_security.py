"""What a browser may do with a page of the registry's: show it in its own style; nothing runs, nothing is fetched."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from importlib.resources import files
from typing import Final

_STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def page_security(template: str, *, forms: bool = False) -> dict[str, str]:
    """Headers for a page (Content Security Policy Level 3, section 6).

    Args:
        template: the file with the page's ``<style>``; that, by its hash, is all that is allowed.
        forms: whether the page may send a form, to this registry alone.
    """
    source = (files("services.registry") / "templates" / template).read_text("utf-8")
    styles = [b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in _STYLE.findall(source)]
    allowed = " ".join(f"'sha256-{digest}'" for digest in styles)
    action = "'self'" if forms else "'none'"
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src {allowed}; base-uri 'none'; form-action {action}; "
        "frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
