"""Where may be posted to: whoever registers an endpoint chooses its URL, and it is we who call it.

A URL is looked at when it is registered and again before each call; the name's addresses when it resolves; and
the address itself when the socket is made, so that nothing lies between the check and the connection (OWASP:
server-side request forgery, DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from vitne.errors import InvalidArgument
from vitne.runtime.fetch import AddressNotPublic, is_loopback, is_public

#: Port of a URL that names none.
HTTPS_PORT: Final = 443
# A host whose last label is a number is an IPv4 address to some readers, however it is written (WHATWG URL, section
# 3.5): 127.1, 0x7f.1, 2130706433.
_NUMERIC: Final = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)\.?\Z", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Guard:
    """What may be called.

    Attributes:
        ports: that may be called.
        development: whether this machine itself may be called too: by its address or as ``localhost``, at any
            port, with http or https.
    """

    ports: frozenset[int]
    development: bool = False

    def check(self, url: str) -> None:
        """Check a URL that has the contract's format.

        Raises:
            InvalidArgument: ``WEBHOOK_URL_REFUSED``, with what is wrong with it as the rule.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _refused("an absolute URL with a host and a port that exist") from None
        if "@" in parts.netloc or "#" in url or not host:
            raise _refused("no user name, no password, no fragment")
        if is_loopback(host):
            if not self.development:
                raise _refused("a public address")
            return
        if parts.scheme != "https":
            raise _refused("https")
        if (HTTPS_PORT if port is None else port) not in self.ports:
            raise _refused(f"a port that the operator allows ({', '.join(map(str, sorted(self.ports)))})")
        if _address(host) is None:
            if _NUMERIC.search(host):
                raise _refused("a host name, or an IP address in its usual form")
        elif not is_public(host):
            raise _refused("a public address")

    def socket_factory(self) -> Callable[[Any], socket.socket]:
        """Makes sockets for aiohttp's connector, for addresses that may be called."""

        def make(info: Any) -> socket.socket:
            family, kind, protocol, _, address = info
            host = str(address[0])
            if not is_public(host) and not (self.development and is_loopback(host)):
                raise AddressNotPublic
            return socket.socket(family, kind, protocol)

        return make


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refused(rule: str) -> InvalidArgument:
    return InvalidArgument(
        "WEBHOOK_URL_REFUSED",
        "events are not posted to this URL",
        field="url",
        rule=rule,
        remedy="give an address like https://hooks.institution.example/vitne",
    )
