"""Token Status List (draft-ietf-oauth-status-list-20): packing, the signed token, and reading one status.

A list is a byte array of 1, 2, 4 or 8 bits a status, counted from the least
significant bit (section 4.1), compressed with zlib, inside a JWT of type
``statuslist+jwt`` (section 5.1).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vitne.canonical import b64url, from_b64url
from vitne.credentials.jose import ES256, FindKey, Signer, parse_jws, sign_jws, strict_json
from vitne.errors import InvalidArgument, Unavailable

#: Status types (section 7.1).
VALID: Final = 0x00
INVALID: Final = 0x01
SUSPENDED: Final = 0x02

#: ``typ`` of the token, and its media type without ``application/``.
JWT_TYPE: Final = "statuslist+jwt"
#: Media type of the token in HTTP (section 8.1).
MEDIA_TYPE: Final = "application/statuslist+jwt"

#: Largest list that is unpacked, in bytes: four million statuses of two bits.
#: Compressed zeros shrink a thousandfold, so the bound is on what comes out.
MAX_PACKED_BYTES: Final = 1 << 20
#: Longest token that is read, in characters: a list of that size that does not compress at all.
MAX_TOKEN_LENGTH: Final = 2 * MAX_PACKED_BYTES
#: How far ahead of ours a status issuer's clock may be.
CLOCK_SKEW: Final = timedelta(seconds=60)

_BITS: Final = (1, 2, 4, 8)


def _check_bits(bits: Any) -> int:
    if type(bits) is not int or bits not in _BITS:
        raise _malformed("bits is not 1, 2, 4 or 8", "section 4.2")
    return bits


def _malformed(message: str, section: str) -> InvalidArgument:
    return InvalidArgument(
        "STATUS_LIST_MALFORMED",
        f"not a status list: {message}",
        field="status_list",
        rule=f"draft-ietf-oauth-status-list-20, {section}",
        remedy="ask the publisher of the list for a well-formed one",
    )


def pack(statuses: Sequence[int], bits: int) -> bytes:
    """Statuses in the order of their index as a byte array, least significant bits first (section 4.1).

    Raises:
        InvalidArgument: ``STATUS_LIST_MALFORMED`` when ``bits`` is not 1, 2, 4 or 8, or a status needs more.
    """
    per_byte = 8 // _check_bits(bits)
    if any(not 0 <= status < 1 << bits for status in statuses):
        raise _malformed(f"a status does not fit into {bits} bits", "section 4.1")
    packed = bytearray((len(statuses) + per_byte - 1) // per_byte)
    for index, status in enumerate(statuses):
        packed[index // per_byte] |= status << index % per_byte * bits
    return bytes(packed)


def unpack(packed: bytes, bits: int) -> list[int]:
    """The inverse of :func:`pack`, with the padding of the last byte as further statuses."""
    mask = (1 << _check_bits(bits)) - 1
    return [byte >> shift & mask for byte in packed for shift in range(0, 8, bits)]


def deflate(packed: bytes, wbits: int = zlib.MAX_WBITS) -> bytes:
    """A packed list compressed, as a zlib stream, or another form of DEFLATE by ``wbits`` (31: gzip).

    Whose status changes is scattered by permutation, so nothing repeats in such a list but runs of one byte, and only
    these are looked for. 131,072 two-bit statuses of which a hundredth are set take 0.1 ms and 2.1 kB. Looked through
    for anything (level 6) they took 0.5 ms and 2.4 kB; the highest level, which section 4.1 recommends, takes 6 ms and
    1.9 kB there, and where a tenth or more are set its result is larger.
    """
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, wbits, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(packed) + packer.flush()


def encode(packed: bytes, *, level: int | None = None) -> str:
    """A packed list as ``lst``: zlib (RFC 1950), then base64url (section 4.2).

    Args:
        packed: as :func:`pack` makes it.
        level: zlib's, for whom bytes count more than time; None: as :func:`deflate` says.
    """
    return b64url(deflate(packed) if level is None else zlib.compress(packed, level))


def decode(lst: str, *, max_bytes: int = MAX_PACKED_BYTES) -> bytes:
    """The inverse of :func:`encode`, bounded.

    Raises:
        InvalidArgument: ``STATUS_LIST_MALFORMED`` when it is not one whole zlib stream;
            ``STATUS_LIST_TOO_LARGE`` when it holds more than ``max_bytes``; ``BAD_BASE64URL``.
    """
    return inflate(from_b64url(lst, field="status_list.lst"), max_bytes=max_bytes)


def inflate(compressed: bytes, *, max_bytes: int = MAX_PACKED_BYTES) -> bytes:
    """A packed list out of its zlib stream, bounded; raises as :func:`decode`."""
    inflater = zlib.decompressobj()
    try:
        packed = inflater.decompress(compressed, max_bytes + 1)
    except zlib.error as error:
        raise _malformed("lst does not decompress", "section 4.1") from error
    if len(packed) > max_bytes:
        raise InvalidArgument(
            "STATUS_LIST_TOO_LARGE",
            f"the list decompresses to more than {max_bytes} bytes",
            field="status_list.lst",
            rule=f"at most {max_bytes} bytes",
            remedy="split the list",
        )
    if not inflater.eof or inflater.unused_data:
        raise _malformed("lst is truncated or followed by other bytes", "section 4.1")
    return packed


@dataclass(frozen=True, slots=True)
class StatusList:
    """A status list whose signature, subject and freshness were checked."""

    #: The list's URI, as credentials name it.
    uri: str
    bits: int
    issued_at: datetime
    #: First instant at which the list no longer says anything; None: not stated.
    expires_at: datetime | None
    #: How long a copy may be kept before asking again; None: not stated.
    ttl: timedelta | None
    #: Thumbprint of the key that signed it.
    key_id: str
    packed: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.packed) * (8 // self.bits)

    def status_at(self, index: int) -> int:
        """The status type at ``index``.

        Raises:
            InvalidArgument: ``STATUS_INDEX_OUT_OF_RANGE``: no statement can be made (section 8.3, step 6).
        """
        if not 0 <= index < len(self):
            raise InvalidArgument(
                "STATUS_INDEX_OUT_OF_RANGE",
                f"the list has {len(self)} places, and place {index} is not among them",
                field="status_list.idx",
                rule="draft-ietf-oauth-status-list-20, section 8.3, step 6",
                remedy="ask the publisher of the list for one that is long enough",
            )
        byte, place = divmod(index, 8 // self.bits)
        return self.packed[byte] >> place * self.bits & (1 << self.bits) - 1


def sign_token(
    *, uri: str, packed: bytes, bits: int, issued_at: datetime, expires_at: datetime, ttl: timedelta, signer: Signer
) -> str:
    """A signed Status List Token (section 5.1), with ``kid`` the signer's thumbprint.

    Args:
        uri: the list's URI: what credentials carry, and ``sub``.
        packed: the statuses as :func:`pack` makes them.
        bits: bits a status.
        issued_at: ``iat``; cut to whole seconds.
        expires_at: ``exp``; from then on the list says nothing.
        ttl: how long a copy may be kept; positive, whole seconds.
        signer: a key for status lists.
    """
    claims = {
        "sub": uri,
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
        "ttl": int(ttl.total_seconds()),
        "status_list": {"bits": _check_bits(bits), "lst": encode(packed)},
    }
    return sign_jws(claims, signer, typ=JWT_TYPE)


def verify_token(
    token: str,
    *,
    uri: str,
    find_key: FindKey,
    now: datetime,
    max_bytes: int = MAX_PACKED_BYTES,
    skew: timedelta = CLOCK_SKEW,
) -> StatusList:
    """Check a Status List Token by section 8.3 and open it.

    Args:
        token: the compact JWT.
        uri: the URI that the credential names; must equal ``sub``.
        find_key: answers the public key for ``kid`` if that key may sign this list now, else None.
        now: the present instant.
        max_bytes: bound of the decompressed list.
        skew: how much later than ``now`` the list may be dated, since clocks differ; nothing, where ``now`` is an
            instant of the past that somebody asks about.

    Raises:
        InvalidArgument: ``BAD_JWS``, ``ALGORITHM_REFUSED`` and the other refusals of
            :func:`~vitne.credentials.jose.parse_jws` for a token that is not signed or not one;
            ``STATUS_LIST_KEY_UNKNOWN``, ``STATUS_LIST_SIGNATURE``, ``STATUS_LIST_SUBJECT``,
            ``STATUS_LIST_MALFORMED``, ``STATUS_LIST_TOO_LARGE``.
        Unavailable: ``STATUS_LIST_STALE`` when it has expired, ``STATUS_LIST_FUTURE`` when it is of a later time.
    """
    jws = parse_jws(token, algorithms=(ES256,), types=(JWT_TYPE,), max_length=MAX_TOKEN_LENGTH, field="status_list")
    key = find_key(jws.header.key_id)
    if key is None:
        raise InvalidArgument(
            "STATUS_LIST_KEY_UNKNOWN",
            "the list names no key that may sign status lists",
            field="status_list",
            rule="the key is in the registry, for status lists, and valid",
            remedy="ask the publisher of the list",
        )
    if not jws.verified_by(key):
        raise InvalidArgument(
            "STATUS_LIST_SIGNATURE",
            "the list's signature does not hold",
            field="status_list",
            rule="draft-ietf-oauth-status-list-20, section 5.1, rule 2",
            remedy="fetch the list again from its publisher",
        )
    claims = strict_json(jws.payload, field="status_list")
    if not isinstance(claims, dict):
        raise _malformed("the claims are not an object", "section 5.1")
    if claims.get("sub") != uri:
        raise InvalidArgument(
            "STATUS_LIST_SUBJECT",
            "the list is signed for another URI",
            field="status_list.sub",
            rule="draft-ietf-oauth-status-list-20, section 8.3, step 4a",
            remedy="fetch the list that the credential names",
        )
    issued_at = _instant(claims, "iat", required=True)
    expires_at = _instant(claims, "exp")
    ttl = claims.get("ttl")
    if ttl is not None and (type(ttl) is bool or not isinstance(ttl, int | float) or not 0 < ttl <= 10**9):
        raise _malformed("ttl is not a positive number of seconds", "section 5.1")
    if issued_at is None or issued_at - now > skew:
        raise _stale("STATUS_LIST_FUTURE", "the list is dated later than now")
    if expires_at is not None and expires_at <= now:
        raise _stale("STATUS_LIST_STALE", "the list has expired")
    body = claims.get("status_list")
    if not isinstance(body, dict) or not isinstance(body.get("lst"), str):
        raise _malformed("status_list lacks lst", "section 4.2")
    return StatusList(
        uri=uri,
        bits=_check_bits(body.get("bits")),
        issued_at=issued_at,
        expires_at=expires_at,
        ttl=None if ttl is None else timedelta(seconds=ttl),
        key_id=key.key_id,
        packed=decode(body["lst"], max_bytes=max_bytes),
    )


def _stale(reason: str, message: str) -> Unavailable:
    return Unavailable(
        reason,
        message,
        field="status_list",
        rule="draft-ietf-oauth-status-list-20, section 8.3, step 4",
        remedy="fetch the list again; if it stays so, its publisher has stopped publishing",
    )


def _instant(claims: dict[str, Any], name: str, *, required: bool = False) -> datetime | None:
    value = claims.get(name)
    if value is None and not required:
        return None
    # A NumericDate (RFC 7519) of this era: larger ones are milliseconds by mistake, or an attack on the calendar.
    if type(value) is bool or not isinstance(value, int | float) or not 0 <= value < 10**11:
        raise _malformed(f"{name} is not a NumericDate", "section 5.1")
    return datetime.fromtimestamp(value, UTC)
