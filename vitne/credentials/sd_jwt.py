"""SD-JWT (RFC 9901): issuing in two phases, presenting less, key binding, and reading what is shown.

What may be withheld is wrapped in :class:`Disclosable`, as a member's value or
as an array's element, at any depth. Digests are SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from vitne.canonical import b64url, digest_text, from_b64url
from vitne.credentials.jose import (
    ES256,
    Jws,
    Signer,
    complete,
    parse_jws,
    parse_public_jwk,
    sign_jws,
    signing_input,
    strict_json,
    too_large,
)
from vitne.errors import InvalidArgument

#: Where in the claims something stands: member names and array indexes, from the root.
Path = tuple[str | int, ...]

#: ``typ`` of a key binding JWT (section 4.3).
KEY_BINDING_TYPE: Final = "kb+jwt"
#: Longest SD-JWT that is read, in characters; the same as the verifier's request allows.
MAX_LENGTH: Final = 262_144
#: Most disclosures that are read. A credential of ours has five.
MAX_DISCLOSURES: Final = 512
#: Deepest claims after disclosures were put in, so that a chain of them stays bounded.
MAX_DEPTH: Final = 32
#: Bytes of a salt: the 128 bits that section 9.3 recommends.
SALT_BYTES: Final = 16
#: How far ahead of ours a holder's clock may be.
CLOCK_SKEW: Final = timedelta(seconds=60)

_SD: Final = "_sd"
_SD_ALG: Final = "_sd_alg"
_ELEMENT: Final = "..."
_RESERVED: Final = frozenset({_SD, _ELEMENT})
_ENCODE_JSON: Final = msgspec.json.Encoder().encode
#: Types of values that are written as they are.
_PLAIN: Final = frozenset((str, int, bool, msgspec.Raw))


def _malformed(message: str, section: str, *, reason: str = "SD_JWT_MALFORMED") -> InvalidArgument:
    return InvalidArgument(
        reason,
        f"not an SD-JWT that can be read: {message}",
        field="credential",
        rule=f"RFC 9901, section {section}",
        remedy="send the credential as it was issued or presented, unchanged and whole",
    )


# --- Issuing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disclosable:
    """A value that its holder may withhold. It may hold further disclosable values (section 4.2.6)."""

    value: Any


@dataclass(frozen=True, slots=True)
class Prepared:
    """An SD-JWT before its signature: what to store, then what to sign."""

    #: The issuer-signed JWT's header and payload, as they are signed.
    signing_input: bytes
    #: base64url disclosures, in the order of the claims.
    disclosures: tuple[str, ...] = field(repr=False)

    def complete(self, signature: bytes) -> str:
        """The compact SD-JWT with all disclosures (section 4): ``<JWT>~<disclosure>~…~``."""
        return "~".join((complete(self.signing_input, signature), *self.disclosures, ""))


def prepare(
    claims: Mapping[str, Any], *, header: Mapping[str, Any], salts: Iterable[bytes], decoys: int = 0
) -> Prepared:
    """Turn claims into what is to be signed and the disclosures that go with it. Nothing is signed yet.

    Args:
        claims: JSON values in which :class:`Disclosable` marks what may be withheld.
        header: the protected header; must name ``alg`` and ``typ``.
        salts: random bytes, :data:`SALT_BYTES` each, one for every disclosure and decoy.
        decoys: how many digests of nothing to add at the top (section 4.2.7), so that their number says less.

    Raises:
        ValueError: on a reserved member name, a salt of another length, or too few salts: a mistake of the caller.
    """
    writer = _Writer(iter(salts))
    payload = writer.members(claims, decoys)
    if _SD_ALG in claims:
        raise ValueError("the member name _sd_alg is reserved")
    payload[_SD_ALG] = "sha-256"
    return Prepared(signing_input(header, _ENCODE_JSON(payload)), tuple(writer.disclosures))


def written(claims: Mapping[str, Any]) -> msgspec.Raw:
    """Claims of which nothing may be withheld, as JSON: a value to put among the claims of many SD-JWTs.

    Raises:
        ValueError: on a reserved member name, or something :class:`Disclosable`: a mistake of the caller.
    """
    return msgspec.Raw(_ENCODE_JSON(_Writer(iter(())).members(claims)))


class _Writer:
    def __init__(self, salts: Iterator[bytes]) -> None:
        self._salts = salts
        self.disclosures: list[str] = []

    def members(self, claims: Mapping[str, Any], decoys: int = 0) -> dict[str, Any]:
        digests = []
        written: dict[str, Any] = {}
        for name, value in claims.items():
            if name in _RESERVED:
                raise ValueError(f"the member name {name} is reserved")
            if isinstance(value, Disclosable):
                digests.append(self._disclose(name, self._value(value.value)))
            else:
                written[name] = self._value(value)
        digests += [digest_text(self._salt().encode("ascii")) for _ in range(decoys)]
        if digests:
            written[_SD] = sorted(digests)  # their order must not tell the claims' (section 4.2.4.1)
        return written

    def _value(self, value: Any) -> Any:
        # Most values are of these: looking for an abstract base class takes longer than all the rest.
        if type(value) in _PLAIN:
            return value
        if type(value) is dict or isinstance(value, Mapping):
            return self.members(value)
        if isinstance(value, list | tuple):
            return [
                {_ELEMENT: self._disclose(self._value(item.value))}
                if isinstance(item, Disclosable)
                else self._value(item)
                for item in value
            ]
        return value

    def _disclose(self, *content: Any) -> str:
        disclosure = b64url(_ENCODE_JSON([self._salt(), *content]))
        self.disclosures.append(disclosure)
        return digest_text(disclosure.encode("ascii"))

    def _salt(self) -> str:
        salt = next(self._salts, b"")
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt of {SALT_BYTES} bytes is needed for every disclosure and decoy")
        return b64url(salt)


# --- Reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Disclosure:
    text: str
    #: None for an array element.
    name: str | None
    value: Any


@dataclass(frozen=True, slots=True)
class SdJwt:
    """An SD-JWT that is well formed. Its signature has *not* been checked by parsing it."""

    jws: Jws
    #: The issuer-signed JWT's claims, with digests in place of what may be withheld.
    payload: Mapping[str, Any] = field(repr=False)
    #: The disclosures that came with it.
    disclosures: tuple[str, ...] = field(repr=False)
    #: The key binding JWT; empty when there is none.
    key_binding: str = field(repr=False)
    #: The claims as shown: disclosures put in place, digests removed. Only as trustworthy as the signature.
    unverified_claims: Mapping[str, Any] = field(repr=False)
    #: How many digests no disclosure came for: withheld claims, and decoys.
    withheld: int
    _paths: Mapping[str, Path] = field(repr=False)

    @property
    def issuer_signed(self) -> str:
        """The issuer-signed JWT, which no presentation changes."""
        return complete(self.jws.signing_input, self.jws.signature)

    def present(self, disclose: Callable[[Path], bool], *, holder: HolderBinding | None = None) -> str:
        """A compact presentation of some of the disclosures (section 5), with key binding where asked for.

        Args:
            disclose: whether to show the claim at a path. Within what is not shown, nothing is.
            holder: signs the presentation for one verifier.
        """
        hidden = {path for path in self._paths.values() if not disclose(path)}
        kept = [
            text
            for text, path in self._paths.items()
            if not any(path[:length] in hidden for length in range(1, len(path) + 1))
        ]
        presentation = "~".join((self.issuer_signed, *kept, ""))
        return presentation + holder.sign(presentation) if holder else presentation


def parse(compact: str, *, types: Collection[str], algorithms: Collection[str] = (ES256,)) -> SdJwt:
    """Take a compact SD-JWT or SD-JWT+KB apart and put its disclosures in place (section 7.1, but the signature).

    Raises:
        InvalidArgument: ``SD_JWT_MALFORMED``, ``DISCLOSURE_UNREFERENCED``, ``DIGEST_REPEATED``, ``CLAIM_COLLISION``,
                ``TOO_LARGE``, or a refusal of :func:`~vitne.credentials.jose.parse_jws`, also of a key binding JWT.
    """
    if len(compact) > MAX_LENGTH:
        raise too_large(MAX_LENGTH, "credential")
    if not compact.isascii():
        raise _malformed("it holds characters that none is made of", "4")
    issuer_signed, *texts = compact.split("~")
    if not texts:
        raise _malformed("it looks cut: there is no '~', and one stands behind each of its parts", "4")
    *texts, key_binding = texts
    if len(texts) > MAX_DISCLOSURES:
        raise _malformed(f"more than {MAX_DISCLOSURES} disclosures", "4")
    jws = parse_jws(issuer_signed, algorithms=algorithms, types=types, max_length=MAX_LENGTH, field="credential")
    if key_binding and "." not in key_binding:
        raise _malformed("it looks cut in a disclosure: it ends neither with '~' nor with a key binding", "4")
    if key_binding:
        _parse_key_binding(key_binding, algorithms)  # what stands there is one, and not the half of a disclosure
    payload = strict_json(jws.payload, field="credential")
    if not isinstance(payload, dict):
        raise _malformed("the payload is not an object", "4.1")
    if payload.get(_SD_ALG, "sha-256") != "sha-256":
        raise _malformed("digests are not made with sha-256", "4.1.1", reason="ALGORITHM_REFUSED")
    reader = _Reader(texts, flat=_is_flat(jws.payload, payload))
    claims = reader.members({name: value for name, value in payload.items() if name != _SD_ALG}, ())
    if len(reader.paths) != len(texts):
        raise _malformed("a disclosure belongs to no digest", "7.1, step 5", reason="DISCLOSURE_UNREFERENCED")
    return SdJwt(
        jws=jws,
        payload=payload,
        disclosures=tuple(texts),
        key_binding=key_binding,
        unverified_claims=claims,
        withheld=len(reader.seen) - len(texts),
        _paths=reader.paths,
    )


def _is_flat(written: bytes, payload: Mapping[str, Any]) -> bool:
    """Whether all digests stand at the top, by looking at the text: ours do, and then nothing below has to be walked.

    Doubt is no: a name may be written with escapes, and a text may say what a name does.
    """
    return b"\\" not in written and b'"..."' not in written and written.count(b'"_sd"') == (_SD in payload)


class _Reader:
    """Puts disclosures in place of their digests, once each.

    Args:
        texts: the disclosures.
        flat: whether the payload has digests at its top only.
    """

    def __init__(self, texts: list[str], *, flat: bool) -> None:
        self._flat = flat
        self._by_digest = {digest_text(text.encode("ascii")): _read_disclosure(text) for text in texts}
        if len(self._by_digest) != len(texts):
            raise _malformed("a disclosure is there twice", "7.1, step 4", reason="DIGEST_REPEATED")
        self.seen: set[str] = set()
        self.paths: dict[str, Path] = {}

    def members(self, claims: dict[str, Any], path: Path) -> dict[str, Any]:
        if _ELEMENT in claims:
            raise _malformed("'...' stands where no array element is", "4.2.4.2")
        digests = claims.get(_SD, [])
        if not isinstance(digests, list) or not all(isinstance(digest, str) for digest in digests):
            raise _malformed("_sd is not an array of digests", "4.2.4.1")
        if self._flat and not path:
            read = {name: value for name, value in claims.items() if name != _SD}
        else:
            read = {name: self._value(value, (*path, name)) for name, value in claims.items() if name != _SD}
        for digest in digests:
            disclosure = self._find(digest)
            if disclosure is None:
                continue
            if disclosure.name is None:
                raise _malformed("an array element's disclosure stands for a member", "7.1, step 3")
            if disclosure.name in read:
                raise _malformed(
                    "a disclosure repeats the name of another claim", "7.1, step 3", reason="CLAIM_COLLISION"
                )
            place = (*path, disclosure.name)
            self.paths[disclosure.text] = place
            read[disclosure.name] = self._value(disclosure.value, place)
        return read

    def _value(self, value: Any, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise _malformed("the claims are nested too deep", "7.1")
        if isinstance(value, dict):
            return self.members(value, path)
        if isinstance(value, list):
            return [read for place, item in enumerate(value) for read in self._element(item, (*path, place))]
        return value

    def _element(self, item: Any, path: Path) -> Iterator[Any]:
        if not (isinstance(item, dict) and _ELEMENT in item):
            yield self._value(item, path)
            return
        digest = item[_ELEMENT]
        if len(item) != 1 or not isinstance(digest, str):
            raise _malformed("'...' stands with other members or without a digest", "4.2.4.2")
        disclosure = self._find(digest)
        if disclosure is None:
            return
        if disclosure.name is not None:
            raise _malformed("a member's disclosure stands for an array element", "7.1, step 3")
        self.paths[disclosure.text] = path
        yield self._value(disclosure.value, path)

    def _find(self, digest: str) -> _Disclosure | None:
        if digest in self.seen:
            raise _malformed("a digest is there twice", "7.1, step 4", reason="DIGEST_REPEATED")
        self.seen.add(digest)
        return self._by_digest.get(digest)


def _read_disclosure(text: str) -> _Disclosure:
    content = strict_json(from_b64url(text, field="credential"), field="credential")
    match content:
        case [str(), str(name), value] if name not in _RESERVED and name != _SD_ALG:
            return _Disclosure(text, name, value)
        case [str(), value]:
            return _Disclosure(text, None, value)
        case _:
            raise _malformed("a disclosure is not [salt, name, value] or [salt, value], or its name is reserved", "4.2")


# --- Key binding ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HolderBinding:
    """What a holder signs so that a presentation counts for one verifier and one occasion (section 4.3)."""

    signer: Signer
    #: The verifier.
    audience: str
    #: The verifier's fresh value.
    nonce: str
    issued_at: datetime

    def sign(self, presentation: str) -> str:
        """The key binding JWT for a presentation that ends in ``~``."""
        claims = {
            "aud": self.audience,
            "iat": int(self.issued_at.timestamp()),
            "nonce": self.nonce,
            "sd_hash": digest_text(presentation.encode("ascii")),
        }
        return sign_jws(claims, self.signer, typ=KEY_BINDING_TYPE)


def open_key_binding(sd_jwt: SdJwt, *, algorithms: Collection[str] = (ES256,)) -> Mapping[str, Any]:
    """Check that the holder's key signed exactly this presentation; answers what the key binding says.

    For whom and when it was made is :func:`verify_key_binding`'s to check. The holder's key is the signed
    payload's ``cnf``: check the issuer's signature too.

    Raises:
        InvalidArgument: ``KEY_BINDING_MISSING``; ``KEY_BINDING_INVALID`` on a foreign key or another presentation;
            or a refusal of :func:`~vitne.credentials.jose.parse_jws`.
    """
    if not sd_jwt.key_binding:
        raise _malformed("there is no key binding JWT", "7.3", reason="KEY_BINDING_MISSING")
    confirmation = sd_jwt.payload.get("cnf")
    if not isinstance(confirmation, dict) or not isinstance(confirmation.get("jwk"), dict):
        raise _binding("the credential is bound to no key")
    key = parse_public_jwk(confirmation["jwk"], field="credential.cnf.jwk")
    jws = _parse_key_binding(sd_jwt.key_binding, algorithms)
    if not jws.verified_by(key):
        raise _binding("its signature is not the holder's")
    claims = strict_json(jws.payload, field="key_binding")
    if not isinstance(claims, dict):
        raise _binding("its claims are not an object")
    presentation = "~".join((sd_jwt.issuer_signed, *sd_jwt.disclosures, ""))
    if claims.get("sd_hash") != digest_text(presentation.encode("ascii")):
        raise _binding("it was made for another presentation")
    return claims


def verify_key_binding(
    sd_jwt: SdJwt,
    *,
    audience: str,
    nonce: str,
    now: datetime,
    max_age: timedelta,
    algorithms: Collection[str] = (ES256,),
) -> None:
    """Check that the holder made this presentation for this verifier, now (section 7.3).

    Raises:
        InvalidArgument: as :func:`open_key_binding`; ``KEY_BINDING_INVALID`` also on another audience or nonce, or a
            time outside ``max_age``.
    """
    claims = open_key_binding(sd_jwt, algorithms=algorithms)
    if claims.get("aud") != audience or claims.get("nonce") != nonce:
        raise _binding("it was made for another verifier or occasion")
    issued = claims.get("iat")
    age = None if type(issued) is not int else now.timestamp() - issued
    if age is None or not -CLOCK_SKEW.total_seconds() <= age <= max_age.total_seconds():
        raise _binding("it was made at another time")


def _parse_key_binding(key_binding: str, algorithms: Collection[str]) -> Jws:
    return parse_jws(
        key_binding, algorithms=algorithms, types=(KEY_BINDING_TYPE,), max_length=MAX_LENGTH, field="key_binding"
    )


def _binding(message: str) -> InvalidArgument:
    return InvalidArgument(
        "KEY_BINDING_INVALID",
        f"the key binding does not hold: {message}",
        field="key_binding",
        rule="RFC 9901, section 7.3",
        remedy="ask the holder to present again",
    )
