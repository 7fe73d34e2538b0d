"""Token Status List against the draft's examples and test vectors, and another implementation."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from openvc.keys import P256SigningKey
from openvc.status.issue import build_status_list_token, verify_status_list_token
from openvc.status.token_status_list import check_token_status

from vitne.canonical import b64url
from vitne.credentials.jose import LocalSigner, parse_jws
from vitne.credentials.status_list import StatusList, decode, encode, pack, sign_token, unpack, verify_token

#: Section "Test vectors": entries of the four long lists.
LONG_LISTS = {1: "status_list_encoding1_long_json", 2: "status_list_encoding2_long_json"} | {
    4: "status_list_encoding4_json",
    8: "status_list_encoding8_json",
}
#: Name, bits, and the list in hexadecimal, packed and compressed.
SHORT_EXAMPLES = [
    ("status_list_encoding_json", 1, "b9a3", "78dadbb918000217015d"),
    ("status_list_encoding2_json", 2, "c944f9", "78da3be9f2130003df0207"),
]
ENTRIES = 1 << 20
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
SIGNER = LocalSigner(ec.derive_private_key(31, ec.SECP256R1()))


def example(vectors: Path, name: str) -> dict[str, Any]:
    text = (vectors / "token-status-list" / f"{name}.md").read_text()
    # The documents fold long values over indented lines.
    read: dict[str, Any] = json.loads(re.sub(r"\n\s*", "", text[text.index("{") :]))
    return read


def entries_of(draft: str, bits: int) -> dict[int, int]:
    section = draft[draft.index(f"## {bits}-bit Status List") :]
    block = section[: section.index("JSON encoding:")]
    return {int(index): int(value, 2) for index, value in re.findall(r"status\[(\d+)\] *= *0b([01]+)", block)}


@pytest.mark.parametrize(("name", "bits", "packed", "compressed"), SHORT_EXAMPLES)
def test_short_examples(vectors: Path, name: str, bits: int, packed: str, compressed: str) -> None:
    published = example(vectors, name)
    assert published == {"bits": bits, "lst": b64url(bytes.fromhex(compressed))}
    assert decode(published["lst"]) == bytes.fromhex(packed)
    assert encode(bytes.fromhex(packed), level=9) == published["lst"]


def test_the_statuses_of_the_short_examples() -> None:
    one = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    two = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
    assert pack(one, 1).hex() == "b9a3"
    assert pack(two, 2).hex() == "c944f9"
    assert unpack(bytes.fromhex("c944f9"), 2) == two


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_long_vectors(vectors: Path, bits: int) -> None:
    set_places = entries_of((vectors / "token-status-list/draft-ietf-oauth-status-list.md").read_text(), bits)
    assert len(set_places) >= 11
    statuses = [0] * ENTRIES
    for index, status in set_places.items():
        statuses[index] = status
    published = example(vectors, LONG_LISTS[bits])
    assert published["bits"] == bits
    packed = decode(published["lst"])
    assert packed == pack(statuses, bits)
    held = StatusList("", bits, NOW, None, None, "", packed)
    assert len(held) == ENTRIES
    assert {index: held.status_at(index) for index in set_places} == set_places


def test_the_published_token_parses(vectors: Path) -> None:
    raw = "".join((vectors / "token-status-list/status_list_jwt_raw.md").read_text().split())
    jws = parse_jws(raw, algorithms=("ES256",), types=("statuslist+jwt",))
    text = (vectors / "token-status-list/status_list_jwt.md").read_text()
    assert jws.header.key_id == "12"
    # The raw token has an issuer that the decoded one leaves out.
    assert json.loads(jws.payload).items() >= json.loads(text[text.index("}\n.\n") + 4 :]).items()


def test_another_implementation_reads_our_token() -> None:
    statuses = [0, 1, 2, 0, 1]
    uri = "https://status.vitne.example/2026/dk-7"
    token = sign_token(
        uri=uri,
        packed=pack(statuses, 2),
        bits=2,
        issued_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        ttl=timedelta(seconds=5),
        signer=SIGNER,
    )
    for index, status in enumerate(statuses):
        claims = {"status": {"status_list": {"idx": index, "uri": uri}}}
        result = check_token_status(
            claims,
            resolve_status_list_token=lambda asked: verify_status_list_token(
                token, expected_uri=asked, public_key_jwk=SIGNER.public_jwk
            ),
        )
        assert result is not None
        assert result.status == status


def test_we_read_another_implementations_token() -> None:
    theirs = P256SigningKey(ec.derive_private_key(31, ec.SECP256R1()), kid=SIGNER.key_id)
    uri = "https://status.vitne.example/2026/dk-7"
    token = build_status_list_token(
        signing_key=theirs,
        uri=uri,
        status_list=pack([0, 1, 2, 0], 2),
        bits=2,
        ttl=5,
        expires=datetime.now(UTC) + timedelta(hours=1),
    )
    held = verify_token(token, uri=uri, find_key={SIGNER.key_id: SIGNER.public_key}.get, now=datetime.now(UTC))
    assert [held.status_at(index) for index in range(4)] == [0, 1, 2, 0]
