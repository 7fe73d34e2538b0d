"""Where the fuzzer begins: what our own writers make of sample credentials, lists and logs. Made anew in each run."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.fuzz import dressing
from tests.fuzz.targets import KEY, LIST, NOW
from tests.unit.credential_samples import (
    ENTROPY,
    HOLDER_KEY,
    ISSUED_AT,
    ISSUER_URI,
    PROVIDER_KEY,
    sample_achievement,
    sample_credential,
)
from tests.unit.european_samples import SALT, SETTING, certificate, full_credential
from tests.unit.log_samples import SampleLog, cosigner, note_signer, policy_text
from vitne.canonical import canonical_bytes
from vitne.credentials import bitstring_status_list, cbor, sd_jwt_vc, status_list
from vitne.credentials.data_integrity import ecdsa_sd_2023
from vitne.credentials.data_integrity.multibase import decode
from vitne.credentials.elm.seal import seal
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import ES256, LocalSigner, parse_jws
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.model import Credential
from vitne.credentials.rdf.canonical import canonicalise
from vitne.credentials.sd_jwt import HolderBinding
from vitne.credentials.status_list_cwt import sign_cwt
from vitne.credentials.type_metadata import DISCLOSABLE
from vitne.credentials.w3c import baking_png, baking_svg, documents, renditions, selective
from vitne.credentials.w3c.renditions import Form
from vitne.merkle.leaves import Issued
from vitne.merkle.witnessing import AddCheckpoint
from vitne_api.credential.v1 import credential_pb2

_EDDSA: Final = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
_PROOF_KEY: Final = LocalSigner(ec.derive_private_key(2001, ec.SECP256R1()))
#: Of a PNG of one pixel: signature, header, data, end. Their checksums are put in by the target.
_PNG: Final = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU"
    b"\0\0\0\nIDATx\x9cc`\0\0\0\2\0\1H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)
_SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><rect width="1" height="1"/></svg>'


def _credentials() -> Iterator[Credential]:
    yield sample_credential()
    yield full_credential()
    yield sample_credential(achievement=sample_achievement(workload=credential_pb2.Workload(hours="30"), level=None))


def _sd_jwts() -> Iterator[bytes]:
    for credential in _credentials():
        prepared = sd_jwt_vc.prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
        yield dressing.undressed_token(prepared.complete(dressing.SIGNATURE))
    held = sample_credential(holder=HOLDER_KEY.public_key)
    prepared = sd_jwt_vc.prepare(held, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
    shown = prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))
    binding = HolderBinding(HOLDER_KEY, "https://employer.example", "n-0S6", ISSUED_AT)
    yield (shown + binding.sign(shown)).encode()


def _renditions(*forms: Form) -> Iterator[str]:
    for form in forms:
        for signer in (PROVIDER_KEY, _EDDSA):
            for credential in _credentials():
                prepared = renditions.prepare(
                    form,
                    credential,
                    algorithm=signer.algorithm,
                    key_id=signer.key_id,
                    salt=SALT,
                    created=credential.issued_at,
                )
                yield prepared.complete(signer.sign(prepared.signing_input))


def _jwts() -> Iterator[bytes]:
    for text in _renditions(Form.JWT, Form.BADGE_JWT):
        yield dressing.undressed_token(text)


def _documents() -> Iterator[bytes]:
    for text in _renditions(Form.DATA_INTEGRITY, Form.JCS, Form.BADGE):
        yield text.encode()
    base = selective.prepare(
        sample_credential(),
        key_id=PROVIDER_KEY.key_id,
        salt=SALT,
        created=ISSUED_AT,
        hmac_key=bytes(32),
        proof_key=_PROOF_KEY,
    )
    secured = base.complete(PROVIDER_KEY.sign(base.signing_input))
    for claims in ((), DISCLOSABLE):
        yield selective.show(secured, claims).encode()


def _selective() -> Iterator[bytes]:
    prepared = ecdsa_sd_2023.prepare(
        documents.to_document(sample_credential(), salt=SALT),
        mandatory=["/issuer", "/validFrom"],
        verification_method=f"{ISSUER_URI}#{PROVIDER_KEY.key_id}",
        created=ISSUED_AT,
        hmac_key=bytes(32),
        proof_key=_PROOF_KEY,
    )
    base = prepared.complete(PROVIDER_KEY.sign(prepared.to_sign))
    for secured in (base, ecdsa_sd_2023.derive(base, ["/credentialSubject"]), ecdsa_sd_2023.derive(base, [])):
        options = dict(secured["proof"])
        value = decode(options.pop("proofValue"))
        yield json.dumps({**secured, "proof": options}).encode() + b"\n" + value[3:]


def _graphs() -> Iterator[bytes]:
    for text in _renditions(Form.DATA_INTEGRITY, Form.BADGE):
        document = json.loads(text)
        del document["proof"]
        yield json.dumps(document).encode()
        yield canonicalise(to_rdf(document)).document
    yield b'_:a <urn:p> _:b .\n_:b <urn:p> _:a .\n_:c <urn:q> "\\u00e6\\n"@nb-no _:a .\n_:c <urn:q> "1"^^<urn:t> .\n'


def _images() -> Iterator[bytes]:
    png = dressing.image(_PNG)
    for text in _renditions(Form.BADGE, Form.BADGE_JWT):
        yield baking_png.bake(png, text[:500])
        yield baking_svg.bake(_SVG, text)


def _edc() -> Iterator[bytes]:
    for credential in _credentials():
        yield dressing.undressed_seal(seal(credential, PROVIDER_KEY, SETTING, certificates=[certificate()], salt=SALT))


def _elmo() -> Iterator[bytes]:
    for credential in _credentials():
        nodes = [Node(credential, setting=SETTING)]
        yield sign(nodes, PROVIDER_KEY, certificates=[certificate()], salt=SALT)
    whole = Node(sample_credential(), parts=(Node(sample_credential(id=full_credential().id)),))
    yield sign([whole], PROVIDER_KEY, certificates=[certificate()], salt=SALT)


def _lists() -> Iterator[bytes]:
    packed, end = bytes(16), NOW + timedelta(minutes=15)
    claims = {
        "sub": LIST,
        "iat": int(NOW.timestamp()),
        "exp": int(end.timestamp()),
        "ttl": 10,
        "status_list": {"bits": 2, "lst": status_list.encode(packed)},
    }
    yield b"t" + json.dumps(claims).encode()
    token = sign_cwt(
        uri=LIST, packed=packed, bits=2, issued_at=NOW, expires_at=end, ttl=timedelta(seconds=10), signer=KEY
    )
    yield b"c" + token
    yield b"p" + cbor.decode(token).value[2]
    credential = bitstring_status_list.sign_credential(
        uri=bitstring_status_list.list_url(LIST, "revocation"),
        issuer="https://status.vitne.example",
        packed=packed,
        purpose="revocation",
        issued_at=NOW,
        expires_at=end,
        ttl=timedelta(seconds=10),
        signer=KEY,
    )
    yield b"v" + parse_jws(credential, algorithms=(ES256,), types=(bitstring_status_list.JWT_TYPE,)).payload
    yield b"z" + zlib.compress(packed)
    yield b"g" + decode(bitstring_status_list.encode(packed))


def _json() -> Iterator[bytes]:
    yield b'{"a":[1,-0.5,1e21,true,null,"\\u00e6\\ud83d\\ude00\\n"],"\\u20ac":{"":{}}}'
    yield b'[[[[[[[["' + "æøå\U0001f600".encode() + b'"]]]]]]]]'
    yield from _sd_jwts()


def _log() -> Iterator[bytes]:
    log = SampleLog().append(canonical_bytes({"n": number}) for number in range(5))
    log.append([Issued(bytes(32)).to_bytes()])
    note = log.note(None, cosigner(0))
    yield note.encode()
    yield log.checkpoint().text().encode()
    yield policy_text(note_signer(), 2, "any").encode()
    yield log.proof(3, note).text().encode()
    yield AddCheckpoint(3, log.consistency(3, 6), note).text().encode()
    yield note_signer().key.text.encode()
    yield b"tile/entries/x001/234.p/5"
    yield log.entries[-1]
    for resource, data in log.publish().files.items():
        yield (b"\x06" + data) if "entries" in resource else data


SEEDS: Final[Mapping[str, Callable[[], Iterator[bytes]]]] = {
    "sd-jwt-vc": _sd_jwts,
    "vc-jwt": _jwts,
    "data-integrity": _documents,
    "ecdsa-sd": _selective,
    "rdf": _graphs,
    "baked-badges": _images,
    "edc": _edc,
    "elmo": _elmo,
    "status-lists": _lists,
    "json": _json,
    "log": _log,
}
