"""What the type of our SD-JWT VCs means, for wallets and verifiers: published, and pinned by its digest.

Type metadata (draft-ietf-oauth-sd-jwt-vc, section "SD-JWT VC Type Metadata"): which claims there are, and which of them
their holder may withhold. Every credential names the document's digest (``vct#integrity``, W3C Subresource Integrity),
so that nobody can say later that its type meant something else.

What a claim means, and which may be withheld, never changes under one ``vct``: that would be another type. How it is
shown to people may, a language more, and then credentials of before go on naming the document of their day. So every
document that was ever published stays here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from vitne.canonical import canonical_bytes, sha256

#: The type of Vitne's micro-credentials. Logical: where its metadata is served is another matter.
VCT: Final = "https://vitne.example/credentials/micro-credential/v1"
#: What may be withheld, in the order of the claims.
DISCLOSABLE: Final = ("given_name", "family_name", "birthdate", "learner_identifier", "grade")
#: The claim that pins the metadata.
INTEGRITY_CLAIM: Final = "vct#integrity"

#: What is always shown: claims of the specifications, and ours.
_SHOWN: Final = (
    *("iss", "iat", "exp", "cnf", "vct", INTEGRITY_CLAIM, "status"),
    *("jti", "salt", "kind", "awarding_body", "achievement", "awarded_on", "retention", "decision"),
    *("accreditation", "recognition"),
)
_FIRST: Final[dict[str, Any]] = {
    "vct": VCT,
    "name": "Micro-credential",
    "description": "A small unit of learning, issued by a provider that was accredited for it (2022/C 243/02, Annex I)",
    "display": [
        {"locale": "en", "name": "Micro-credential"},
        {"locale": "nb", "name": "Mikrokvalifikasjon"},
        {"locale": "da", "name": "Mikrokompetencebevis"},
        {"locale": "sv", "name": "Mikromeritering"},
    ],
    "claims": [
        *({"path": [name], "sd": "never"} for name in _SHOWN),
        *({"path": [name], "sd": "allowed"} for name in DISCLOSABLE),
    ],
}


def integrity(document: bytes) -> str:
    """A document's digest, as :data:`INTEGRITY_CLAIM` has it."""
    return f"sha256-{base64.b64encode(sha256(document)).decode('ascii')}"


#: All documents that were ever published, the present one last. None is changed or taken out.
_PUBLISHED: Final = (canonical_bytes(_FIRST),)
#: The same by their digests: canonical JSON, the same bytes for ever.
VERSIONS: Final[Mapping[str, bytes]] = MappingProxyType({integrity(each): each for each in _PUBLISHED})
#: What is published now, and what is issued now names.
DOCUMENT: Final = _PUBLISHED[-1]
#: Its digest.
INTEGRITY: Final = integrity(DOCUMENT)
