"""Token Status List as a CWT (draft-ietf-oauth-status-list-20, section 5.2): the same list for readers of COSE.

Packing and meaning are those of :mod:`.status_list`; here the list is bytes instead of
base64url, and the token a tagged COSE_Sign1 (RFC 9052) with ES256.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vitne.credentials import cbor
from vitne.credentials.jose import FindKey, Signer
from vitne.credentials.status_list import CLOCK_SKEW, MAX_TOKEN_LENGTH, StatusList, deflate, inflate
from vitne.errors import InvalidArgument, Unavailable

#: Media type of the token in HTTP (section 8.1), and its type in the protected header.
MEDIA_TYPE: Final = "application/statuslist+cwt"

#: COSE_Sign1_Tagged (RFC 9052, section 2).
_SIGN1: Final = 18
#: Header parameters (RFC 9052, section 3.1; RFC 9596) and the algorithm ES256 (RFC 9053, section 2.1).
_ALGORITHM, _KEY_ID, _TYPE = 1, 4, 16
_ES256: Final = -7
#: Claims (RFC 8392, section 3.1; draft-20, section 5.2).
_SUBJECT, _EXPIRES, _ISSUED, _TTL, _LIST = 2, 4, 6, 65534, 65533


def sign_cwt(
    *, uri: str, packed: bytes, bits: int, issued_at: datetime, expires_at: datetime, ttl: timedelta, signer: Signer
) -> bytes:
    """A signed Status List Token as a CWT, with ``kid`` the thumbprint; see :func:`.status_list.sign_token`."""
    claims = {
        _SUBJECT: uri,
        _ISSUED: int(issued_at.timestamp()),
        _EXPIRES: int(expires_at.timestamp()),
        _TTL: int(ttl.total_seconds()),
        _LIST: {"bits": bits, "lst": deflate(packed)},
    }
    protected, payload = cbor.encode({_ALGORITHM: _ES256, _TYPE: MEDIA_TYPE}), cbor.encode(claims)
    signature = signer.sign(_to_be_signed(protected, payload))
    parts = [protected, {_KEY_ID: signer.key_id.encode("ascii")}, payload, signature]
    return cbor.encode(cbor.Tagged(_SIGN1, parts))


def verify_cwt(token: bytes, *, uri: str, find_key: FindKey, now: datetime) -> StatusList:
    """Check a Status List Token that is a CWT by section 8.3, and open it; as :func:`.status_list.verify_token`.

    Raises:
        InvalidArgument: ``BAD_CBOR``, ``STATUS_LIST_MALFORMED``, ``STATUS_LIST_KEY_UNKNOWN``,
            ``STATUS_LIST_SIGNATURE``, ``STATUS_LIST_SUBJECT``, ``STATUS_LIST_TOO_LARGE``.
        Unavailable: ``STATUS_LIST_STALE``, ``STATUS_LIST_FUTURE``.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise _malformed("it is too large")
    protected, header, payload, signature = _parts(cbor.decode(token, field="status_list"))
    read = cbor.decode(protected, field="status_list")
    if not isinstance(read, dict) or read.get(_ALGORITHM) != _ES256 or read.get(_TYPE) != MEDIA_TYPE:
        raise _malformed(f"its algorithm is not ES256, or its type not {MEDIA_TYPE}")
    key_id = header.get(_KEY_ID, read.get(_KEY_ID))
    key = find_key(key_id.decode("ascii", "replace")) if isinstance(key_id, bytes) else None
    if key is None:
        raise _refused("STATUS_LIST_KEY_UNKNOWN", "the list names no key that may sign status lists")
    if not key.verify(_to_be_signed(protected, payload), signature):
        raise _refused("STATUS_LIST_SIGNATURE", "the list's signature does not hold")
    return _open(cbor.decode(payload, field="status_list"), uri, key.key_id, now)


def stated(token: bytes) -> tuple[str, datetime]:
    """Of which list a token says that it is, and of when; no signature is checked.

    Raises:
        InvalidArgument: ``BAD_CBOR``, ``STATUS_LIST_MALFORMED``.
    """
    _, _, payload, _ = _parts(cbor.decode(token, field="status_list"))
    claims = cbor.decode(payload, field="status_list")
    if not isinstance(claims, dict) or not isinstance(claims.get(_SUBJECT), str):
        raise _malformed("it names no list")
    return claims[_SUBJECT], _instant(claims.get(_ISSUED))


def _open(claims: Any, uri: str, key_id: str, now: datetime) -> StatusList:
    if not isinstance(claims, dict):
        raise _malformed("the claims are not a map")
    if claims.get(_SUBJECT) != uri:
        raise _refused("STATUS_LIST_SUBJECT", "the list is signed for another URI")
    body = claims.get(_LIST)
    if not isinstance(body, dict) or body.get("bits") not in (1, 2, 4, 8) or not isinstance(body.get("lst"), bytes):
        raise _malformed("it lacks bits or lst")
    issued_at = _instant(claims.get(_ISSUED))
    expires_at = _instant(claims[_EXPIRES]) if _EXPIRES in claims else None
    ttl = claims.get(_TTL)
    if ttl is not None and (not isinstance(ttl, int) or not 0 < ttl <= 10**9):
        raise _malformed("ttl is not a positive number of seconds")
    if issued_at - now > CLOCK_SKEW:
        raise _stale("STATUS_LIST_FUTURE", "the list is dated later than now")
    if expires_at is not None and expires_at <= now:
        raise _stale("STATUS_LIST_STALE", "the list has expired")
    return StatusList(
        uri=uri,
        bits=body["bits"],
        issued_at=issued_at,
        expires_at=expires_at,
        ttl=None if ttl is None else timedelta(seconds=ttl),
        key_id=key_id,
        packed=inflate(body["lst"]),
    )


def _parts(message: Any) -> tuple[bytes, dict[Any, Any], bytes, bytes]:
    if isinstance(message, cbor.Tagged) and message.tag == _SIGN1:
        match message.value:
            case [bytes() as protected, Mapping() as header, bytes() as payload, bytes() as signature]:
                return protected, dict(header), payload, signature
    raise _malformed("it is not a tagged COSE_Sign1")


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Sig_structure (RFC 9052, section 4.4)."""
    return cbor.encode(["Signature1", protected, b"", payload])


def _instant(value: Any) -> datetime:
    # As in a JWT: numbers of this era, since larger ones are milliseconds by mistake.
    if not isinstance(value, int) or not 0 <= value < 10**11:
        raise _malformed("an instant is not a NumericDate")
    return datetime.fromtimestamp(value, UTC)


def _malformed(why: str) -> InvalidArgument:
    return _refused("STATUS_LIST_MALFORMED", f"not a status list: {why}")


def _refused(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field="status_list",
        rule="draft-ietf-oauth-status-list-20, sections 5.2 and 8.3",
        remedy="fetch the list that the credential names again; if it stays so, ask its publisher",
    )


def _stale(reason: str, message: str) -> Unavailable:
    return Unavailable(
        reason,
        message,
        field="status_list",
        rule="draft-ietf-oauth-status-list-20, section 8.3, step 4",
        remedy="fetch the list again; if it stays so, its publisher has stopped publishing",
    )
