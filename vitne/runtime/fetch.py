"""Fetching what documents name, without being led anywhere (OWASP: server-side request forgery).

A credential names addresses, and whoever made it chose them. So nothing is
fetched but what an *allow-rule* of the operator covers: a URL prefix, and the
base address where what has that prefix is really fetched. There are no
redirects, no proxies from the environment, no cookies; sizes and times are
bounded; and a host name that resolves to a private address is called only where the
rule says that its base is private.
"""

from __future__ import annotations

import ipaddress
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from vitne.errors import InvalidArgument, PermissionDenied, Unavailable
from vitne.runtime.bodies import read_bounded

#: Longest URL that is looked at.
MAX_URL_LENGTH: Final = 2_000
#: Largest body unless the caller says otherwise, in bytes: a status list of four million entries has two megabytes.
DEFAULT_MAX_BYTES: Final = 2 * 1024 * 1024
#: Whole time of a fetch in seconds: somebody waits for a verdict.
DEFAULT_TIMEOUT_SECONDS: Final = 5.0
#: Bodies that are kept for revalidation by their ETag; the least recently used goes first.
DEFAULT_CACHED_BODIES: Final = 64

#: Marks a rule whose base may be private; no base ends in it, since they all end in ``/``.
PRIVATE: Final = ";private"

# What may follow a rule's prefix: segments of unreserved and sub-delimiter characters, and a query. No percent
# sign, backslash or dot segment: these are where one URL reader and the next begin to differ.
_REST: Final = re.compile(r"[A-Za-z0-9_~!$'()*+,;=:@./?&-]*\Z", re.ASCII)
_DOT_SEGMENT: Final = re.compile(r"(^|/)\.{1,2}(/|\?|$)")

# Protocol assignments (RFC 6890), and the anycast address of 6to4 relays (RFC 7526).
_NOT_HOSTS_V4: Final = tuple(ipaddress.IPv4Network(text) for text in ("192.0.0.0/24", "192.88.99.0/24"))
# RFC 4291, section 2.4: what IANA gives out to hosts is from here.
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# Teredo and other protocol assignments, 6to4, documentation (RFC 9637).
_NOT_HOSTS_V6: Final = tuple(ipaddress.IPv6Network(text) for text in ("2001::/23", "2002::/16", "3fff::/20"))


@dataclass(frozen=True, slots=True)
class AllowRule:
    """URLs that begin with ``prefix`` are fetched from ``base``, with the rest of the URL appended.

    Both end in ``/``, so that ``https://status.example/`` covers no ``https://status.example.evil/``.
    A base that is an IP address or ``localhost`` names a private place on purpose, and so does one that is marked as
    ``private``, such as a service's name in a cluster. Plain http goes only to loopback, and only in development.
    """

    prefix: str
    base: str
    #: Whether the base's host name may resolve to an address that is not public.
    private: bool = False

    @classmethod
    def parse(cls, text: str) -> AllowRule:
        """Read ``PREFIX=BASE``, or ``PREFIX`` alone for a place that is fetched from where it says.

        Either may end in ``;private``.

        Raises:
            InvalidArgument: ``BAD_ALLOW_RULE``.
        """
        urls = text.strip().removesuffix(PRIVATE)
        prefix, _, base = urls.partition("=")
        rule = cls(prefix, base or prefix, private=urls != text.strip())
        for url in (rule.prefix, rule.base):
            if not _is_place(url):
                raise InvalidArgument(
                    "BAD_ALLOW_RULE",
                    "not an allow-rule",
                    field="allow",
                    rule="PREFIX=BASE, both absolute http(s) URLs that end in '/'; ';private' may follow",
                    remedy="write it like https://status.vitne.example/=http://127.0.0.1:7103/",
                )
        return rule

    def __str__(self) -> str:
        return f"{self.prefix}={self.base}{PRIVATE if self.private else ''}"


def parse_rules(text: str) -> tuple[AllowRule, ...]:
    """Allow-rules separated by white space."""
    return tuple(AllowRule.parse(part) for part in text.split())


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a place answered."""

    #: The URL as it was asked for, not where it was fetched.
    url: str
    body: bytes = field(repr=False)
    #: Media type without parameters, in lower case.
    content_type: str
    etag: str


class Fetches(Protocol):
    """What fetches by allow-rules: :class:`Fetcher`."""

    async def fetch(self, url: str, *, accept: str = ..., max_bytes: int | None = ...) -> Fetched:
        """What a URL names."""
        ...


class Fetcher:
    """Fetches what allow-rules cover. Use as an async context manager, or :meth:`close` it.

    Args:
        rules: the longest matching prefix decides.
        development: whether http to loopback is allowed.
        max_bytes: largest body.
        timeout_seconds: whole time of a fetch.
        cached_bodies: how many bodies to keep for revalidation by ETag.
    """

    def __init__(
        self,
        rules: Iterable[AllowRule],
        *,
        development: bool = False,
        max_bytes: int = DEFAULT_MAX_BYTES,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        cached_bodies: int = DEFAULT_CACHED_BODIES,
    ) -> None:
        self._rules = sorted(rules, key=lambda rule: len(rule.prefix), reverse=True)
        for rule in self._rules:
            _check_transport(rule, development=development)
        self._private = frozenset(urlsplit(rule.base).hostname or "" for rule in self._rules if rule.private)
        self._max_bytes = max_bytes
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._cached_bodies = cached_bodies
        self._cache: OrderedDict[str, Fetched] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close connections; the fetcher may be used again."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def place_of(self, url: str) -> str:
        """Where a URL would be fetched.

        Raises:
            PermissionDenied: ``FETCH_NOT_ALLOWED`` when no rule covers it.
        """
        if len(url) <= MAX_URL_LENGTH:
            for rule in self._rules:
                if url.startswith(rule.prefix):
                    rest = url[len(rule.prefix) :]
                    if _REST.match(rest) and not _strays(rest):
                        return rule.base + rest
        raise PermissionDenied(
            "FETCH_NOT_ALLOWED",
            "no allow-rule covers the address",
            field="url",
            rule="only what an operator's allow-rule covers is fetched",
            remedy="add an allow-rule for the publisher, if it is to be trusted",
        )

    async def fetch(self, url: str, *, accept: str = "*/*", max_bytes: int | None = None) -> Fetched:
        """GET what a URL names, from where its allow-rule says.

        Args:
            url: as a document names it.
            accept: media types to ask for.
            max_bytes: largest body, where it differs from the fetcher's.

        Raises:
            PermissionDenied: ``FETCH_NOT_ALLOWED``.
            Unavailable: ``FETCH_FAILED`` on no or another answer than 200 or a fitting 304; ``FETCH_TIMEOUT``;
                ``FETCH_TOO_LARGE``.
        """
        place = self.place_of(url)
        known = self._cache.get(url)
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if known is not None:
            headers["If-None-Match"] = known.etag
        limit = self._max_bytes if max_bytes is None else max_bytes
        try:
            async with self._open().get(place, headers=headers, allow_redirects=False) as answer:
                if answer.status == 304 and known is not None:
                    self._cache.move_to_end(url)
                    return known
                if answer.status != 200:
                    raise _failed(f"it answered {answer.status}", "FETCH_FAILED")
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise _failed("it answered in an encoding that was not asked for", "FETCH_FAILED")
                body = await _read(answer, limit)
                fetched = Fetched(url, body, answer.content_type.lower(), answer.headers.get("ETag", ""))
        except TimeoutError as error:
            raise _failed("it did not answer in time", "FETCH_TIMEOUT") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failed("nobody answers there, or no HTTP", "FETCH_FAILED") from error
        self._remember(fetched)
        return fetched

    def _remember(self, fetched: Fetched) -> None:
        self._cache.pop(fetched.url, None)
        if fetched.etag:
            self._cache[fetched.url] = fetched
            if len(self._cache) > self._cached_bodies:
                self._cache.popitem(last=False)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=PublicResolver(private=self._private)),
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class AddressNotPublic(OSError):
    """A host name or URL leads to an address that nobody outside may make us call."""

    def __init__(self) -> None:
        super().__init__(None, "the address is not public")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet's hosts.

    Not so: private, shared, loopback, link-local (where clouds keep their metadata), multicast and reserved ones;
    and IPv6 addresses that carry an IPv4 address inside (NAT64, 6to4, Teredo), since a translator on the way could
    lead them back in. An IPv4-mapped one counts as what it maps.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if isinstance(parsed, ipaddress.IPv4Address):
        if parsed.is_multicast or parsed.is_reserved or any(parsed in network for network in _NOT_HOSTS_V4):
            return False
    elif parsed not in _UNICAST or any(parsed in network for network in _NOT_HOSTS_V6):
        return False
    return parsed.is_global


class PublicResolver(AbstractResolver):
    """Resolves host names to public addresses only, at the moment of connecting, so that no later answer differs.

    Literal addresses never come here, and ``localhost`` passes: whoever lets others name a host looks at
    what is being connected to as well.

    Args:
        resolver: asks; the system's own unless said otherwise.
        private: host names, in lower case, that may be anywhere: whoever operates this chose them.
    """

    def __init__(self, resolver: AbstractResolver | None = None, *, private: Collection[str] = ()) -> None:
        self._resolver = resolver or ThreadedResolver()
        self._trusted = frozenset({"localhost", *private})

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family=family)  # type: ignore[arg-type]  # AddressFamily
        if host not in self._trusted and not all(is_public(result["host"]) for result in found):
            raise AddressNotPublic
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _check_transport(rule: AllowRule, *, development: bool) -> None:
    parts = urlsplit(rule.base)
    if parts.scheme == "https" or (development and is_loopback(parts.hostname or "")):
        return
    raise InvalidArgument(
        "BAD_ALLOW_RULE",
        "the rule's base address is not fetched over https",
        field="allow",
        rule="https; in development also http to loopback",
        remedy="give the base address as https://…",
    )


def is_loopback(host: str) -> bool:
    """Whether a host, as a URL names it, is this machine: a loopback address, or ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_place(url: str) -> bool:
    """Whether it is an absolute URL of the web that ends in ``/``, with neither a user nor a query nor a fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no host is written so
        return False
    plain = parts.username is None and not (parts.query or parts.fragment)
    return parts.scheme in ("https", "http") and bool(parts.hostname) and url.endswith("/") and plain


def _strays(rest: str) -> bool:
    """Whether what follows a prefix would leave it, or the host: dot segments, an empty first segment."""
    return rest.startswith("/") or bool(_DOT_SEGMENT.search(rest))


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    if answer.content_length is not None and answer.content_length > limit:
        raise _failed(f"it is larger than {limit} bytes", "FETCH_TOO_LARGE")
    body = await read_bounded(answer, limit)
    if body is None:
        raise _failed(f"it is larger than {limit} bytes", "FETCH_TOO_LARGE")
    return body


def _failed(message: str, reason: str) -> Unavailable:
    return Unavailable(
        reason,
        f"what was to be fetched is out of reach: {message}",
        field="url",
        rule="an answer 200 within size and time, without a redirect",
        remedy="try again later, or ask the publisher",
    )
