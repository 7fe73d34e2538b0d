"""W3C's formats: a small badge issued and verified, and RDFC-1.0 by itself. One core, in this process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ed25519

from bench.load import repeated
from bench.results import Finding
from bench.session import Case, Session
from vitne.credentials.data_integrity import proof
from vitne.credentials.data_integrity.suites import EDDSA_JCS_2022, EDDSA_RDFC_2022, Suite
from vitne.credentials.jose import LocalSigner
from vitne.credentials.rdf.canonical import canonicalise
from vitne.credentials.rdf.terms import Quad
from vitne.credentials.w3c import open_badges, vcdm

_SECONDS: Final = 3.0
_ISSUER: Final = "https://vitne.example/issuers/0192:919477822"
_NOW: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)

#: The graph: a credential that links to nodes, each of which says a few things.
_NODES: Final = 35
_SAID: Final = 9
#: Where they are tied, every so many nodes say the same and differ only by what links to them.
_TIED_EVERY: Final = 7


def _badge(number: int) -> dict[str, Any]:
    """What an Open Badge must have, and no more: 16 quads."""
    return {
        "@context": [vcdm.CONTEXT, open_badges.CONTEXT],
        "id": f"urn:uuid:01930f6e-7a00-7000-8000-{number:012d}",
        "type": [vcdm.CREDENTIAL, open_badges.TYPE],
        "issuer": {"id": _ISSUER, "type": ["Profile"], "name": "Fagskolen i Viken"},
        "validFrom": "2026-11-21T10:00:00Z",
        "name": "Klimaregnskap",
        "credentialSubject": {
            "id": f"urn:uuid:01930f6e-7a00-7000-8001-{number:012d}",
            "type": ["AchievementSubject"],
            "achievement": {
                "id": "urn:uuid:01930f6e-7a00-7000-8000-00000000c001",
                "type": ["Achievement"],
                "name": "Klimaregnskap",
                "description": "Kan føre et klimaregnskap for scope 1 og 2",
                "criteria": {"narrative": "Bestått skriftlig prøve"},
            },
        },
    }


def _secured(number: int, suite: Suite, signer: LocalSigner) -> dict[str, Any]:
    prepared = proof.prepare(
        _badge(number),
        suite=suite,
        algorithm=signer.algorithm,
        verification_method=f"{_ISSUER}#{signer.key_id}",
        created=_NOW,
    )
    return prepared.complete(signer.sign(prepared.hash_data))


def _signer() -> LocalSigner:
    return LocalSigner(ed25519.Ed25519PrivateKey.generate())


def _issue(session: Session, name: str, suite: Suite) -> None:
    signer = _signer()
    measured = repeated(lambda number: _secured(number, suite, signer), session.seconds(_SECONDS))
    session.record(Finding.rate(name, measured))


async def jcs_issue(session: Session) -> None:
    """Canonical JSON, two hashes, one Ed25519 signature; every badge another one."""
    _issue(session, "format.jcs.issue", EDDSA_JCS_2022)


async def badge_issue(session: Session) -> None:
    """The same as RDF: expansion, canonical form of badge and proof, hashes, signature."""
    _issue(session, "format.ob3.issue", EDDSA_RDFC_2022)


async def badge_verify(session: Session) -> None:
    """Read the proof, canonicalise, verify."""
    signer = _signer()
    badge = _secured(1, EDDSA_RDFC_2022, signer)
    key = signer.public_key

    def operation(_number: int) -> None:
        if not all(read.verified_by(key) for read in proof.read(badge)):
            raise AssertionError("what was signed holds")

    session.record(Finding.rate("format.ob3.verify", repeated(operation, session.seconds(_SECONDS))))


def _graph(*, tied: bool) -> list[Quad]:
    """Quads over blank nodes: each says things of its own, or, tied, every seventh the same."""
    quads: list[Quad] = []
    for number in range(_NODES):
        node = f"_:b{number}"
        quads.append(("<urn:credential>", "<https://example.org/part>", node, ""))
        alike = tied and number % _TIED_EVERY == 0
        for said in range(_SAID):
            text = f'"{"same" if alike else number} {said}"'
            quads.append((node, f"<https://example.org/says{said}>", text, ""))
    return quads


async def canonical_unique(session: Session) -> None:
    """All blank nodes are told apart by what they say."""
    quads = _graph(tied=False)
    measured = repeated(lambda _number: canonicalise(quads), session.seconds(_SECONDS))
    session.record(Finding.rate("format.rdfc.356", measured))


async def canonical_tied(session: Session) -> None:
    """Some are told apart by paths alone."""
    quads = _graph(tied=True)
    measured = repeated(lambda _number: canonicalise(quads), session.seconds(_SECONDS))
    session.record(Finding.rate("format.rdfc.356.tied", measured))


CASES: Final = (
    Case(("format.jcs.issue",), jcs_issue),
    Case(("format.ob3.issue",), badge_issue),
    Case(("format.ob3.verify",), badge_verify),
    Case(("format.rdfc.356",), canonical_unique),
    Case(("format.rdfc.356.tied",), canonical_tied),
)
