"""Bitstring Status List v1.0 (W3C): the same statuses for readers of W3C credentials, one list a purpose.

It differs from a Token Status List in all that could be mixed up: a bit a place,
counted from the most significant, gzip instead of zlib, multibase instead of bare
base64url, ``ttl`` in milliseconds, and a list of its own for each purpose. The list is
a credential, secured as a JWT (Securing Verifiable Credentials using JOSE and COSE,
``vc+jwt``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from vitne.canonical import b64url, from_b64url, instant_text
from vitne.credentials.date_times import parse_date_time
from vitne.credentials.jose import ES256, FindKey, Signer, parse_jws, sign_jws, strict_json
from vitne.credentials.status_list import (
    CLOCK_SKEW,
    INVALID,
    MAX_PACKED_BYTES,
    MAX_TOKEN_LENGTH,
    SUSPENDED,
    deflate,
)
from vitne.errors import InvalidArgument, Unavailable

#: ``statusPurpose`` (section 2.2): revoked for good, or for a time.
Purpose: TypeAlias = Literal["revocation", "suspension"]
PURPOSES: Final[tuple[Purpose, ...]] = ("revocation", "suspension")
#: ``typ`` of the token and its media type without ``application/``.
JWT_TYPE: Final = "vc+jwt"
#: Media type in HTTP.
MEDIA_TYPE: Final = "application/vc+jwt"
#: Fewest entries: 16 KiB uncompressed (section 3.3 and 6.1, herd privacy).
MIN_ENTRIES: Final = 131_072

_CONTEXT: Final = "https://www.w3.org/ns/credentials/v2"
#: Multibase header of base64url without padding.
_MULTIBASE: Final = "u"
#: For zlib: gzip, not its own form.
_GZIP: Final = 31
#: Statuses at which a purpose's bit is set. What is revoked counts as suspended, too: of two lists that were fetched at
#: different times, which each may be kept for its ``ttl``, one says so whichever is the older.
_STATUSES_OF: Final[dict[Purpose, frozenset[int]]] = {
    "revocation": frozenset({INVALID}),
    "suspension": frozenset({INVALID, SUSPENDED}),
}


def list_url(list_uri: str, purpose: Purpose) -> str:
    """Where the list of a purpose is published: what credentials name, and what the ledger serves.

    Args:
        list_uri: of the Token Status List that shows the same places.
        purpose: which of them.
    """
    return f"{list_uri}.{purpose}"


def _tables(statuses: frozenset[int]) -> tuple[bytes, bytes]:
    """For a byte of four two-bit statuses: its bits, most significant first, in the upper and in the lower half."""
    lower = bytes(sum((byte >> 2 * place & 3 in statuses) << 3 - place for place in range(4)) for byte in range(256))
    return bytes(half << 4 for half in lower), lower


_TABLES: Final = {purpose: _tables(statuses) for purpose, statuses in _STATUSES_OF.items()}


def project(packed: bytes, purpose: Purpose) -> bytes:
    """The bitstring of a purpose, from statuses of two bits as a Token Status List packs them.

    Eight statuses are two bytes there and one here; an odd byte at the end counts as followed by valid ones.
    """
    upper, lower = _TABLES[purpose]
    even = packed[0::2].translate(upper)
    odd = packed[1::2].translate(lower).ljust(len(even), b"\x00")
    # As one number each: a third of a millisecond for a million places, where a loop takes a hundred times that.
    return (int.from_bytes(even, "big") | int.from_bytes(odd, "big")).to_bytes(len(even), "big")


def encode(bits: bytes) -> str:
    """A bitstring as ``encodedList`` (section 3.3): padded to the least length, gzip (RFC 1952), multibase."""
    padded = bits.ljust(MIN_ENTRIES // 8, b"\x00")
    # Without a time, so that a list that says the same has the same bytes.
    return _MULTIBASE + b64url(deflate(padded, _GZIP))


def decode(encoded: str, *, max_bytes: int = MAX_PACKED_BYTES) -> bytes:
    """The inverse of :func:`encode`, bounded.

    Raises:
        InvalidArgument: ``STATUS_LIST_MALFORMED``, ``STATUS_LIST_TOO_LARGE``, ``BAD_BASE64URL``.
    """
    if not encoded.startswith(_MULTIBASE):
        raise _malformed("encodedList is not multibase base64url")
    inflater = zlib.decompressobj(wbits=_GZIP)  # and nothing else
    try:
        bits = inflater.decompress(from_b64url(encoded[1:], field="encodedList"), max_bytes + 1)
    except zlib.error as error:
        raise _malformed("encodedList does not decompress") from error
    if len(bits) > max_bytes:
        raise InvalidArgument(
            "STATUS_LIST_TOO_LARGE",
            f"the list decompresses to more than {max_bytes} bytes",
            field="encodedList",
            rule=f"at most {max_bytes} bytes",
            remedy="split the list",
        )
    if not inflater.eof or inflater.unused_data:
        raise _malformed("encodedList is truncated or followed by other bytes")
    if len(bits) * 8 < MIN_ENTRIES:
        raise _malformed(f"it has fewer than {MIN_ENTRIES} entries")
    return bits


def is_set(bits: bytes, index: int) -> bool:
    """The bit of a place, counted from the most significant of the first byte (section 3.2).

    Raises:
        InvalidArgument: ``STATUS_INDEX_OUT_OF_RANGE``.
    """
    if not 0 <= index < len(bits) * 8:
        raise InvalidArgument(
            "STATUS_INDEX_OUT_OF_RANGE",
            f"the list has {len(bits) * 8} places, and place {index} is not among them",
            field="statusListIndex",
            rule="Bitstring Status List v1.0, section 3.2, step 12 (RANGE_ERROR)",
            remedy="ask the publisher of the list for one that is long enough",
        )
    return bool(bits[index // 8] >> 7 - index % 8 & 1)


def sign_credential(
    *,
    uri: str,
    issuer: str,
    packed: bytes,
    purpose: Purpose,
    issued_at: datetime,
    expires_at: datetime,
    ttl: timedelta,
    signer: Signer,
) -> str:
    """A signed BitstringStatusListCredential (section 2.2), with ``kid`` the signer's thumbprint.

    Args:
        uri: where it is published: its ``id``, and what credentials name as ``statusListCredential``.
        issuer: who issues it, a URL.
        packed: the statuses, as a Token Status List of two bits packs them.
        purpose: which of them it tells.
        issued_at: ``validFrom``; cut to whole seconds.
        expires_at: ``validUntil``.
        ttl: how long a copy may be kept.
        signer: a key for status lists.
    """
    claims: dict[str, Any] = {
        "@context": [_CONTEXT],
        "id": uri,
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "issuer": issuer,
        "validFrom": instant_text(issued_at.replace(microsecond=0)),
        "validUntil": instant_text(expires_at.replace(microsecond=0)),
        "credentialSubject": {
            "id": f"{uri}#list",
            "type": "BitstringStatusList",
            "statusPurpose": purpose,
            "encodedList": encode(project(packed, purpose)),
            "ttl": int(ttl / timedelta(milliseconds=1)),
        },
    }
    return sign_jws(claims, signer, typ=JWT_TYPE)


@dataclass(frozen=True, slots=True)
class BitstringList:
    """The list of a purpose whose signature, name, purpose and dates were checked."""

    uri: str
    purpose: Purpose
    #: ``validFrom``.
    issued_at: datetime
    #: ``validUntil``: from then on it says nothing; None: not stated.
    expires_at: datetime | None
    #: Thumbprint of the key that signed it.
    key_id: str
    bits: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.bits) * 8

    def places_set(self) -> Iterator[int]:
        """The places whose bit is set, in order."""
        for number, byte in enumerate(self.bits):
            if byte:
                yield from (number * 8 + place for place in range(8) if byte >> 7 - place & 1)


def verify_credential(token: str, *, uri: str, purpose: Purpose, find_key: FindKey, now: datetime) -> BitstringList:
    """Check a BitstringStatusListCredential that is a JWT, and open it (section 3.2, steps 2 to 9).

    Args:
        token: the compact JWT.
        uri: what credentials name as ``statusListCredential``; must equal ``id``.
        purpose: what they name as ``statusPurpose``; must be the list's.
        find_key: answers the public key for ``kid`` if that key may sign this list now, else None.
        now: the present instant.

    Raises:
        InvalidArgument: the refusals of :func:`~vitne.credentials.jose.parse_jws`; ``STATUS_LIST_KEY_UNKNOWN``,
            ``STATUS_LIST_SIGNATURE``, ``STATUS_LIST_SUBJECT``, ``STATUS_LIST_PURPOSE``, ``STATUS_LIST_MALFORMED``,
            ``STATUS_LIST_TOO_LARGE``, ``BAD_INSTANT``, ``BAD_BASE64URL``.
        Unavailable: ``STATUS_LIST_STALE``, ``STATUS_LIST_FUTURE``.
    """
    jws = parse_jws(token, algorithms=(ES256,), types=(JWT_TYPE,), max_length=MAX_TOKEN_LENGTH, field="status_list")
    key = find_key(jws.header.key_id)
    if key is None:
        raise _refused("STATUS_LIST_KEY_UNKNOWN", "the list names no key that may sign status lists")
    if not jws.verified_by(key):
        raise _refused("STATUS_LIST_SIGNATURE", "the list's signature does not hold")
    claims = strict_json(jws.payload, field="status_list")
    if not isinstance(claims, dict) or not _is_a(claims, "BitstringStatusListCredential"):
        raise _malformed("it is no BitstringStatusListCredential")
    if claims.get("id") != uri:
        raise _refused("STATUS_LIST_SUBJECT", "the list is signed for another URI")
    subject = claims.get("credentialSubject")
    if not isinstance(subject, dict) or not _is_a(subject, "BitstringStatusList"):
        raise _malformed("its subject is no BitstringStatusList")
    if subject.get("statusPurpose") != purpose:
        raise _refused("STATUS_LIST_PURPOSE", f"the list is not one of {purpose}")
    if subject.get("statusSize", 1) != 1:
        raise _malformed("it has more than one bit a place")
    encoded, since, until = subject.get("encodedList"), claims.get("validFrom"), claims.get("validUntil")
    if not isinstance(encoded, str) or not isinstance(since, str) or not isinstance(until, str | None):
        raise _malformed("it lacks encodedList or validFrom, or validUntil is no text")
    issued_at = parse_date_time(since, field="validFrom")
    expires_at = None if until is None else parse_date_time(until, field="validUntil")
    if issued_at - now > CLOCK_SKEW:
        raise _stale("STATUS_LIST_FUTURE", "the list is dated later than now")
    if expires_at is not None and expires_at <= now:
        raise _stale("STATUS_LIST_STALE", "the list has expired")
    return BitstringList(uri, purpose, issued_at, expires_at, key.key_id, decode(encoded))


def _is_a(node: dict[str, Any], name: str) -> bool:
    kinds = node.get("type")
    return name in kinds if isinstance(kinds, list) else name == kinds


def _refused(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field="status_list",
        rule="Bitstring Status List v1.0, section 3.2",
        remedy="fetch the list that the credential names again; if it stays so, ask its publisher",
    )


def _stale(reason: str, message: str) -> Unavailable:
    return Unavailable(
        reason,
        message,
        field="status_list",
        rule="Bitstring Status List v1.0, section 2.2: validFrom and validUntil",
        remedy="fetch the list again; if it stays so, its publisher has stopped publishing",
    )


def _malformed(message: str) -> InvalidArgument:
    return InvalidArgument(
        "STATUS_LIST_MALFORMED",
        f"not a status list: {message}",
        field="encodedList",
        rule="Bitstring Status List v1.0, sections 2.2 and 3",
        remedy="ask the publisher of the list for a well-formed one",
    )
