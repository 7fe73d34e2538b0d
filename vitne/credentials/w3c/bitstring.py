"""Bitstring Status List 1.0 (W3C Recommendation, 15 May 2025): entries, and lists projected from our status vector.

It differs from Token Status List in all that can differ: a list for each purpose, one bit a place, counted from the
*most* significant, compressed by gzip, multibase text, ``ttl`` in milliseconds.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from vitne.canonical import instant_text
from vitne.credentials.data_integrity.multibase import decode as decode_multibase
from vitne.credentials.data_integrity.multibase import encode_base64url
from vitne.credentials.model import StatusReference
from vitne.credentials.status_list import COMPRESSION_LEVEL, INVALID, MAX_PACKED_BYTES, SUSPENDED
from vitne.credentials.w3c.vcdm import CONTEXT, CREDENTIAL
from vitne.errors import InvalidArgument

#: ``statusPurpose`` of each list, and the status type whose places are set in it.
PURPOSES: Final[Mapping[str, int]] = {"revocation": INVALID, "suspension": SUSPENDED}
#: Fewest places of a list, so that none tells who is meant (section 3.3).
MIN_PLACES: Final = 131_072

_ENTRY: Final = "BitstringStatusListEntry"
_LIST: Final = "BitstringStatusList"
_LIST_CREDENTIAL: Final = "BitstringStatusListCredential"
# Our vector: two bits a status, least significant first, so four statuses a byte (status_list.pack).
_PER_BYTE: Final = 4
_STATUS_MASK: Final = 0b11
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


def list_url(list_uri: str, purpose: str) -> str:
    """Where the list of a purpose is that shows the same places as a status list."""
    return f"{list_uri}/bitstring/{purpose}"


def entries(status: StatusReference) -> list[dict[str, Any]]:
    """``credentialStatus``: an entry for each purpose (section 2.1)."""
    return [
        {
            "id": f"{list_url(status.list, purpose)}#{status.index}",
            "type": _ENTRY,
            "statusPurpose": purpose,
            "statusListIndex": str(status.index),
            "statusListCredential": list_url(status.list, purpose),
        }
        for purpose in PURPOSES
    ]


def read_entries(stated: Any) -> StatusReference:
    """The inverse of :func:`entries`.

    Raises:
        InvalidArgument: ``STATUS_ENTRY_MALFORMED`` for anything that :func:`entries` does not give.
    """
    first = stated[0] if isinstance(stated, list) and stated and isinstance(stated[0], dict) else {}
    url, index = first.get("statusListCredential"), first.get("statusListIndex")
    ending = list_url("", next(iter(PURPOSES)))
    if isinstance(url, str) and url.endswith(ending) and isinstance(index, str) and index.isdecimal():
        status = StatusReference(list=url.removesuffix(ending), index=int(index[:20]))
        if entries(status) == stated:
            return status
    raise InvalidArgument(
        "STATUS_ENTRY_MALFORMED",
        "not an entry for revocation and one for suspension, of one place",
        field="credentialStatus",
        rule="Bitstring Status List 1.0, section 2.1",
        remedy="ask the issuer for the credential as it was issued",
    )


def project(packed: bytes, purpose: str) -> bytes:
    """The bitstring of a purpose, from two-bit statuses as :func:`vitne.credentials.status_list.pack` makes them.

    It has at least :data:`MIN_PLACES`; places beyond the vector's are not set.
    """
    high, low = _TABLES[purpose]
    even, odd = packed[0::2].translate(high), packed[1::2].translate(low)
    joined = int.from_bytes(even) | int.from_bytes(odd.ljust(len(even), b"\x00"))
    return joined.to_bytes(len(even)).ljust(MIN_PLACES // 8, b"\x00")


def _tables(meant: int) -> tuple[bytes, bytes]:
    """For each byte of the vector, its four places as the upper and as the lower half of a byte of the bitstring."""
    low = bytes(
        sum(
            (byte >> 2 * place & _STATUS_MASK == meant) << _PER_BYTE - 1 - place  # the first place is the highest bit
            for place in range(_PER_BYTE)
        )
        for byte in range(256)
    )
    return bytes(nibble << _PER_BYTE for nibble in low), low


_TABLES: Final = {purpose: _tables(meant) for purpose, meant in PURPOSES.items()}


def encode(bitstring: bytes) -> str:
    """``encodedList`` (section 3.1): gzip, then base64url in multibase."""
    return encode_base64url(gzip.compress(bitstring, COMPRESSION_LEVEL, mtime=0))


def decode(encoded: str, *, max_bytes: int = MAX_PACKED_BYTES) -> bytes:
    """The inverse of :func:`encode`, bounded (section 3.2).

    Raises:
        InvalidArgument: ``STATUS_LIST_MALFORMED``; ``STATUS_LIST_TOO_LARGE``; ``BAD_BASE64URL``, ``BAD_MULTIBASE``.
    """
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        bitstring = inflater.decompress(decode_multibase(encoded, field="encodedList"), max_bytes + 1)
    except zlib.error as error:
        raise _malformed("encodedList does not decompress") from error
    if len(bitstring) > max_bytes:
        raise InvalidArgument(
            "STATUS_LIST_TOO_LARGE",
            f"the list decompresses to more than {max_bytes} bytes",
            field="encodedList",
            rule=f"at most {max_bytes} bytes",
            remedy="split the list",
        )
    if not inflater.eof or inflater.unused_data:
        raise _malformed("encodedList is truncated or followed by other bytes")
    if len(bitstring) < MIN_PLACES // 8:
        raise _malformed(f"the list has fewer than {MIN_PLACES} places")
    return bitstring


def is_set(bitstring: bytes, index: int) -> bool:
    """Whether the bit at ``index`` is set, counted from the most significant.

    Raises:
        InvalidArgument: ``STATUS_INDEX_OUT_OF_RANGE``.
    """
    if not 0 <= index < 8 * len(bitstring):
        raise InvalidArgument(
            "STATUS_INDEX_OUT_OF_RANGE",
            f"the list has {8 * len(bitstring)} places, and place {index} is not among them",
            field="statusListIndex",
            rule="Bitstring Status List 1.0, section 3.2, step 9",
            remedy="ask the publisher of the list for one that is long enough",
        )
    byte, place = divmod(index, 8)
    return bool(bitstring[byte] >> 7 - place & 1)


def list_credential(
    list_uri: str,
    purpose: str,
    bitstring: bytes,
    *,
    issuer: str,
    issued_at: datetime,
    expires_at: datetime,
    ttl: timedelta,
) -> dict[str, Any]:
    """A list as a credential, to be secured by the publisher of lists (section 2.2)."""
    url = list_url(list_uri, purpose)
    return {
        "@context": [CONTEXT],
        "id": url,
        "type": [CREDENTIAL, _LIST_CREDENTIAL],
        "issuer": issuer,
        "validFrom": instant_text(issued_at),
        "validUntil": instant_text(expires_at),
        "credentialSubject": {
            "id": f"{url}#list",
            "type": _LIST,
            "statusPurpose": purpose,
            "encodedList": encode(bitstring),
            "ttl": ttl // timedelta(milliseconds=1),
        },
    }


def _malformed(message: str) -> InvalidArgument:
    return InvalidArgument(
        "STATUS_LIST_MALFORMED",
        f"not a status list: {message}",
        field="encodedList",
        rule="Bitstring Status List 1.0, section 3",
        remedy="ask the publisher of the list for a well-formed one",
    )
