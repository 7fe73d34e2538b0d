"""The model as an ELMO document, not signed yet."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lxml import etree

from vitne.canonical import b64url, instant_text
from vitne.credentials.claims import plain_claims
from vitne.credentials.elements import require_mandatory_elements
from vitne.credentials.elmo import extension
from vitne.credentials.elmo.names import (
    ECTS,
    ELMO,
    EQF,
    EQF_FRAMEWORK,
    EXTENSION,
    GRADING,
    ISO_6523,
    LOCAL,
    MICRO_CREDENTIAL,
    NATIONAL_IDENTIFIER,
    NOTIONAL_HOURS,
    NQF,
    ORIGINAL_TYPE,
    RECOGNISED,
    URN,
    elmo,
    own,
)
from vitne.credentials.elmo.text import add, add_texts
from vitne.credentials.model import Credential, Learner
from vitne.credentials.setting import ALONE, Setting
from vitne.errors import InvalidArgument
from vitne.identifiers import NORWEGIAN_NATIONAL_ID

#: Random bytes of a document, so that its digest can't be guessed (RECORDS: Artefact digest).
SALT_BYTES: Final = 16
#: Deepest tree of wholes and parts. The schema's authors have seen four levels.
MAX_NESTING: Final = 8
_PRIOR_LEARNING: Final = "prior_learning"
_NAMESPACES: Final = {None: ELMO, "v": EXTENSION}


@dataclass(frozen=True, slots=True)
class Node:
    """A credential, and those that are parts of it."""

    credential: Credential
    parts: tuple[Node, ...] = ()
    setting: Setting = ALONE
    #: The issuer's own credential (SD-JWT VC), where another than the issuer writes the document; it is attached.
    original: str = field(default="", repr=False, compare=False)

    def walk(self, depth: int = 1) -> Iterator[Node]:
        """The node and all under it, whole before part.

        Raises:
            InvalidArgument: ``TOO_DEEP``.
        """
        if depth > MAX_NESTING:
            raise InvalidArgument(
                "TOO_DEEP",
                f"parts are nested deeper than {MAX_NESTING} levels",
                field="parts",
                rule=f"at most {MAX_NESTING} levels",
                remedy="give the parts of parts as trees of their own",
            )
        yield self
        for part in self.parts:
            yield from part.walk(depth + 1)

    @property
    def _gives_ects(self) -> bool:
        workload = self.credential.achievement.workload
        return workload.unit == ECTS and bool(workload.points)

    @property
    def credits_below(self) -> bool:
        """Whether ECTS stand on a part: then they may not stand here (schema, ``credit``)."""
        return any(node._gives_ects for part in self.parts for node in part.walk())


def write(forest: Sequence[Node], salt: bytes, at: datetime | None = None) -> etree._Element:
    """An ELMO document about one learner: a report for each awarding body, in the order of the forest.

    Args:
        forest: what was achieved; at least one tree, all of one learner.
        salt: :data:`SALT_BYTES` fresh random bytes.
        at: when the document is made; None: as the newest of it is issued.

    Raises:
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING``; ``LEARNERS_DIFFER``; ``BODIES_MIXED`` for a part of another
            awarding body than its whole; ``TOO_DEEP``; ``TEXT_NOT_CARRIED``; ``LANGUAGE_REPEATED``.
        ValueError: on an empty forest or a salt of another length.
    """
    if len(salt) != SALT_BYTES or not forest:
        raise ValueError(f"a document takes a credential and {SALT_BYTES} random bytes")
    nodes = [node for tree in forest for node in tree.walk()]
    learner = nodes[0].credential.learner
    for node in nodes:
        require_mandatory_elements(node.credential)
        if node.credential.learner != learner:
            raise _refused("LEARNERS_DIFFER", "learner", "the credentials are not all of one learner", "elmo/learner")
    document = etree.Element(elmo("elmo"), nsmap=_NAMESPACES)
    add(document, elmo("generatedDate"), instant_text(at or max(node.credential.issued_at for node in nodes)))
    _learner(document, learner)
    reports: dict[str, list[Node]] = {}
    for tree in forest:
        reports.setdefault(str(tree.credential.awarding_body.id), []).append(tree)
    for trees in reports.values():
        _Report(trees).write(document)
    add(etree.SubElement(document, elmo("extension")), own("salt"), b64url(salt))
    return document


def _learner(document: etree._Element, learner: Learner) -> None:
    element = etree.SubElement(document, elmo("learner"))
    if learner.id is not None:
        national = learner.id.scheme == NORWEGIAN_NATIONAL_ID
        kind = NATIONAL_IDENTIFIER if national else learner.id.scheme
        add(element, elmo("identifier"), learner.id.value, type=kind)
    add(element, elmo("givenNames"), learner.given_name or "")
    add(element, elmo("familyName"), learner.family_name or "")
    if learner.birth_date is not None:
        add(element, elmo("bday"), learner.birth_date.isoformat())


class _Report:
    """One awarding body's report."""

    def __init__(self, trees: Sequence[Node]) -> None:
        self._trees = trees
        self._nodes = [node for tree in trees for node in tree.walk()]
        self._body = trees[0].credential.awarding_body
        if any(node.credential.awarding_body != self._body for node in self._nodes):
            raise _refused(
                "BODIES_MIXED", "awarding_body", "a part, or another entry, of the report is another body's", "report"
            )

    def write(self, document: etree._Element) -> None:
        report = etree.SubElement(document, elmo("report"))
        issuer = etree.SubElement(report, elmo("issuer"))
        add(issuer, elmo("country"), self._body.country)
        add(issuer, elmo("identifier"), str(self._body.id), type=ISO_6523)
        add_texts(issuer, elmo("title"), self._body.name)
        add(issuer, elmo("url"), self._body.issuer_uri)
        for tree in self._trees:
            self._specification(report, tree)
        issued = max(node.credential.issued_at for node in self._nodes)
        add(report, elmo("issueDate"), instant_text(issued))
        grading = next((node.setting.grading for node in self._nodes if node.setting.grading), {})
        if grading:
            scheme = etree.SubElement(report, elmo("gradingScheme"), localId=GRADING)
            add_texts(scheme, elmo("description"), grading)
        for node in self._nodes:
            self._attachment(report, node)

    def _specification(self, parent: etree._Element, node: Node) -> None:
        credential = node.credential
        claims = plain_claims(credential)
        achievement = claims.pop("achievement")
        for name in ("given_name", "family_name", "birthdate", "learner_identifier", "iss", "awarding_body"):
            claims.pop(name, None)
        element = etree.SubElement(parent, elmo("learningOpportunitySpecification"))
        add(element, elmo("identifier"), achievement.pop("id"), type=LOCAL)
        add_texts(element, elmo("title"), achievement.pop("title"))
        add(element, elmo("type"), "Module" if node.parts else "Course")
        if "field" in achievement:
            add(element, elmo("iscedCode"), achievement.pop("field"))
        # For readers who don't know the extension: the outcomes as plain text.
        add_texts(element, elmo("description"), _outcomes_in_words(achievement["outcomes"]))
        specifies = etree.SubElement(element, elmo("specifies"))
        self._instance(etree.SubElement(specifies, elmo("learningOpportunityInstance")), node, claims, achievement)
        for part in node.parts:
            self._specification(etree.SubElement(element, elmo("hasPart")), part)

    def _instance(
        self, element: etree._Element, node: Node, claims: dict[str, Any], achievement: dict[str, Any]
    ) -> None:
        urn, awarded_on, grade = claims.pop("jti"), claims.pop("awarded_on"), claims.pop("grade", None)
        add(element, elmo("identifier"), urn, type=URN)
        add(element, elmo("date"), awarded_on)
        add(element, elmo("status"), "passed")
        recognised = grade is None and achievement["assessment"] == _PRIOR_LEARNING
        if grade is not None and node.setting.grading:
            add(element, elmo("gradingSchemeLocalId"), GRADING)
        if grade is not None or recognised:
            add(element, elmo("resultLabel"), RECOGNISED if grade is None else grade)
        withheld = self._workload(element, achievement.pop("workload"), below=node.credits_below)
        self._level(element, achievement.pop("level", None), node.setting)
        add(etree.SubElement(element, elmo("attachments")), elmo("ref"), urn)
        more = etree.SubElement(element, elmo("extension"))
        if withheld:
            add(more, own("credit"), withheld, scheme=ECTS)
        if recognised:
            etree.SubElement(more, own("recognised"))
        extension.write(more, claims, achievement)

    def _workload(self, element: etree._Element, workload: dict[str, str], *, below: bool) -> str:
        """Write credits and hours; answers the ECTS that may not stand here."""
        withheld = ""
        if "unit" in workload and "points" in workload:
            if below and workload["unit"] == ECTS:
                withheld = workload["points"]
            else:
                self._credit(element, workload["unit"], workload["points"])
        if "hours" in workload:
            self._credit(element, NOTIONAL_HOURS, workload["hours"])
        return withheld

    @staticmethod
    def _credit(element: etree._Element, scheme: str, value: str) -> None:
        given = etree.SubElement(element, elmo("credit"))
        add(given, elmo("scheme"), scheme)
        add(given, elmo("value"), value)

    @staticmethod
    def _level(element: etree._Element, level: dict[str, str] | None, setting: Setting) -> None:
        stated = [(EQF, "", setting.eqf_level)] if setting.eqf_level else []
        if level is not None and level["framework"] == EQF_FRAMEWORK:
            stated = [(EQF, "", level["level"])]
        elif level is not None:
            stated.append((NQF, level["framework"], level["level"]))
        for kind, framework, value in stated:
            given = etree.SubElement(element, elmo("level"))
            add(given, elmo("type"), kind)
            if framework:
                add(given, elmo("description"), framework)
            add(given, elmo("value"), value)

    @staticmethod
    def _attachment(report: etree._Element, node: Node) -> None:
        """The same in words, which the schema asks for (``Attachment``); then the issuer's own credential, if any."""
        urn = f"urn:uuid:{node.credential.id}"
        titles = {text.language: text.text for text in node.credential.achievement.title}
        words = _in_words(node.credential)
        contents = {urn: ("text/plain;charset=utf-8", words), f"{urn}#original": (ORIGINAL_TYPE, node.original)}
        for identifier, (media_type, content) in contents.items():
            if content:
                element = etree.SubElement(report, elmo("attachment"))
                add(element, elmo("identifier"), identifier, type="internal")
                add_texts(element, elmo("title"), titles)
                add(element, elmo("type"), MICRO_CREDENTIAL)
                encoded = base64.b64encode(content.encode()).decode("ascii")
                add(element, elmo("content"), f"data:{media_type};base64,{encoded}")


def _outcomes_in_words(outcomes: Sequence[dict[str, Any]]) -> dict[str, str]:
    lines: dict[str, list[str]] = {}
    for outcome in outcomes:
        for language, text in outcome["text"].items():
            lines.setdefault(language, []).append(text)
    return {language: "\n".join(texts) for language, texts in lines.items()}


def _in_words(credential: Credential) -> str:
    achievement, learner = credential.achievement, credential.learner
    workload = achievement.workload
    lines = [
        *(text.text for text in achievement.title),
        f"{learner.given_name} {learner.family_name}" + (f", born {learner.birth_date}" if learner.birth_date else ""),
        ", ".join(credential.awarding_body.name.values()),
        f"Achieved on {credential.awarded_on}, issued on {credential.issued_at:%Y-%m-%d}",
    ]
    if workload.points:
        lines.append(f"{workload.points} {workload.unit}")
    if workload.hours:
        lines.append(f"{workload.hours} hours")
    if achievement.HasField("level"):
        lines.append(f"Level {achievement.level.level} of {achievement.level.framework}")
    if credential.grade is not None:
        lines.append(f"Result: {credential.grade}")
    lines.append(f"urn:uuid:{credential.id}")
    return "\n".join(lines)


def _refused(reason: str, field: str, message: str, rule: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field=field,
        rule=f"EMREX ELMO 1.7, {rule}: one document is about one learner, one report is one body's",
        remedy="write a document, or a report, for each",
    )
