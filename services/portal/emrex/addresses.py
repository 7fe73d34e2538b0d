"""Addresses that forms lead to: such that a Content-Security-Policy can name them exactly. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

#: Longest address: it travels in a cookie.
MAX_ADDRESS: Final = 1024
# No fragment, no user, and nothing that ends a source or a directive of the policy (CSP 3, section 2.3.1).
_ADDRESS: Final = re.compile(r"(https?)://[a-z0-9.-]+(?::\d{1,5})?/[A-Za-z0-9._~/%-]*(?:\?[A-Za-z0-9._~/%=&-]*)?\Z")

_ORIGIN: Final = re.compile(r"(https?)://[a-z0-9.-]+(?::\d{1,5})?\Z")


def check_address(address: str, *, allow_http: bool) -> str:
    """An address that forms may lead to, as it is.

    Args:
        address: absolute, with a path.
        allow_http: development only.

    Raises:
        ValueError: it is not such an address.
    """
    match = _ADDRESS.match(address)
    if match is None or len(address) > MAX_ADDRESS or (match[1] == "http" and not allow_http):
        raise ValueError(f"write {address[:100]!r} as https://host/path, without user and fragment")
    return address


def check_origin(origin: str, *, allow_http: bool) -> str:
    """An origin (RFC 6454, section 6.2), as it is.

    Args:
        origin: without a slash at the end.
        allow_http: development only.

    Raises:
        ValueError: it is no such origin.
    """
    match = _ORIGIN.match(origin)
    if match is None or len(origin) > MAX_ADDRESS or (match[1] == "http" and not allow_http):
        raise ValueError(f"write {origin[:100]!r} as https://host")
    return origin


def policy_source(address: str) -> str:
    """An address as a source of ``form-action``: up to its query, which the policy does not look at."""
    return address.partition("?")[0]


def host(address: str) -> str:
    """The host, for people to see where something goes."""
    return urlsplit(address).hostname or ""
