"""Concepts of the EU's controlled vocabularies that credentials use, and our own where the EU has none.

An IRI is a fact: each concept's is the one under which the Publications Office lists it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vitne.errors import InvalidArgument

_SNB: Final = "http://data.europa.eu/snb"
_AUTHORITY: Final = "http://publications.europa.eu/resource/authority"
#: Under it are the concepts that the EU has no vocabulary for.
OWN: Final = "https://vitne.example/vocabularies"
#: Every list of ``data.europa.eu/snb`` names its scheme so.
_SCHEME: Final = "25831c2"


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept (``skos:Concept``) of a scheme."""

    id: str
    scheme: str
    #: In English.
    label: str

    def json(self) -> dict[str, Any]:
        """As ELM's JSON-LD has it."""
        return {
            "id": self.id,
            "type": "Concept",
            "inScheme": {"id": self.scheme, "type": "ConceptScheme"},
            "prefLabel": {"en": self.label},
        }


def _snb(vocabulary: str, code: str, label: str) -> Concept:
    return Concept(f"{_SNB}/{vocabulary}/{code}", f"{_SNB}/{vocabulary}/{_SCHEME}", label)


def own(vocabulary: str, code: str) -> Concept:
    """A concept of a vocabulary of ours."""
    return Concept(f"{OWN}/{vocabulary}/{code}", f"{OWN}/{vocabulary}", code)


#: Credential profiles.
GENERIC: Final = _snb("credential", "e34929035b", "Generic")
ACCREDITED: Final = _snb("credential", "c_ae121a00", "Accreditation")
#: Evidence that an accreditation stands behind a credential, and what kind of accreditation it is.
ACCREDITATION_EVIDENCE: Final = _snb("evidence-type", "c_991b06c6", "Accreditation")
PROGRAMME_LICENCE: Final = _snb("accreditation", "e57dddfcf3", "Programme licence")
#: Credit systems.
ECTS: Final = _snb("education-credit", "6fcec5c5af", "European Credit Transfer System")
#: What a media object holds.
BASE64: Final = _snb("encoding", "6146cde7dd", "base64")
PNG: Final = Concept(f"{_AUTHORITY}/file-type/PNG", f"{_AUTHORITY}/file-type", "PNG")
#: What a note is about.
QUALITY_ASSURANCE: Final = own("note", "quality_assurance")
#: A grade that says that it was enough.
PASSED: Final = _snb("grade-status", "c_60a1cf9a", "pass")

#: Type of assessment, by the model's term. The EU's list has nothing for recognition of prior learning.
ASSESSMENT: Final = {
    "written": _snb("assessment", "6e6cb2cc78", "written examination"),
    "oral": _snb("assessment", "d30284d7df", "oral examination"),
    "practical": _snb("assessment", "6a4db9f11d", "practical assessment"),
    "project": _snb("assessment", "795dac4096", "project work"),
    "continuous": _snb("assessment", "3484bd7e51", "continuous evaluation"),
    "prior_learning": own("assessment", "prior_learning"),
}
#: Form of participation, by the model's term.
PARTICIPATION: Final = {
    "on_site": _snb("learning-assessment", "9191af2ed9", "Presential"),
    "online": _snb("learning-assessment", "920fbb3cbe", "Online"),
    "blended": _snb("learning-assessment", "e92d221e4d", "Blended"),
    "workplace": _snb("learning-assessment", "729f3bed4b", "Workbased"),
}
#: Category of a learning outcome, where the EU's list has it.
OUTCOME: Final = {
    "knowledge": _snb("skill-type", "knowledge", "Knowledge"),
    "skills": _snb("skill-type", "skill", "Skill"),
}
_ESCO_SKILLS: Final = "http://data.europa.eu/esco/concept-scheme/skills"
_ESCO_SKILL: Final = "http://data.europa.eu/esco/skill/"

#: ISO 3166-1 alpha-2 and alpha-3 (EU vocabulary *country*), with the name in English.
_COUNTRIES: Final = {
    "AX": ("ALA", "Åland Islands"),
    "AT": ("AUT", "Austria"),
    "BE": ("BEL", "Belgium"),
    "BG": ("BGR", "Bulgaria"),
    "CH": ("CHE", "Switzerland"),
    "CY": ("CYP", "Cyprus"),
    "CZ": ("CZE", "Czechia"),
    "DE": ("DEU", "Germany"),
    "DK": ("DNK", "Denmark"),
    "EE": ("EST", "Estonia"),
    "ES": ("ESP", "Spain"),
    "FI": ("FIN", "Finland"),
    "FO": ("FRO", "Faroes"),
    "FR": ("FRA", "France"),
    "GB": ("GBR", "United Kingdom"),
    "GL": ("GRL", "Greenland"),
    "GR": ("GRC", "Greece"),
    "HR": ("HRV", "Croatia"),
    "HU": ("HUN", "Hungary"),
    "IE": ("IRL", "Ireland"),
    "IS": ("ISL", "Iceland"),
    "IT": ("ITA", "Italy"),
    "LI": ("LIE", "Liechtenstein"),
    "LT": ("LTU", "Lithuania"),
    "LU": ("LUX", "Luxembourg"),
    "LV": ("LVA", "Latvia"),
    "MT": ("MLT", "Malta"),
    "NL": ("NLD", "Netherlands"),
    "NO": ("NOR", "Norway"),
    "PL": ("POL", "Poland"),
    "PT": ("PRT", "Portugal"),
    "RO": ("ROU", "Romania"),
    "SE": ("SWE", "Sweden"),
    "SI": ("SVN", "Slovenia"),
    "SJ": ("SJM", "Svalbard and Jan Mayen"),
    "SK": ("SVK", "Slovakia"),
    "UA": ("UKR", "Ukraine"),
}
_COUNTRY_CODES: Final = {alpha3: alpha2 for alpha2, (alpha3, _) in _COUNTRIES.items()}
#: Primary language subtags (BCP 47) and the EU's codes of *language*, with the name in English.
_LANGUAGES: Final = {
    "da": ("DAN", "Danish"),
    "de": ("DEU", "German"),
    "en": ("ENG", "English"),
    "es": ("SPA", "Spanish"),
    "et": ("EST", "Estonian"),
    "fi": ("FIN", "Finnish"),
    "fo": ("FAO", "Faroese"),
    "fr": ("FRA", "French"),
    "is": ("ISL", "Icelandic"),
    "it": ("ITA", "Italian"),
    "kl": ("KAL", "Greenlandic"),
    "lt": ("LIT", "Lithuanian"),
    "lv": ("LAV", "Latvian"),
    "nb": ("NOB", "Norwegian Bokmål"),
    "nl": ("NLD", "Dutch"),
    "nn": ("NNO", "Norwegian Nynorsk"),
    "no": ("NOR", "Norwegian"),
    "pl": ("POL", "Polish"),
    "se": ("SME", "Northern Sami"),
    "sma": ("SMA", "Southern Sami"),
    "smj": ("SMJ", "Lule Sami"),
    "sv": ("SWE", "Swedish"),
    "uk": ("UKR", "Ukrainian"),
}
#: What a text's language is where the EU's list has none for its tag (EU vocabulary *language*: undetermined).
_UNDETERMINED: Final = ("UND", "undetermined")


def country(code: str) -> Concept:
    """The concept of a country by ISO 3166-1 alpha-2.

    Raises:
        InvalidArgument: ``COUNTRY_UNKNOWN`` for one that is in no list here.
    """
    if code not in _COUNTRIES:
        raise _unknown(code)
    alpha3, name = _COUNTRIES[code]
    return Concept(f"{_AUTHORITY}/country/{alpha3}", f"{_AUTHORITY}/country", name)


def country_code(iri: str) -> str:
    """The inverse of :func:`country`.

    Raises:
        InvalidArgument: ``COUNTRY_UNKNOWN``.
    """
    prefix, _, alpha3 = iri.rpartition("/")
    if prefix != f"{_AUTHORITY}/country" or alpha3 not in _COUNTRY_CODES:
        raise _unknown(iri)
    return _COUNTRY_CODES[alpha3]


def _unknown(what: str) -> InvalidArgument:
    return InvalidArgument(
        "COUNTRY_UNKNOWN",
        f"{what[:100]!r} is no country that is known here",
        field="country",
        rule="EU vocabulary country",
        remedy="use the ISO 3166-1 code of a country of the European Education Area",
    )


def language(tag: str) -> Concept:
    """The concept of a text's language by its BCP 47 tag, of which the primary subtag counts."""
    code, name = _LANGUAGES.get(tag.partition("-")[0].lower(), _UNDETERMINED)
    return Concept(f"{_AUTHORITY}/language/{code}", f"{_AUTHORITY}/language", name)


def field_of_education(code: str) -> Concept:
    """The concept of an ISCED-F 2013 code."""
    return _snb("isced-f", code, code)


def eqf_level(level: str) -> Concept:
    """The concept of a level of EQF."""
    return _snb("eqf", level, f"Level {level}")


def skill(iri: str) -> Concept:
    """The concept of something that can be known or done: of ESCO's skills, or of whoever defined it."""
    if is_esco_skill(iri):
        return Concept(iri, _ESCO_SKILLS, iri.removeprefix(_ESCO_SKILL))
    return Concept(iri, f"{OWN}/skill", iri)


def is_esco_skill(iri: str) -> bool:
    """Whether an IRI is that of an ESCO skill."""
    return iri.startswith(_ESCO_SKILL)
