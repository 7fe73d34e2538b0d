"""Inputs that a fuzzer can change with effect: what a format wraps in base64url or checksums stands here as it is.

A compact token is its header, its payload and its disclosures, a line each; the signature is left out, since readers
look at it last. A sealed credential is its protected header and its payload, a line each.
"""

from __future__ import annotations

import json
import zlib
from typing import Final

from vitne.canonical import b64url, from_b64url

#: In place of every signature: long enough for those who look at its length.
SIGNATURE: Final = bytes(range(64))
_JSON: Final = b"{"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
# Length and type of a PNG's chunk, and its checksum behind it.
_HEAD, _CHECKSUM = 8, 4


def text(data: bytes) -> str:
    """Any bytes as text; half characters, which JSON can carry into Python's text, too."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def token(data: bytes) -> str:
    """A compact JWT, or an SD-JWT where there are disclosures; anything that does not begin as JSON is itself."""
    if not data.startswith(_JSON):
        return text(data)
    head, *rest = data.split(b"\n")
    jwt = f"{b64url(head)}.{b64url(rest[0] if rest else b'')}.{b64url(SIGNATURE)}"
    return "~".join([jwt, *(b64url(line) for line in rest[1:]), ""]) if len(rest) > 1 else jwt


def undressed_token(compact: str) -> bytes:
    """The inverse of :func:`token`, but for the signature."""
    jwt, *disclosures = compact.split("~")
    header, payload, _ = jwt.split(".")
    return b"\n".join(from_b64url(part) for part in (header, payload, *(one for one in disclosures if one)))


def sealed(data: bytes) -> str:
    """General JSON serialisation with an attached payload, as European Digital Credentials have it."""
    if not data.startswith(_JSON):
        return text(data)
    head, _, payload = data.partition(b"\n")
    entry = {"protected": b64url(head), "signature": b64url(SIGNATURE)}
    return json.dumps({"payload": text(payload), "signatures": [entry]})


def undressed_seal(written: str) -> bytes:
    """The inverse of :func:`sealed`, but for the signature."""
    outer = json.loads(written)
    header = from_b64url(outer["signatures"][0]["protected"])
    return header + b"\n" + str(outer["payload"]).encode()


def image(data: bytes) -> bytes:
    """A PNG with the checksums that its chunks should have; anything else is itself."""
    if not data.startswith(_PNG):
        return data
    mended, place = bytearray(data), len(_PNG)
    while place + _HEAD <= len(data):
        end = place + _HEAD + int.from_bytes(data[place : place + 4])
        if end + _CHECKSUM > len(data):
            break
        mended[end : end + _CHECKSUM] = zlib.crc32(data[place + 4 : end]).to_bytes(_CHECKSUM)
        place = end + _CHECKSUM
    return bytes(mended)
