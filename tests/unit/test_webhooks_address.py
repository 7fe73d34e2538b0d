"""Where may be posted to, and where not."""

from __future__ import annotations

import socket

import pytest

from services.issuer.webhooks.address import Guard
from vitne.errors import InvalidArgument
from vitne.runtime.fetch import AddressNotPublic, is_public

PRODUCTION = Guard(frozenset({443, 8443}))
DEVELOPMENT = Guard(frozenset({443}), development=True)

NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)
    host = f"[{address}]" if ":" in address else address
    for guard in (PRODUCTION, DEVELOPMENT):
        if guard.development and address in ("127.0.0.1", "127.8.8.8", "::1"):
            guard.check(f"https://{host}/")
            continue
        if "%" not in address:  # the contract's format has no zones
            with pytest.raises(InvalidArgument) as caught:
                guard.check(f"https://{host}/")
            assert caught.value.reason == "WEBHOOK_URL_REFUSED"
        with pytest.raises(AddressNotPublic):
            guard.socket_factory()((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 443)))


@pytest.mark.parametrize("address", ["8.8.8.8", "193.157.119.2", "2001:700:100:118::200", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    PRODUCTION.socket_factory()((family, socket.SOCK_STREAM, 0, "", (address, 443))).close()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.institution.example/vitne?token=abc",
        "https://hooks.institution.example:8443",
        "https://hooks.institution.example:443/",
        "https://193.157.119.2/",
        "https://[2001:700:100:118::200]/",
    ],
)
def test_urls_that_may_be_registered(url: str) -> None:
    PRODUCTION.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.institution.example/",
        "ftp://hooks.institution.example/",
        "https://user@hooks.institution.example/",
        "https://user:password@hooks.institution.example/",
        "https://hooks.institution.example/#fragment",
        "https://hooks.institution.example:80/",
        "https://hooks.institution.example:22/",
        "https://hooks.institution.example:0/",
        "https://hooks.institution.example:99999/",
        "https://localhost/",
        "http://localhost:8080/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://127.0.0.1./",
        "https://host.0x/",
        "https:///path",
        "https://[::1",
        "//hooks.institution.example/",
        "",
    ],
)
def test_urls_that_may_not(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        PRODUCTION.check(url)
    assert caught.value.reason == "WEBHOOK_URL_REFUSED"
    assert caught.value.field == "url"
    assert "password" not in caught.value.message


def test_in_development_this_machine_at_any_port_and_nothing_else_by_http() -> None:
    for url in ("http://127.0.0.1:8080/", "http://localhost:1/", "https://[::1]:9/"):
        DEVELOPMENT.check(url)
    for url in ("http://hooks.institution.example/", "http://10.0.0.1/", "https://localhost.:1/"):
        with pytest.raises(InvalidArgument):
            DEVELOPMENT.check(url)
    DEVELOPMENT.socket_factory()((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))).close()
