"""One table over all formats: a signed credential that is changed is refused, does not verify, or says the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.verifier.presented import read
from tests.unit import mutated
from tests.unit.credential_samples import ENTROPY, FOREIGN_KEY, PROVIDER_KEY
from tests.unit.european_samples import FOREIGN_SCALAR, PROVIDER_SCALAR, SALT, SETTING, certificate, full_credential
from tests.unit.test_data_integrity import ED25519_KEY
from vitne.credentials import sd_jwt_vc
from vitne.credentials.data_integrity.ecdsa_sd_2023 import HMAC_KEY_BYTES
from vitne.credentials.elm.seal import seal
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import LocalSigner
from vitne.credentials.model import Credential
from vitne.credentials.type_metadata import DISCLOSABLE
from vitne.credentials.w3c import renditions, selective
from vitne.credentials.w3c.renditions import Form
from vitne.errors import InvalidArgument

CREDENTIAL = full_credential()
SD_JWT, EDC, ELMO, SELECTIVE = "sd-jwt-vc", "edc", "elmo", "ecdsa-sd"
TOKENS = (SD_JWT, Form.JWT.value, Form.BADGE_JWT.value)
#: Format, and the key that signs it.
FORMATS: dict[str, LocalSigner] = {
    SD_JWT: PROVIDER_KEY,
    Form.JWT.value: PROVIDER_KEY,
    Form.BADGE_JWT.value: ED25519_KEY,
    Form.DATA_INTEGRITY.value: PROVIDER_KEY,
    Form.JCS.value: ED25519_KEY,
    Form.BADGE.value: ED25519_KEY,
    EDC: PROVIDER_KEY,
    ELMO: PROVIDER_KEY,
    SELECTIVE: PROVIDER_KEY,
}
#: Most places of a credential that are changed in each way; test_w3c_documents.py changes every one of a document.
PLACES = 90
#: What a change leaves as it was, and why that is right. Nothing else may.
HARMLESS = {
    (SD_JWT, "drop"): "what its disclosure told is withheld, and the rest stands",
    (SD_JWT, "reorder"): "disclosures have no order",
    (Form.DATA_INTEGRITY.value, "reorder"): "members, and what is a set in RDF, have no order",
    (Form.BADGE.value, "reorder"): "members, and what is a set in RDF, have no order",
    (Form.JCS.value, "reorder"): "members have no order",
    (SELECTIVE, "reorder"): "members, and what is a set in RDF, have no order",
    (ELMO, "duplicate"): "a certificate may stand twice in KeyInfo, which the signature leaves out",
}


def signed(format_: str, signer: LocalSigner, credential: Credential = CREDENTIAL) -> str:
    scalar = FOREIGN_SCALAR if signer is FOREIGN_KEY else PROVIDER_SCALAR
    if format_ == SD_JWT:
        prepared = sd_jwt_vc.prepare(credential, key_id=signer.key_id, entropy=ENTROPY)
        return prepared.complete(signer.sign(prepared.signing_input))
    if format_ == EDC:
        return seal(credential, signer, SETTING, certificates=[certificate(scalar)], salt=SALT)
    if format_ == ELMO:
        nodes = [Node(credential, setting=SETTING)]
        return sign(nodes, signer, certificates=[certificate(scalar)], salt=SALT).decode()
    if format_ == SELECTIVE:
        base = selective.prepare(
            credential,
            key_id=signer.key_id,
            salt=SALT,
            created=credential.issued_at,
            hmac_key=bytes(HMAC_KEY_BYTES),
            # As an issuer makes one for each document, but always the same.
            proof_key=LocalSigner(ec.derive_private_key(2001 + int(credential.grade or 0), ec.SECP256R1())),
        )
        return selective.show(base.complete(signer.sign(base.signing_input)), DISCLOSABLE)
    rendition = renditions.prepare(
        Form(format_),
        credential,
        algorithm=signer.algorithm,
        key_id=signer.key_id,
        salt=SALT,
        created=credential.issued_at,
    )
    return rendition.complete(signer.sign(rendition.signing_input))


SIGNED = {format_: signed(format_, signer) for format_, signer in FORMATS.items()}


def opened(format_: str) -> tuple[Callable[[str], dict[str, Any]], Callable[[dict[str, Any], str], str]]:
    if format_ in TOKENS:
        return mutated.open_token, mutated.close_token
    return (
        (mutated.open_seal, mutated.close_seal) if format_ == EDC else (mutated.open_document, mutated.close_document)
    )


def believed(text: str, signer: LocalSigner) -> Credential | None:
    """What a verifier believes of a presentation; None where it refuses it."""
    try:
        presented = read(text)
        return presented.credential if presented.verified_by(signer.public_key) else None
    except InvalidArgument as error:
        assert all((error.reason, error.rule, error.remedy))  # noqa: PT017 - refused by name is as good
        return None


def says_the_same(said: Credential) -> bool:
    """Whether nothing is said that the issuer did not sign; less may be shown."""
    learner, whole = said.learner, CREDENTIAL.learner
    shown = (learner.id, learner.given_name, learner.family_name, learner.birth_date, said.grade)
    stated = (whole.id, whole.given_name, whole.family_name, whole.birth_date, CREDENTIAL.grade)
    as_shown = full_credential(learner=learner, grade=said.grade)
    # As claims: languages have no order there.
    return sd_jwt_vc.to_claims(as_shown) == sd_jwt_vc.to_claims(said) and all(
        one in (None, other) for one, other in zip(shown, stated, strict=True)
    )


def variants(format_: str, change: mutated.Change) -> Iterator[str]:
    text = SIGNED[format_]
    if format_ == ELMO:
        yield from mutated.changed_xml(text, change, PLACES)
        return
    open_, close = opened(format_)
    same = close(open_(text), text)
    trees = mutated.changed_trees(open_(text), change, PLACES)
    yield from (changed for tree in trees if (changed := close(tree, text)) != same)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_taken_apart_and_put_together_is_the_same(format_: str) -> None:
    """Else each mutation below would be refused for how it is written."""
    assert believed(SIGNED[format_], FORMATS[format_]) == CREDENTIAL
    if format_ != ELMO:
        open_, close = opened(format_)
        assert believed(close(open_(SIGNED[format_]), SIGNED[format_]), FORMATS[format_]) == CREDENTIAL


@pytest.mark.parametrize("change", [mutated.flip, mutated.drop, mutated.duplicate, mutated.reorder])
@pytest.mark.parametrize("format_", FORMATS)
def test_no_change_of_any_place_makes_it_say_something_else(format_: str, change: mutated.Change) -> None:
    tried, harmless = 0, 0
    for text in variants(format_, change):
        tried += 1
        said = believed(text, FORMATS[format_])
        if said is not None:
            assert says_the_same(said)
            harmless += 1
    assert tried > 15
    assert bool(harmless) is ((format_, change.__name__) in HARMLESS)


# --- Changes that mean something ------------------------------------------------------------------


def replaced(format_: str, pattern: str, replacement: str) -> str:
    """The credential with the first text of a pattern replaced, wherever it stands."""
    text = SIGNED[format_]
    if format_ == ELMO:
        again, count = re.subn(pattern, replacement, text, count=1)
    else:
        open_, close = opened(format_)
        tree = open_(text)
        count = _replace(tree, re.compile(pattern), replacement)
        again = close(tree, text)
    assert count, pattern
    return again


def _replace(tree: Any, pattern: re.Pattern[str], replacement: str) -> int:
    for container, step in mutated.places(tree):
        value = container[step]
        if isinstance(value, str | int) and pattern.search(str(value)):
            new = pattern.sub(replacement, str(value), count=1)
            container[step] = new if isinstance(value, str) else int(new)
            return 1
    return 0


@pytest.mark.parametrize("format_", FORMATS)
def test_another_place_in_the_status_list_is_refused(format_: str) -> None:
    assert believed(replaced(format_, "70931", "70932"), FORMATS[format_]) is None


#: The text of an instant that the signature is over, in each format.
AGES = {
    SD_JWT: r"^1795255200$",
    Form.JWT.value: r"^1795255200$",
    Form.BADGE_JWT.value: r"^1795255200$",
    Form.DATA_INTEGRITY.value: r"^2026-11-21T10:00:00\.214Z",
    Form.JCS.value: r"^2026-11-21T10:00:00\.214Z",
    Form.BADGE.value: r"^2026-11-21T10:00:00\.214Z",
    EDC: r"^2026-11-21T10:00:00\.214Z",
    SELECTIVE: r"^2026-11-21T10:00:00\.214Z",
    ELMO: r"2026-11-21T10:00:00\.214Z",
}
YOUNGER = dict.fromkeys(TOKENS, "1732096800")


@pytest.mark.parametrize("format_", FORMATS)
def test_another_age_is_refused(format_: str) -> None:
    later = replaced(format_, AGES[format_], YOUNGER.get(format_, "2024-11-20T10:00:00.214Z"))
    assert believed(later, FORMATS[format_]) is None


#: What each format says that its signature is for, and something else that it could be for.
PURPOSES = {
    SD_JWT: (r"^dc\+sd-jwt$", "kb+jwt"),
    Form.JWT.value: (r"^vc\+jwt$", "vp+jwt"),
    Form.BADGE_JWT.value: (r"^vc\+jwt$", "vp+jwt"),
    Form.DATA_INTEGRITY.value: ("^assertionMethod$", "authentication"),
    Form.JCS.value: ("^assertionMethod$", "authentication"),
    Form.BADGE.value: ("^assertionMethod$", "authentication"),
    EDC: (r"^jose\+json$", "jose"),
    SELECTIVE: ("^assertionMethod$", "authentication"),
    ELMO: ("xmldsig#enveloped-signature", "xmldsig#base64"),
}


@pytest.mark.parametrize("format_", FORMATS)
def test_another_purpose_is_refused(format_: str) -> None:
    assert believed(replaced(format_, *PURPOSES[format_]), FORMATS[format_]) is None


@pytest.mark.parametrize("format_", FORMATS)
def test_another_key_is_refused(format_: str) -> None:
    """Signed by it; with its signature under the old words; and said to be by it."""
    text = SIGNED[format_]
    foreign = signed(format_, FOREIGN_KEY)
    assert believed(foreign, FOREIGN_KEY) == CREDENTIAL
    assert believed(foreign, FORMATS[format_]) is None
    assert believed(text, FOREIGN_KEY) is None
    key_id = FORMATS[format_].key_id
    if format_ not in (EDC, ELMO):  # which name a key by its certificate
        assert believed(replaced(format_, key_id, FOREIGN_KEY.key_id), FOREIGN_KEY) is None
    own, others = (certificate(scalar).base64 for scalar in (PROVIDER_SCALAR, FOREIGN_SCALAR))
    if format_ in (EDC, ELMO):
        named = replaced(format_, re.escape(own), others)
        assert believed(named, FOREIGN_KEY) is None
        assert believed(named, PROVIDER_KEY) is None


@pytest.mark.parametrize("format_", FORMATS)
def test_the_signature_of_another_credential_is_refused(format_: str) -> None:
    """By the same key, in the same format: of somebody with a better grade."""
    other = signed(format_, FORMATS[format_], full_credential(grade="02"))
    if format_ in TOKENS:
        jwt, *rest = SIGNED[format_].split("~")
        swapped = "~".join([".".join([*jwt.split(".")[:2], other.split("~")[0].split(".")[2]]), *rest])
    elif format_ == EDC:
        swapped = mutated.close_seal(mutated.open_seal(SIGNED[format_]), other)
    elif format_ == ELMO:
        signature = re.compile("<ds:Signature .*</ds:Signature>", re.DOTALL)
        swapped = signature.sub(lambda _: signature.findall(other)[0], SIGNED[format_])
    else:
        proof = mutated.open_document(other)["proof"]
        swapped = mutated.close_document({**mutated.open_document(SIGNED[format_]), "proof": proof}, "")
    assert believed(swapped, FORMATS[format_]) is None
