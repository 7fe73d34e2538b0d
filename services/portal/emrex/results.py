"""What any ELMO 1 document says of results, for a page. Unknown elements are skipped, as the schema wants it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from lxml import etree

from services.portal.emrex.person import Name, Stated
from vitne.credentials.elmo.names import (
    EQF,
    EQF_FRAMEWORK,
    LANG,
    NATIONAL_IDENTIFIER,
    NOTIONAL_HOURS,
    NQF,
    ORIGINAL_TYPE,
    elmo,
)
from vitne.credentials.elmo.reading import MAX_CREDENTIALS, Document
from vitne.errors import InvalidArgument

#: Most characters of a text that is shown.
MAX_TEXT: Final = 500
#: ``xs:date``: a day, and maybe an offset that says nothing of a birthday.
_DAY: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:Z|[+-]\d\d:\d\d)?\Z", re.ASCII)
#: Country of the data providers that state Norwegian numbers.
_NORWAY: Final = "NO"
_NOT_PASSED: Final = frozenset({"failed", "in-progress"})


@dataclass(frozen=True, slots=True)
class Result:
    """A result, or a whole of several.

    Attributes:
        titles: by language; ``und`` where none is told.
        depth: how many wholes it is a part of.
        awarded_on: day, ISO 8601; empty where none is told.
        grade: as the institution writes it; empty where there is none.
        scale: what kind of grade that is, by language; empty where it is not told.
        credits: value and scheme of each.
        hours: of attendance, or of work, as written; empty where neither is told.
        levels: framework and value of each; a national framework as the document describes it.
        passed: False where it says that it was failed, or is not finished.
    """

    titles: dict[str, str]
    depth: int
    awarded_on: str = ""
    grade: str = ""
    scale: dict[str, str] = field(default_factory=dict)
    credits: tuple[tuple[str, str], ...] = ()
    hours: str = ""
    levels: tuple[tuple[str, str], ...] = ()
    passed: bool = True


@dataclass(frozen=True, slots=True)
class Institution:
    """What one institution says.

    Attributes:
        names: by language.
        country: ISO 3166-1 alpha-2; empty where none is told.
        results: a whole before its parts.
        originals: how many credentials of the institution's own are attached (SD-JWT VC).
    """

    names: dict[str, str]
    country: str
    results: tuple[Result, ...]
    originals: int


@dataclass(frozen=True, slots=True)
class Results:
    """What a document says.

    Attributes:
        name: whom it is about.
        birth_date: likewise; None where none is told.
        institutions: in its order.
        attachments: how many are in it besides the institutions' own credentials: transcripts, for people to read.
    """

    name: Name
    birth_date: date | None = field(repr=False)
    institutions: tuple[Institution, ...]
    attachments: int

    @property
    def count(self) -> int:
        """How many results there are."""
        return sum(len(institution.results) for institution in self.institutions)


def read(document: Document) -> Results:
    """What a document says.

    Raises:
        InvalidArgument: ``ELMO_INCOMPLETE``: it says of nobody, or of nothing; ``TOO_MANY_RESULTS``.
    """
    learner = document.root.find(elmo("learner"))
    if learner is None:
        raise _incomplete("learner")
    count = sum(1 for _ in document.root.iter(elmo("learningOpportunitySpecification")))
    if count > MAX_CREDENTIALS:
        raise InvalidArgument(
            "TOO_MANY_RESULTS",
            "the answer has more results than are taken at a time",
            field="elmo",
            rule=f"at most {MAX_CREDENTIALS}",
            remedy="fetch fewer results at a time",
        )
    if not count:
        raise _incomplete("report")
    institutions = tuple(_institution(report) for report in document.root.iterfind(elmo("report")))
    attached = sum(1 for _ in document.root.iter(elmo("attachment")))
    return Results(
        Name(_text(learner, "givenNames"), _text(learner, "familyName")),
        _day(_text(learner, "bday")),
        institutions,
        attached - sum(institution.originals for institution in institutions),
    )


def stated(document: Document, results: Results, *, country: str, is_hers: Callable[[str], bool]) -> Stated:
    """Whom a document is about, to be compared.

    Args:
        document: as it came.
        results: what it says.
        country: of the data provider: each has numbers of its own under the same name.
        is_hers: whether a Norwegian number is the learner's.
    """
    numbers = [
        (identifier.text or "").strip()
        for identifier in document.root.iterfind(f"{elmo('learner')}/{elmo('identifier')}")
        if identifier.get("type") == NATIONAL_IDENTIFIER
    ]
    known = all(map(is_hers, numbers)) if numbers and country == _NORWAY else None
    return Stated(results.name, results.birth_date, known)


def _institution(report: etree._Element) -> Institution:
    issuer = report.find(elmo("issuer"))
    if issuer is None:
        raise _incomplete("report/issuer")
    schemes = report.iterfind(elmo("gradingScheme"))
    scales = {scheme.get("localId", ""): _by_language(scheme, "description") for scheme in schemes}
    return Institution(
        _titles(issuer),
        _text(issuer, "country"),
        tuple(_results(report.findall(elmo("learningOpportunitySpecification")), scales, 0)),
        sum(map(_is_original, report.iter(elmo("attachment")))),
    )


def _is_original(attachment: etree._Element) -> bool:
    """Whether it is a credential of the institution's own."""
    contents = attachment.iterfind(elmo("content"))
    return any((content.text or "").lstrip().startswith(f"data:{ORIGINAL_TYPE};") for content in contents)


def _results(
    specifications: Sequence[etree._Element], scales: Mapping[str, dict[str, str]], depth: int
) -> Iterator[Result]:
    # How deep a document may be was decided as it was read.
    for specification in specifications:
        instance = specification.find(f"{elmo('specifies')}/{elmo('learningOpportunityInstance')}")
        yield _result(specification, instance, scales, depth)
        parts = specification.findall(f"{elmo('hasPart')}/{elmo('learningOpportunitySpecification')}")
        yield from _results(parts, scales, depth + 1)


def _result(
    specification: etree._Element,
    instance: etree._Element | None,
    scales: Mapping[str, dict[str, str]],
    depth: int,
) -> Result:
    titles = _titles(specification)
    if instance is None:
        return Result(titles, depth)
    day, grade = _day(_text(instance, "date")), _text(instance, "resultLabel")
    worth = [(_text(each, "value"), _text(each, "scheme")) for each in instance.iterfind(elmo("credit"))]
    notional = next((value for value, scheme in worth if scheme == NOTIONAL_HOURS), "")
    return Result(
        titles,
        depth,
        awarded_on=day.isoformat() if day else "",
        grade=grade,
        scale=scales.get(_text(instance, "gradingSchemeLocalId"), {}) if grade else {},
        credits=tuple((value, scheme) for value, scheme in worth if scheme != NOTIONAL_HOURS),
        hours=_text(instance, "engagementHours") or notional,
        levels=tuple((_framework(each), _text(each, "value")) for each in instance.iterfind(elmo("level"))),
        passed=_text(instance, "status") not in _NOT_PASSED,
    )


def _framework(level: etree._Element) -> str:
    kind = _text(level, "type")
    if kind == EQF:
        return EQF_FRAMEWORK
    return _text(level, "description") or kind if kind == NQF else kind


def _titles(element: etree._Element) -> dict[str, str]:
    return _by_language(element, "title")


def _by_language(element: etree._Element, tag: str) -> dict[str, str]:
    return {text.get(LANG, "und"): _words(text) for text in element.iterfind(elmo(tag))}


def _text(parent: etree._Element, tag: str) -> str:
    child = parent.find(elmo(tag))
    return "" if child is None else _words(child)


def _words(element: etree._Element) -> str:
    return " ".join((element.text or "").split())[:MAX_TEXT]


def _day(text: str) -> date | None:
    found = _DAY.match(text)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def _incomplete(what: str) -> InvalidArgument:
    return InvalidArgument(
        "ELMO_INCOMPLETE",
        f"the answer lacks what every ELMO document has: {what}",
        field=f"elmo/{what}",
        rule="EMREX ELMO 1.7",
        remedy="ask the data provider",
    )
