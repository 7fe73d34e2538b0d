"""An EMREX data provider for tests: its key, its entry in a list, and documents that it signs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from services.portal.emrex.checking import Expected
from services.portal.emrex.person import Name
from services.portal.emrex.providers import DataProvider, DataProviders
from services.portal.store import Kept
from tests.unit.credential_samples import FOREIGN_KEY, ISSUED_AT, sample_credential
from tests.unit.european_samples import FOREIGN_SCALAR, SALT, certificate, issue
from tests.unit.test_portal_presentation import kept
from vitne.credentials.elmo.names import DSIG, elmo
from vitne.credentials.elmo.reading import parse
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import Signer
from vitne.credentials.model import AwardingBody, Credential, Learner
from vitne.identifiers import LearnerId, synthetic_national_id

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
BORN = date(1955, 2, 1)
#: Synthetic, of somebody who was born then.
NUMBER = next(number for serial in range(30) if (number := synthetic_national_id(BORN, serial)))
ACRONYM = "XX-EMP"
KARI = Name("Kari", "Prøvesen")


def pem(scalar: int = FOREIGN_SCALAR) -> str:
    return certificate(scalar).parsed.public_bytes(Encoding.PEM).decode()


def entry(**changes: Any) -> dict[str, Any]:
    """An entry as EMREG has it."""
    return {
        "acronym": ACRONYM,
        "countryCode": "SE",
        "institutions": ["Exempeluniversitetet"],
        "url": "https://emp.example/emrex",
        "pubKey": pem(),
        **changes,
    }


def providers_file(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / "providers.json"
    file.write_text(json.dumps({"ncps": list(entries)}))
    return file


def clients_file(folder: Path, *return_urls: str, name: str = "Klient <1>") -> Path:
    file = folder / "clients.json"
    file.write_text(json.dumps({"clients": [{"name": name, "returnUrls": return_urls}]}))
    return file


def provider(folder: Path, **changes: Any) -> DataProvider:
    return DataProviders.read(providers_file(folder, entry(**changes)), allow_http=False).of(ACRONYM)


def document(
    *credentials: Credential,
    learner: Learner | None = None,
    key: Signer = FOREIGN_KEY,
    scalar: int = FOREIGN_SCALAR,
    at: datetime = NOW,
) -> bytes:
    """Signed ELMO of a data provider's; all of one learner."""
    forest = [Node(each) for each in credentials or [sample_credential(**({"learner": learner} if learner else {}))]]
    return sign(forest, key, certificates=[certificate(scalar)], salt=SALT, at=at)


def sent_by_another(
    text: bytes, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None, *, at: str = NOW.isoformat()
) -> bytes:
    """A document that somebody else's software wrote, as a data provider sends it: put together at ``at``, and signed.

    Args:
        text: the document; a signature of before is taken away.
        key: the data provider's; None: the one of :func:`entry`.
        at: what it says when it was made; empty: nothing.
    """
    root = parse(text).root
    for signature in root.findall(f"{{{DSIG}}}Signature"):
        root.remove(signature)
    made = root.find(elmo("generatedDate"))
    assert made is not None
    made.text = at
    if not at:
        root.remove(made)
    own = key or ec.derive_private_key(FOREIGN_SCALAR, ec.SECP256R1())
    signer = XMLSigner(
        signature_algorithm=SignatureMethod.RSA_SHA256
        if isinstance(own, rsa.RSAPrivateKey)
        else SignatureMethod.ECDSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_0,
    )
    signed = signer.sign(root, key=own, cert=[issue(own).public_bytes(Encoding.PEM).decode()])
    return etree.tostring(signed, method="c14n")


def learner(**changes: Any) -> Learner:
    fields = {"id": None, "given_name": "Kari", "family_name": "Prøvesen", "birth_date": BORN}
    return Learner(**fields | changes)


def expected(
    provider_: DataProvider,
    *,
    names: Sequence[Name] = (KARI,),
    is_hers: Callable[[str], bool] = lambda number: number == NUMBER,
) -> Expected:
    return Expected(provider_, BORN, names, is_hers)


def held(**changes: Any) -> Kept:
    """A credential at the portal."""
    status = changes.pop("status", "valid")
    pending = changes.pop("pending", False)
    id_ = changes.pop("number", 1)
    credential = sample_credential(id=UUID(int=id_), **changes)
    return kept(credential, handle=f"{id_:043d}", status=status, pending=pending)


def differing() -> list[Kept]:
    """Credentials of one learner, whose name and whose institution's were others before."""
    old = sample_credential().awarding_body
    later = ISSUED_AT + timedelta(days=1)
    other = AwardingBody(old.id.parse("0192:971035854"), {"nb": "Et annet lærested"}, "NO", "https://vitne.example/o")
    newest = sample_credential()
    decision = replace(newest.decision, at=later)
    return [
        held(
            number=1, learner=learner(id=LearnerId("no.national_id", NUMBER), family_name="Gammelnavn", birth_date=None)
        ),
        held(number=2, awarding_body=replace(old, name={"da": "Nyt navn"}), decision=decision),
        held(number=3, awarding_body=other, learner=learner()),
    ]
