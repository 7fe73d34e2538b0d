"""What is fuzzed: every parser of what strangers send. Whatever comes, it is read or refused by a ``VitneError``.

Each target takes any bytes, and also holds what was read against what it says of itself: anything else that is raised
is a finding. Nothing here needs the fuzzer, so that ``make test`` can replay what it found.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from services.verifier import presented
from tests.fuzz import dressing
from vitne.canonical import canonical_value
from vitne.credentials import bitstring_status_list, cbor, status_list
from vitne.credentials.data_integrity import ecdsa_sd_2023, proof
from vitne.credentials.data_integrity.multibase import encode_base64url
from vitne.credentials.jose import LocalSigner, sign_jws, strict_json
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.rdf import nquads
from vitne.credentials.rdf.canonical import canonicalise
from vitne.credentials.status_list_cwt import MEDIA_TYPE as CWT
from vitne.credentials.status_list_cwt import verify_cwt
from vitne.credentials.w3c import baking, open_badges, vcdm
from vitne.errors import VitneError
from vitne.merkle.cosignatures import CosignerKey, cosignatures
from vitne.merkle.leaves import parse_leaf
from vitne.merkle.notes import Checkpoint, NoteKey, open_note, split_note
from vitne.merkle.policy import Policy
from vitne.merkle.resources import Resource, decode_bundle, encode_bundle, split_hashes
from vitne.merkle.tlog_proof import LogProof
from vitne.merkle.witnessing import AddCheckpoint

#: Signs the lists, so that what is behind their signature is reached, too.
KEY: Final = LocalSigner(ec.derive_private_key(4001, ec.SECP256R1()))
LIST: Final = "https://status.vitne.example/2026/dk-7"
NOW: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
#: Which kind of list an input is for, as its first byte.
LISTS: Final = (b"t", b"c", b"p", b"z", b"g")
NOTE_KEY: Final = NoteKey("log.vitne.example/2026", bytes(32))
COSIGNER_KEY: Final = CosignerKey("witness.example/w0", bytes(32))

_COSE_SIGN1: Final = 18
_PROTECTED: Final = cbor.encode({1: -7, 16: CWT})
_BASE, _DERIVED = b"\xd9\x5d\x00", b"\xd9\x5d\x01"

Target = Callable[[bytes], None]


def _present(text: str) -> None:
    """Read a presentation, and ask of it what the verifier's checks ask."""
    read = presented.read(text)
    _ = (read.credential, read.described, read.type, read.key_id, read.algorithm, read.withheld, read.digest)
    assert not read.verified_by(KEY.public_key)
    read.bound()


def _tokens(data: bytes) -> None:
    _present(dressing.token(data))


def _texts(data: bytes) -> None:
    _present(dressing.text(data))


def _sealed(data: bytes) -> None:
    _present(dressing.sealed(data))


def _rdf(data: bytes) -> None:
    text = dressing.text(data)
    if not text.startswith("{"):
        canonical = canonicalise(nquads.parse(text)).document
        assert canonicalise(nquads.parse(canonical.decode())).document == canonical
        return
    document = strict_json(text)
    canonicalise(to_rdf(document))
    vcdm.require_credential(document)
    open_badges.require_badge(document)


def _selective(data: bytes) -> None:
    """A document, a line feed, and the CBOR of its base or derived proof."""
    head, _, value = data.partition(b"\n")
    document = strict_json(dressing.text(head))
    if not isinstance(document, dict) or not isinstance(document.get("proof"), dict):
        return
    for header, read in ((_BASE, _derive), (_DERIVED, _derived)):
        secured = document | {"proof": document["proof"] | {"proofValue": encode_base64url(header + value)}}
        try:
            read(secured)
        except VitneError:
            continue


def _derive(secured: Mapping[str, Any]) -> None:
    ecdsa_sd_2023.derive(secured, ["/credentialSubject"])


def _derived(secured: Mapping[str, Any]) -> None:
    read = ecdsa_sd_2023.read(secured)
    read.require(purpose=proof.ASSERTION, now=NOW)
    assert not read.verified_by(KEY.public_key)


def _images(data: bytes) -> None:
    baking.extract(dressing.image(data))


def _lists(data: bytes) -> None:
    kind, content = data[:1], data[1:]
    if kind == b"t":
        claims = strict_json(dressing.text(content))
        if isinstance(claims, dict):
            token = sign_jws(claims, KEY, typ=status_list.JWT_TYPE)
            status_list.verify_token(token, uri=LIST, find_key=_find, now=NOW)
    elif kind == b"c":
        verify_cwt(content, uri=LIST, find_key=_find, now=NOW)
    elif kind == b"p":
        signature = KEY.sign(cbor.encode(["Signature1", _PROTECTED, b"", content]))
        parts = [_PROTECTED, {4: KEY.key_id.encode()}, content, signature]
        verify_cwt(cbor.encode(cbor.Tagged(_COSE_SIGN1, parts)), uri=LIST, find_key=_find, now=NOW)
    elif kind == b"v":
        claims = strict_json(dressing.text(content))
        if isinstance(claims, dict):
            token = sign_jws(claims, KEY, typ=bitstring_status_list.JWT_TYPE)
            uri = bitstring_status_list.list_url(LIST, "revocation")
            read = bitstring_status_list.verify_credential(
                token, uri=uri, purpose="revocation", find_key=_find, now=NOW
            )
            assert all(bitstring_status_list.is_set(read.bits, place) for place in read.places_set())
    elif kind == b"z":
        packed = status_list.inflate(content)
        assert status_list.pack(status_list.unpack(packed[:1000], 2), 2) == packed[:1000]
    else:
        bits = bitstring_status_list.decode(encode_base64url(content))
        bitstring_status_list.is_set(bits, zlib.crc32(content))


def _find(key_id: str) -> Any:
    return KEY.public_key if key_id == KEY.key_id else None


def _json(data: bytes) -> None:
    canonical = canonical_value(strict_json(data))
    assert canonical_value(strict_json(canonical)) == canonical


def _log(data: bytes) -> None:
    """Notes and what is around them as text; leaves, bundles and tiles as bytes. Each refuses what it is not."""
    text, note = dressing.text(data), data
    readers: tuple[Callable[[], object], ...] = (
        lambda: split_note(note),
        lambda: open_note(note, [NOTE_KEY]),
        lambda: cosignatures(note, [COSIGNER_KEY]),
        lambda: Checkpoint.parse(text),
        lambda: Policy.parse(text),
        lambda: LogProof.parse(text),
        lambda: AddCheckpoint.parse(data),
        lambda: NoteKey.parse(text),
        lambda: Resource.parse(text),
        lambda: _leaf(data),
        lambda: _bundle(data),
        lambda: split_hashes(data, len(data) // 32),
    )
    for read in readers:
        try:
            read()
        except VitneError:
            continue


def _leaf(data: bytes) -> None:
    assert parse_leaf(data).to_bytes() == data


def _bundle(data: bytes) -> None:
    """The first byte says how many entries there are."""
    bundle = data[1:]
    assert encode_bundle(decode_bundle(bundle, data[0] if data else 0)) == bundle


#: By name; together they hold every parser of what comes from outside.
TARGETS: Final[Mapping[str, Target]] = {
    "sd-jwt-vc": _tokens,
    "vc-jwt": _tokens,
    "data-integrity": _texts,
    "ecdsa-sd": _selective,
    "rdf": _rdf,
    "baked-badges": _images,
    "edc": _sealed,
    "elmo": _texts,
    "status-lists": _lists,
    "json": _json,
    "log": _log,
}


def feed(name: str, data: bytes) -> None:
    """Give a target its input; a refusal is as good as an answer."""
    try:
        TARGETS[name](data)
    except VitneError:
        return
