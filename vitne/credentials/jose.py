"""Compact JWS, public JWKs and strict JSON: the part of JOSE that Vitne needs, and no more.

What can be asked for is what is safe: algorithms come from an allow-list that
the caller names, a key has exactly one algorithm, ``alg: none`` and ``crit``
are refused before any key is looked at, and keys never come from a token's own
header (RFC 7515, RFC 7517, RFC 7638, RFC 8725).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NoReturn, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from vitne.canonical import b64url, canonical_bytes, from_b64url, sha256
from vitne.errors import InvalidArgument

#: ECDSA with P-256 and SHA-256 (RFC 7518, section 3.4).
ES256: Final = "ES256"
#: Ed25519, by its fully-specified name (RFC 9864, section 2.2).
ED25519: Final = "Ed25519"
#: The older, polymorphic name of the same (RFC 8037); accepted only where an allow-list names it.
EDDSA: Final = "EdDSA"

#: Longest compact JWS that is parsed unless the caller says otherwise, in characters.
MAX_JWS_LENGTH: Final = 1_000_000
#: Longest protected header, in base64url characters: ours have about 150, and a chain of four large certificates
#: (``x5c``) has some ten thousand.
MAX_HEADER_LENGTH: Final = 16_384
#: Longest one that is remembered: with a chain of two certificates of ours. Headers are read before any signature is
#: checked, so whoever sends tokens chooses what is remembered: 256 of these take 17 MiB at worst (of empty lists).
MAX_REMEMBERED_HEADER_LENGTH: Final = 4096
#: Deepest JSON that is read. Credentials have about six levels.
MAX_JSON_DEPTH: Final = 32

_REMEMBERED_HEADERS: Final = 256
_P256_BYTES: Final = 32
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_ECDSA_VERIFY: Final = ec.ECDSA(SHA256())
# Deterministic nonces (RFC 6979): what was stored before signing and is signed again
# after a crash gives the same artefact, hence the same digest in the log.
_ECDSA_SIGN: Final = ec.ECDSA(SHA256(), deterministic_signing=True)
_ENCODE_JSON: Final = msgspec.json.Encoder().encode


class Signer(Protocol):
    """A private key in somebody's custody, able to sign and to say which key it is."""

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint of the public key, base64url."""
        ...

    @property
    def algorithm(self) -> str:
        """:data:`ES256` or :data:`ED25519`."""
        ...

    @property
    def public_jwk(self) -> dict[str, str]:
        """Public JWK (RFC 7517), without any private member."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The JOSE signature of ``data``: 64 bytes, raw r‖s for ES256 (RFC 7518, section 3.4)."""
        ...


def _bad(reason: str, message: str, *, field: str = "", rule: str = "", remedy: str = "") -> InvalidArgument:
    return InvalidArgument(reason, message, field=field, rule=rule, remedy=remedy)


# --- JSON -----------------------------------------------------------------------------------------


class _JsonError(ValueError):
    """JSON that one reader would understand otherwise than another."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _JsonError("an object names a member twice")
    return members


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _JsonError("a number is out of range")
    return number


def _constant(_: str) -> NoReturn:
    raise _JsonError("NaN and Infinity are not JSON")


_DECODE: Final = msgspec.json.Decoder().decode
_ENCODE: Final = msgspec.json.Encoder().encode
#: What :func:`_read_plain` answers where it can't say.
_UNSURE: Final = object()
_STRICT: Final = json.JSONDecoder(object_pairs_hook=_members, parse_float=_number, parse_constant=_constant)


def strict_json(data: bytes | str, *, field: str = "") -> Any:
    """Read JSON that has one meaning only (RFC 8259; I-JSON's rule on duplicate names, RFC 7493).

    Raises:
        InvalidArgument: ``BAD_JSON`` for bad syntax or UTF-8, duplicate members, lone
            surrogates, numbers out of range, or nesting beyond :data:`MAX_JSON_DEPTH`.
    """
    try:
        # Half a surrogate pair is encoded to what no reader of UTF-8 accepts, so that the strict way tells it.
        value = _read_plain(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
        if value is _UNSURE:
            value = _read_strictly(data if isinstance(data, str) else data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _bad(
            "BAD_JSON",
            f"not JSON with one meaning: {_why(error)}",
            field=field,
            rule="RFC 8259, with unique member names (RFC 7493, section 2.3)",
            remedy="send well-formed UTF-8 JSON that names each member once",
        ) from error
    return value


def _why(error: ValueError | RecursionError) -> str:
    match error:
        case _JsonError():
            return str(error)
        case json.JSONDecodeError():
            return f"it breaks off or is none at line {error.lineno}, column {error.colno}"
        case UnicodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is nested too deeply"
    return "a number or a text in it is none"


def _read_plain(data: bytes) -> Any:
    """The value of JSON as plain writers write it; :data:`_UNSURE` of any other, good or bad.

    Written again it must be the same bytes: then no object named a member twice, since what is written knows each of
    them once, and no number or text was read as something else. Both ways are the encoder's own code, a third of what
    :func:`_read_strictly` takes.
    """
    try:
        value = _DECODE(data)
        if _ENCODE(value) != data:
            return _UNSURE
        if data.count(b"{") + data.count(b"[") > MAX_JSON_DEPTH:
            _check_depth(value, MAX_JSON_DEPTH)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return _UNSURE
    return value


def _read_strictly(text: str) -> Any:
    value = _STRICT.decode(text)
    if "\\u" in text:
        msgspec.json.decode(text)  # refuses lone surrogates, which Python's reader lets through
    if text.count("{") + text.count("[") > MAX_JSON_DEPTH:
        _check_depth(value, MAX_JSON_DEPTH)
    return value


def _check_depth(value: Any, depth: int) -> None:
    if type(value) is dict:
        children: Collection[Any] = value.values()
    elif type(value) is list:
        children = value
    else:
        return
    if depth == 0:
        raise _JsonError("nested too deep")
    for child in children:
        _check_depth(child, depth - 1)


# --- Keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that was parsed and checked once, ready to verify many times."""

    #: Public JWK with only the members that define the key.
    jwk: Mapping[str, str]
    #: RFC 7638 thumbprint with SHA-256, base64url: the key's id everywhere.
    key_id: str
    #: :data:`ES256` or :data:`ED25519`.
    algorithm: str
    _key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey = field(repr=False, compare=False)

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes; raw r‖s for ES256) is this key's over ``data``; never raises."""
        if len(signature) != 2 * _P256_BYTES:
            return False
        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                r, s = int.from_bytes(signature[:_P256_BYTES]), int.from_bytes(signature[_P256_BYTES:])
                self._key.verify(encode_dss_signature(r, s), data, _ECDSA_VERIFY)
            else:
                self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def raw(self) -> bytes:
        """The key's own bytes: 32 for Ed25519, the 65 of an uncompressed point for P-256."""
        if isinstance(self._key, ed25519.Ed25519PublicKey):
            return self._key.public_bytes_raw()
        x, y = (from_b64url(self.jwk[name]) for name in ("x", "y"))
        return b"\x04" + x + y


def parse_public_jwk(jwk: Mapping[str, Any] | str | bytes, *, field: str = "public_jwk") -> PublicKey:
    """Read a public JWK: P-256 (RFC 7518, section 6.2) or Ed25519 (RFC 8037). Cached by content.

    Raises:
        InvalidArgument: ``BAD_JWK`` for another key type or curve, coordinates of a wrong
            length or off the curve; ``PRIVATE_KEY_SENT`` when private members are inside.
    """
    members = strict_json(jwk, field=field) if isinstance(jwk, str | bytes) else jwk
    if not isinstance(members, Mapping):
        raise _bad_jwk("not a JSON object", field)
    if _PRIVATE_MEMBERS.intersection(members):
        raise _bad(
            "PRIVATE_KEY_SENT",
            "the JWK holds private members",
            field=field,
            rule="RFC 7517, section 9.2: private keys stay with their owner",
            remedy="treat that key as compromised, make a new one, and send its public part only",
        )
    names = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}.get(str(members.get("kty")))
    if names is None or not all(isinstance(members.get(name), str) for name in names):
        raise _bad_jwk("not an EC or OKP public key", field)
    return _parse_members(tuple((name, members[name]) for name in names), field)


@lru_cache(maxsize=4096)
def _parse_members(members: tuple[tuple[str, str], ...], field_name: str) -> PublicKey:
    jwk = dict(members)
    try:
        point = [from_b64url(jwk[name], field=field_name) for name in ("x", "y") if name in jwk]
        if any(len(coordinate) != 32 for coordinate in point):
            raise ValueError("coordinates have 32 bytes")
        key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
        match jwk["kty"], jwk["crv"]:
            case "EC", "P-256":
                key, algorithm = (
                    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + b"".join(point)),
                    ES256,
                )
            case "OKP", "Ed25519":
                key, algorithm = ed25519.Ed25519PublicKey.from_public_bytes(point[0]), ED25519
            case _:
                raise ValueError("the curve is neither P-256 nor Ed25519")
    except (ValueError, InvalidArgument) as error:
        raise _bad_jwk(str(error), field_name) from error
    return PublicKey(jwk=jwk, key_id=_thumbprint(jwk), algorithm=algorithm, _key=key)


def _bad_jwk(message: str, field_name: str) -> InvalidArgument:
    return _bad(
        "BAD_JWK",
        f"not a public key that is accepted here: {message}",
        field=field_name,
        rule="RFC 7518, section 6.2.1 (P-256) or RFC 8037, section 2 (Ed25519)",
        remedy="send a JWK of type EC with curve P-256, or OKP with curve Ed25519",
    )


def _thumbprint(members: Mapping[str, str]) -> str:
    return b64url(sha256(canonical_bytes(members)))


def thumbprint(jwk: Mapping[str, Any] | str | bytes) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url) of a public JWK.

    Raises:
        InvalidArgument: as :func:`parse_public_jwk`.
    """
    return parse_public_jwk(jwk).key_id


class LocalSigner:
    """A :class:`Signer` over a private key in this process's memory. ``repr`` shows only which key it is."""

    __slots__ = ("_key", "_public")

    def __init__(self, private_key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
        self._key = private_key
        if isinstance(private_key, ec.EllipticCurvePrivateKey):
            numbers = private_key.public_key().public_numbers()
            x, y = (b64url(n.to_bytes((private_key.key_size + 7) // 8)) for n in (numbers.x, numbers.y))
            curve = "P-256" if isinstance(private_key.curve, ec.SECP256R1) else private_key.curve.name
            self._public = parse_public_jwk({"kty": "EC", "crv": curve, "x": x, "y": y})
        else:
            x = b64url(private_key.public_key().public_bytes_raw())
            self._public = parse_public_jwk({"kty": "OKP", "crv": "Ed25519", "x": x})

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint."""
        return self._public.key_id

    @property
    def algorithm(self) -> str:
        """:data:`ES256` or :data:`ED25519`."""
        return self._public.algorithm

    @property
    def public_jwk(self) -> dict[str, str]:
        """Public JWK."""
        return dict(self._public.jwk)

    @property
    def public_key(self) -> PublicKey:
        """The public half, ready to verify."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """64 bytes: raw r‖s for ES256, with deterministic nonces (RFC 6979)."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self._key.sign(data, _ECDSA_SIGN))
            return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"LocalSigner(key_id={self.key_id!r}, algorithm={self.algorithm!r})"


# --- Compact JWS ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """A protected header that passed the strict rules."""

    algorithm: str
    #: Media type without ``application/``; empty when absent.
    type: str
    #: Empty when absent.
    key_id: str
    members: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Jws:
    """A compact JWS that is well formed and whose signature has *not* been checked yet."""

    header: Header
    payload: bytes
    signing_input: bytes
    signature: bytes

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` signed it, with the algorithm that the header names."""
        algorithm = ED25519 if self.header.algorithm == EDDSA else self.header.algorithm
        return algorithm == key.algorithm and key.verify(self.signing_input, self.signature)


def parse_jws(
    compact: str,
    *,
    algorithms: Collection[str],
    types: Collection[str],
    max_length: int = MAX_JWS_LENGTH,
    field: str = "",
) -> Jws:
    """Take a compact JWS apart (RFC 7515, section 7.1); no key is touched.

    Args:
        compact: three base64url segments.
        algorithms: the algorithms that the caller accepts; never ``none``.
        types: the accepted values of ``typ``, without ``application/`` (RFC 8725, section 3.11).
        max_length: longest text that is looked at.
        field: what to name in errors.

    Raises:
        InvalidArgument: ``TOO_LARGE``, ``BAD_JWS``, ``ALGORITHM_REFUSED``, ``CRITICAL_HEADER_REFUSED``,
            ``WRONG_TYPE``, ``BAD_BASE64URL`` or ``BAD_JSON``.
    """
    if len(compact) > max_length:
        raise too_large(max_length, field)
    segments = compact.split(".")
    if len(segments) != 3 or not all(segments):
        raise _bad(
            "BAD_JWS",
            "not three base64url segments with a signature",
            field=field,
            rule="RFC 7515, section 7.1",
            remedy="send the signed token whole; an unsigned or truncated one is refused",
        )
    head, body, tail = segments
    header = _parse_header(head, field)
    if header.algorithm not in algorithms:
        raise _bad(
            "ALGORITHM_REFUSED",
            f"the signature algorithm {header.algorithm[:16]!r} is not accepted here",
            field=field,
            rule=f"one of {', '.join(sorted(algorithms))} (RFC 8725, section 3.1)",
            remedy="sign with an accepted algorithm",
        )
    if header.type not in types:
        raise _bad(
            "WRONG_TYPE",
            f"the token is of type {header.type[:64]!r}",
            field=field,
            rule=f"typ is one of {', '.join(sorted(types))} (RFC 8725, section 3.11)",
            remedy="send a token of the kind that is asked for",
        )
    return Jws(
        header=header,
        payload=from_b64url(body, field=field),
        signing_input=f"{head}.{body}".encode("ascii"),
        signature=from_b64url(tail, field=field),
    )


def claimed_type(compact: str) -> str:
    """The ``typ`` in the header of what may be a compact JWS, or the beginning of one; empty where there is none."""
    try:
        return _parse_header(compact.partition(".")[0], "").type
    except InvalidArgument:
        return ""


def _parse_header(segment: str, field_name: str) -> Header:
    if len(segment) > MAX_HEADER_LENGTH:
        raise too_large(MAX_HEADER_LENGTH, field_name)
    read = _remembered_header if len(segment) <= MAX_REMEMBERED_HEADER_LENGTH else _read_header
    return read(segment, field_name)


def _read_header(segment: str, field_name: str) -> Header:
    members = strict_json(from_b64url(segment, field=field_name), field=field_name)
    if not isinstance(members, dict) or not all(
        isinstance(members.get(name, ""), str) for name in ("alg", "typ", "kid")
    ):
        raise _bad(
            "BAD_JWS",
            "the protected header is not an object with text in alg, typ and kid",
            field=field_name,
            rule="RFC 7515, section 4.1",
            remedy='send a header like {"alg":"ES256","typ":"dc+sd-jwt","kid":"…"}',
        )
    # Extensions that must be understood, and we understand none (b64, RFC 7797, among them).
    if "crit" in members or "b64" in members:
        raise _bad(
            "CRITICAL_HEADER_REFUSED",
            "the header asks for an extension",
            field=field_name,
            rule="RFC 7515, section 4.1.11: what is critical and not understood makes a token invalid",
            remedy="sign without crit and b64",
        )
    return Header(
        algorithm=members.get("alg", ""),
        type=members.get("typ", "").removeprefix("application/"),
        key_id=members.get("kid", ""),
        members=members,
    )


# An issuer signs everything under one header, so the cache turns reading it into a look-up.
_remembered_header = lru_cache(maxsize=_REMEMBERED_HEADERS)(_read_header)


def too_large(limit: int, field: str = "") -> InvalidArgument:
    """The refusal of text beyond ``limit`` characters."""
    return _bad(
        "TOO_LARGE",
        f"longer than {limit} characters",
        field=field,
        rule=f"at most {limit} characters",
        remedy="send only the token itself",
    )


def signing_input(header: Mapping[str, Any], payload: bytes) -> bytes:
    """What a signature is made over: ``BASE64URL(header).BASE64URL(payload)`` (RFC 7515, section 5.1)."""
    return f"{b64url(_ENCODE_JSON(header))}.{b64url(payload)}".encode("ascii")


def complete(data: bytes, signature: bytes) -> str:
    """The compact JWS of a signing input and its signature."""
    return f"{data.decode('ascii')}.{b64url(signature)}"


def sign_jws(claims: Mapping[str, Any], signer: Signer, *, typ: str) -> str:
    """A compact JWS over a claims set, under ``alg``, ``kid`` and ``typ``."""
    header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": typ}
    data = signing_input(header, _ENCODE_JSON(claims))
    return complete(data, signer.sign(data))


#: How a verifier finds a key: by its id, or None where it is unknown to it.
FindKey = Callable[[str], PublicKey | None]
