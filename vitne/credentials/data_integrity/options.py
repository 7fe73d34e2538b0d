"""The canonical form of a proof's options in the shape that nearly all have: the same five quads, filled in.

The general path gives the same bytes (a property test says so) and takes several times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vitne.credentials.rdf.terms import RDF, XSD, iri, literal

# Terms of this context are protected: whatever contexts come after it, they mean the same.
_CONTEXT: Final = "https://www.w3.org/ns/credentials/v2"
_SECURITY: Final = "https://w3id.org/security#"
_TYPE: Final = "DataIntegrityProof"
_MEMBERS: Final = frozenset({"@context", "type", "cryptosuite", "created", "verificationMethod", "proofPurpose"})
# A URL with an authority is never a compact IRI, whatever prefixes are defined.
_PLAIN: Final = "https://"
_PURPOSES: Final = {"assertionMethod": "assertionMethod", "authentication": "authenticationMethod"}


def canonical_options(options: Mapping[str, Any]) -> bytes | None:
    """The canonical N-Quads of options; None for another shape, which the general path takes.

    Raises:
        InvalidArgument: ``BAD_IRI``; ``BAD_LITERAL``.
    """
    if options.keys() != _MEMBERS or options["type"] != _TYPE:
        return None
    context = options["@context"]
    suite, created, method, purpose = (
        options[name] for name in ("cryptosuite", "created", "verificationMethod", "proofPurpose")
    )
    if not (
        isinstance(context, list)
        and context
        and context[0] == _CONTEXT
        and all(isinstance(text, str) for text in (suite, created, method, purpose))
        and method.startswith(_PLAIN)
        and purpose in _PURPOSES
    ):
        return None
    return (
        f"_:c14n0 <http://purl.org/dc/terms/created> {literal(created, datatype=f'{XSD}dateTime')} .\n"
        f"_:c14n0 <{RDF}type> <{_SECURITY}{_TYPE}> .\n"
        f"_:c14n0 <{_SECURITY}cryptosuite> {literal(suite, datatype=f'{_SECURITY}cryptosuiteString')} .\n"
        f"_:c14n0 <{_SECURITY}proofPurpose> <{_SECURITY}{_PURPOSES[purpose]}> .\n"
        f"_:c14n0 <{_SECURITY}verificationMethod> {iri(method)} .\n"
    ).encode()
