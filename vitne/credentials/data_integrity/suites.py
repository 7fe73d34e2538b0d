"""How each suite turns a document and a proof's options into the bytes that are signed.

All four hash the canonical proof options and the canonical document apart and put the two together, options first
(Data Integrity EdDSA Cryptosuites 1.0, sections 3.2 and 3.3; ECDSA Cryptosuites 1.0, sections 3.2 and 3.3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vitne.canonical import canonical_bytes
from vitne.credentials.data_integrity.multikey import ES384
from vitne.credentials.data_integrity.options import canonical_options
from vitne.credentials.jose import ED25519, ES256
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.rdf.canonical import Hash, canonicalise
from vitne.errors import InvalidArgument

#: Canonical bytes of a document, or of a proof's options, with blank nodes told apart by a hash.
Canonicalise = Callable[[Mapping[str, Any], Hash], bytes]


def _jcs(document: Mapping[str, Any], _hash_name: Hash) -> bytes:
    return canonical_bytes(document)


def _rdfc_options(options: Mapping[str, Any], hash_name: Hash) -> bytes:
    return canonical_options(options) or _rdfc(options, hash_name)


def _rdfc(document: Mapping[str, Any], hash_name: Hash) -> bytes:
    return canonicalise(to_rdf(document), hash_name=hash_name).document


@dataclass(frozen=True, slots=True)
class Suite:
    """A cryptographic suite."""

    #: As ``cryptosuite`` has it.
    name: str
    #: Algorithms of the keys that may sign.
    algorithms: frozenset[str]
    #: Whether a proof carries the document's contexts, since its own JSON is what is signed.
    proof_has_context: bool
    canonicalise: Canonicalise
    canonicalise_options: Canonicalise

    def hash_data(self, document: Mapping[str, Any], options: Mapping[str, Any], algorithm: str) -> bytes:
        """What is signed: the hash of the options, then that of the document; 64 bytes, 96 for P-384.

        Args:
            document: without ``proof``.
            options: the proof without ``proofValue``, with the document's ``@context``.
            algorithm: of the key.

        Raises:
            InvalidArgument: ``ALGORITHM_REFUSED``; what canonicalising refuses.
        """
        if algorithm not in self.algorithms:
            raise InvalidArgument(
                "ALGORITHM_REFUSED",
                f"{self.name} is not made with keys of {algorithm}",
                field="proof.cryptosuite",
                rule=f"{self.name} takes {', '.join(sorted(self.algorithms))}",
                remedy="take the suite of the key",
            )
        hash_name = hash_of(algorithm)
        canonical = (self.canonicalise_options(options, hash_name), self.canonicalise(document, hash_name))
        return b"".join(hashlib.new(hash_name, part).digest() for part in canonical)


def hash_of(algorithm: str) -> Hash:
    """The hash function that goes with a key's algorithm."""
    return "sha384" if algorithm == ES384 else "sha256"


_EDDSA: Final = frozenset({ED25519})
_ECDSA: Final = frozenset({ES256, ES384})

EDDSA_JCS_2022: Final = Suite("eddsa-jcs-2022", _EDDSA, True, _jcs, _jcs)
EDDSA_RDFC_2022: Final = Suite("eddsa-rdfc-2022", _EDDSA, False, _rdfc, _rdfc_options)
ECDSA_JCS_2019: Final = Suite("ecdsa-jcs-2019", _ECDSA, True, _jcs, _jcs)
ECDSA_RDFC_2019: Final = Suite("ecdsa-rdfc-2019", _ECDSA, False, _rdfc, _rdfc_options)

#: All of them by name.
SUITES: Final[Mapping[str, Suite]] = {
    suite.name: suite for suite in (EDDSA_JCS_2022, EDDSA_RDFC_2022, ECDSA_JCS_2019, ECDSA_RDFC_2019)
}
