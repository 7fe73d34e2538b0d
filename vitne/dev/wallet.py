"""A wallet, without a screen: OpenID4VCI 1.0, pre-authorized code flow, with whoever an offer names."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp

from vitne.errors import FailedPrecondition

_GRANT: Final = "urn:ietf:params:oauth:grant-type:pre-authorized_code"
_FORMAT: Final = "dc+sd-jwt"


@dataclass(frozen=True, slots=True)
class WalletOffer:
    """What a learner is shown of an offer.

    Attributes:
        link: in the QR code, ``openid-credential-offer://…``.
        tx_code: that the wallet asks her for.
    """

    link: str = field(repr=False)
    tx_code: str = field(repr=False)


async def take(offer: WalletOffer, trust: ssl.SSLContext | None = None) -> str:
    """Take what is offered: an SD-JWT VC in compact form.

    Args:
        offer: as the learner sees it.
        trust: how certificates are checked; against the system's authorities unless said otherwise.

    Raises:
        FailedPrecondition: ``WALLET_REFUSED``: an endpoint answered an error; ``WALLET_MISLED``: metadata are not those
            of whom they were asked of.
    """
    (address,) = parse_qs(urlsplit(offer.link).query)["credential_offer_uri"]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust or True)) as session:
        offered = await _read(session.get(address))
        url = offered["credential_issuer"]
        issuer = await _read(session.get(_well_known(url, "openid-credential-issuer")))
        server = await _read(session.get(_well_known(url, "oauth-authorization-server")))
        if (issuer["credential_issuer"], server["issuer"]) != (url, url):
            raise FailedPrecondition("WALLET_MISLED", "the metadata are another issuer's")
        supported = issuer["credential_configurations_supported"]
        chosen = next(name for name in offered["credential_configuration_ids"] if supported[name]["format"] == _FORMAT)
        form = {
            "grant_type": _GRANT,
            "pre-authorized_code": offered["grants"][_GRANT]["pre-authorized_code"],
            "tx_code": offer.tx_code,
        }
        granted = await _read(session.post(server["token_endpoint"], data=form))
        answer = await _read(
            session.post(
                issuer["credential_endpoint"],
                json={"credential_configuration_id": chosen},
                headers={"Authorization": f"{granted['token_type']} {granted['access_token']}"},
            )
        )
    artefact: str = answer["credentials"][0]["credential"]
    return artefact


def _well_known(url: str, name: str) -> str:
    """The well-known name goes between host and path (RFC 8414, section 3; OpenID4VCI, section 12.2.2)."""
    parts = urlsplit(url)
    return parts._replace(path=f"/.well-known/{name}{parts.path}").geturl()


async def _read(asked: Any) -> dict[str, Any]:
    async with asked as response:
        if response.status >= 400:
            raise FailedPrecondition("WALLET_REFUSED", f"{response.url.path} answered {response.status}")
        answer: dict[str, Any] = await response.json()
    return answer
