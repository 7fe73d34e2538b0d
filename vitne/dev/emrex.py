"""EMREX on the embedded stack: the portal is its own client and data provider, so that both ways can be tried."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vitne.canonical import from_b64url
from vitne.credentials.jose import ES256
from vitne.errors import FailedPrecondition
from vitne.runtime.custody import FileKeyCustody

#: What the data provider is called on the pages.
ACRONYM: Final = "Vitne (utvikling)"
#: The key with which the portal signs answers, by its label in custody; its public half stands in the list.
_KEY_LABEL: Final = "portal.emrex"
_FORM: Final = re.compile(r'<form method="post" action="([^"]+)">(.*?)</form>', re.DOTALL)
_FIELD: Final = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@dataclass(frozen=True, slots=True)
class Leaving:
    """A form of a page, with what is in it.

    Attributes:
        url: where it leads.
        fields: hidden ones.
    """

    url: str
    fields: dict[str, str]


def leaving(page: str, address: str) -> Leaving:
    """The form of a page that leads to where ``address`` begins.

    Raises:
        FailedPrecondition: ``NO_FORM``.
    """
    for action, inside in _FORM.findall(page):
        if (url := html.unescape(action)).startswith(address):
            return Leaving(url, {name: html.unescape(value) for name, value in _FIELD.findall(inside)})
    raise FailedPrecondition("NO_FORM", f"no form of the page leads to {address}")


def settings(folder: Path, state: Path, portal_url: str) -> dict[str, str]:
    """Settings of a portal that fetches from itself.

    Args:
        folder: for the two files.
        state: the portal's state folder, for its key.
        portal_url: where it is found.
    """
    jwk = FileKeyCustody(state).ensure(_KEY_LABEL, ES256).public_jwk
    point = b"\x04" + b"".join(from_b64url(jwk[name]) for name in ("x", "y"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    listed = {
        "acronym": ACRONYM,
        "countryCode": "NO",
        "url": f"{portal_url}/emrex",
        "pubKey": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii"),
    }
    files = {
        "clients": {"clients": [{"name": ACRONYM, "returnUrls": [f"{portal_url}/emrex/return"]}]},
        "providers": {"ncps": [listed]},
    }
    written = {}
    for name, content in files.items():
        file = folder / f"emrex-{name}.json"
        file.write_text(json.dumps(content), "utf-8")
        written[f"VITNE_EMREX_{name.upper()}_FILE"] = str(file)
    return written
