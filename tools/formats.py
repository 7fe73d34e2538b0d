"""Write ``docs/formats.md``: where each element of a credential goes in each format.

Usage: ``python -m tools.formats`` from the project's root.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vitne.credentials.formats import PLACES, Format
from vitne.credentials.places import ELEMENTS, Kind, Place, Standing

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "formats.md"
_KINDS: Final = {Kind.MANDATORY: "mandatory", Kind.OPTIONAL: "optional", Kind.OURS: "beyond"}
_INTRODUCTION: Final = """\
# Formats

What a credential says is one model; this page says where each part of it stands in each format. It is made by
`make formats` from `vitne/credentials/formats.py`, and tests change every element in turn and look whether it is that
place that changes. *Mandatory* and *optional* are the elements of Annex I of Council Recommendation 2022/C 243/02;
*beyond* is what the model has besides.

*(extension)* means that the format has no place for an element: it stands in an extension of ours, comes back from it
without loss, and other readers do not see it. `vitne.credentials.formats.not_carried(format, credential)` lists these
for a credential. What a format can't carry at all is refused as it is written, by name: control characters in XML
(`TEXT_NOT_CARRIED`), and countries that are not in the EU's list as kept here in ELM (`COUNTRY_UNKNOWN`).
"""
_NOTES: Final = """
## SD-JWT VC

Media type `application/dc+sd-jwt`. Given and family name, date of birth, identifier and grade are selectively
disclosable; everything else is always shown. The type's metadata says which, is served by the registry under the path
of `vct`, and is pinned by each credential (`vct#integrity`); every document that was ever published stays, and is
served by its digest behind that path. One that pins another digest is refused (`UNKNOWN_TYPE`). The issuer's keys are
at `/.well-known/jwt-vc-issuer/issuers/<organisation>` there. Where the operator names the institution, and the
signing key has a certificate ([how](operate.md#keys-of-the-services)), the header carries it with those above it, but
not the anchor (`x5c`; OpenID4VC High Assurance Interoperability Profile 1.0, section 6.1.1).

## W3C VCDM 2.0

Paths are members of the document, which is issued as `vc+jwt` (ES256 or Ed25519) or with a Data Integrity proof:
`eddsa-rdfc-2022` where the provider has a key for Ed25519, else `ecdsa-rdfc-2019`; the same over its JSON as it is
(`FORMAT_VC_JCS`: `eddsa-jcs-2022`, `ecdsa-jcs-2019`), for readers without RDF; or with a base proof of
`ecdsa-sd-2023`, below. A `vc+jwt` carries `x5c` as an SD-JWT VC does. Under ES256 it is `FORMAT_VC_JWT`; under Ed25519,
with the provider's key for that, `FORMAT_VC_JWT_ED25519`. Its `alg` is `Ed25519` then (RFC 9864, which gives up
`EdDSA`); read are both. The data model has no terms for what was learned: ours are defined by the context
`https://vitne.example/contexts/micro-credential/v1` ([the document](contexts/micro-credential-v1.jsonld)), and
JSON-LD readers understand them by it. Members are named as in the SD-JWT VC; `salt` has 128 random bits. The status
stands in two entries, for revocation and suspension (Bitstring Status List). Documents are read by writing them
again: one that says anything otherwise to the last member is refused (`CLAIMS_CONTRADICT`).

### Shown in part: ecdsa-sd-2023

`FORMAT_VC_SELECTIVE` is the same document with a base proof, signed with ES256, for its learner alone. From it she
derives what she shows (`vitne.credentials.w3c.selective.show`): always all but the claims about herself, and of these
the ones that she chooses: given and family name, date of birth, identifier, grade, as of an SD-JWT VC. The verifier
accepts derived proofs, and refuses base proofs. What it can't carry:

- a part of such a claim, or of anything else: the rest is mandatory, and lists are shown whole;
- a badge: `identifier` and `result` repeat what is withheld, and readers of badges do not know the suite;
- certificates: a proof names its key by its address;
- that she presents it herself, now, to this verifier: there is no key binding, and whoever got a derived proof can
  pass it on;
- that the claims about herself are those of the day of issuing: they are signed by a key made for this one document,
  the suite's way, and the log binds that key and all the rest, not them. Whoever kept that key instead of forgetting
  it could put another name or grade in. An SD-JWT VC binds them by digest: who has to be sure asks for one;
- how many claims are withheld: a reader sees which are shown, and not whether there are others (a grade, a date of
  birth);
- a credential that ends before it is issued (`EXPIRED_WHEN_ISSUED`), as all of W3C's data model.

What the log knows is what the issuer signed, the same whatever is shown: the hash of the proof's options, a key that
is made for this one document and forgotten, the hash of what is mandatory, and the signature over these. The single
statements about the learner are signed by that key.

## Open Badges 3.0

The same document with what a badge needs beside it. Members that carry one text have it in English, or in the language
whose tag is first. The level, the field of education and the concepts of each outcome are alignments. Workload and its
unit, assessment, participation and quality assurance stand in `micro_credential` alone. A badge is baked into PNG
(`iTXt`) and SVG, and read back.

## ELM 3.2, European Digital Credentials

Paths are members of the JSON-LD payload. It has the shape of VCDM 1.1 and is sealed with JAdES: general JSON
serialisation, one signature, the payload attached as it is (`b64: false`), `sigT`, `x5c` and `x5t#S256` protected,
ES256. The profile is *generic*, or *accredited* where the issuer tells the accrediting authority (`evidence`). Sealed
credentials are read with RS, PS or ES and SHA-256 and stronger; a time-stamp beside the seal is not believed.

Names and grades have the language `und`. A level is a concept of ours for the national framework, beside the EU's for
the level of EQF that it was referred to; the EU's is not read back, since it follows. What the EU's vocabularies have
no concept for (recognition of prior learning, supervision, credit units but ECTS, kinds of credential) has one under
`https://vitne.example/vocabularies/`. The extension is the member `vitne`, whose term is defined in the credential's
own `@context` as `@json`: `salt` (128 random bits) and `claims`, named as in the SD-JWT VC.

## ELMO 1.7

Paths are XPath; `e` is ELMO's namespace, `v` is `https://vitne.example/elmo/v1`. One document is about one learner,
with a report for each awarding body; a whole holds its parts in `hasPart`. ECTS never stand on a whole and on its
part: the whole's stand in `v:credit` then. The result of recognition without a grade is `Recognition of prior
learning`, marked with `v:recognised`. Each credential has an attachment of type `Micro Credential` with the same in
words; where another than its issuer writes the document ([EMREX](emrex.md)), one more has the issuer's SD-JWT VC.
Learning outcomes stand as plain text in `description`, and by category, with the concepts that they cite, in
`v:learningOutcome`. All else that ELMO lacks is in `v:claims`, as JSON named as in the SD-JWT VC; `v:salt` at the end
has 128 random bits.

The signature is enveloped, over the whole document (`URI=""`), ECDSA with SHA-256, the certificate in `KeyInfo`.
Documents are read with RSA or ECDSA and SHA-256 or stronger; SHA-1, document type declarations and parts that the
signature leaves out are refused. The digest in the log is over the document's canonical form (Canonical XML 1.0,
without comments), which is how it is issued.

| limit | W3C, Open Badges | ELM | ELMO | refused as |
|---|---|---|---|---|
| size | 1,000,000 characters | 2,000,000 bytes | 2,000,000 bytes | `TOO_LARGE` |
| nesting | 32 levels of JSON | 32 levels of JSON | 48 elements; 8 of parts | `BAD_JSON`, `BAD_JSONLD`, `TOO_DEEP` |
| elements | 20,000 quads | | 20,000 | `TOO_LARGE`, `TOO_MANY_ELEMENTS` |
| blank nodes alike | 50,000 steps of work, paths of 100 | | | `GRAPH_TOO_COMPLEX` |
| contexts | 16, with 256 terms each | | | `BAD_CONTEXT` |
| proofs | 4 | | | `PROOF_MALFORMED` |
| images | 3,000,000 bytes; no document type | | | `TOO_LARGE`, `BAD_IMAGE` |
| credentials in one | 1 | 1 | 500 | `TOO_MANY_CREDENTIALS` |
| certificates | | 8 of 16,384 bytes | 8 of 16,384 bytes | `SEAL_MALFORMED`, `SIGNATURE_MALFORMED`, `BAD_CERTIFICATE` |
| RSA keys | none | 2,048 bits and more | 2,048 bits and more | `BAD_CERTIFICATE` |
| entities | | | none | `DTD_REFUSED`, `BAD_XML` |

An SD-JWT VC has at most 262,144 characters (`TOO_LARGE`), 512 disclosures and 32 levels (`SD_JWT_MALFORMED`). The
header of a JWT has at most 16,384 characters (`TOO_LARGE`), with 8 certificates (`BAD_CERTIFICATE`).

The verifier takes each format up to its limit, over gRPC and HTTP, images as well; what is longer than any format is
refused before it is read.
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([_INTRODUCTION, *_table()]) + "\n" + _NOTES


def _table() -> Iterator[str]:
    yield f"| element | Annex I | {' | '.join(Format)} |"
    yield f"|---|---|{'---|' * len(Format)}"
    for element in ELEMENTS:
        cells = " | ".join(_cell(PLACES[format_][element.name]) for format_ in Format)
        yield f"| {element.name} | {_KINDS[element.kind]} | {cells} |"


def _cell(place: Place) -> str:
    if place.standing is Standing.NONE:
        return "not carried"
    cell = _code(place.path) + (" (extension)" if place.standing is Standing.EXTENSION else "")
    return f"{cell}, else {_code(place.otherwise)} (extension)" if place.otherwise else cell


def _code(path: str) -> str:
    return f"`{path}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
