"""Namespaces, tags and fixed words of ELMO 1.7, and of our extension to it."""

from __future__ import annotations

from typing import Final

#: Namespace of the schema, for all of version 1.
ELMO: Final = "https://github.com/emrex-eu/elmo-schemas/tree/v1"
#: Namespace of what ELMO has no place for.
EXTENSION: Final = "https://vitne.example/elmo/v1"
#: XML Signature.
DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
#: The attribute of localised texts.
LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"

#: Media type of a document.
MEDIA_TYPE: Final = "application/xml"

#: ``identifier/@type`` of organisations: ``<ISO 6523 code>:<value>``.
ISO_6523: Final = "iso6523"
#: ``identifier/@type`` of a learner's national identity number, which the schema predefines.
NATIONAL_IDENTIFIER: Final = "nationalIdentifier"
#: ``identifier/@type`` of an achievement, which the schema predefines.
LOCAL: Final = "local"
#: ``identifier/@type`` of a credential: ``urn:uuid:<id>``.
URN: Final = "urn"
#: ``credit/scheme`` of ECTS, which the schema predefines: at most once on a path from the root to a leaf.
ECTS: Final = "ects"
#: ``credit/scheme`` of notional hours of work. ``engagementHours`` are hours that were attended.
NOTIONAL_HOURS: Final = "notional-hours"
#: ``level/type`` of the European and of national frameworks; a national one is named in ``level/description``.
EQF: Final = "EQF"
NQF: Final = "NQF"
#: The identifier of EQF in the national rules.
EQF_FRAMEWORK: Final = "eqf"
#: ``resultLabel`` of what was recognised without a grade.
RECOGNISED: Final = "Recognition of prior learning"
#: ``attachment/type``.
MICRO_CREDENTIAL: Final = "Micro Credential"
#: Media type of an attached credential of the issuer's own (draft-ietf-oauth-sd-jwt-vc).
ORIGINAL_TYPE: Final = "application/dc+sd-jwt"
#: ``gradingScheme/@localId`` of an awarding body's grades.
GRADING: Final = "provider"


def elmo(name: str) -> str:
    """A tag of the schema, as lxml writes it."""
    return f"{{{ELMO}}}{name}"


def own(name: str) -> str:
    """A tag of our extension."""
    return f"{{{EXTENSION}}}{name}"
