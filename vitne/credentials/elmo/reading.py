"""An ELMO document as bytes back to the model, within limits. Nothing is verified here.

Comments and processing instructions are left out as the bytes are read, as they are
when a signature is verified (Canonical XML), so that no text can be split by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, Final

from lxml import etree

from vitne.canonical import digest_text, parse_instant
from vitne.credentials.claims import from_plain_claims
from vitne.credentials.date_times import parse_date_time
from vitne.credentials.elmo import extension
from vitne.credentials.elmo.extension import one
from vitne.credentials.elmo.names import (
    DSIG,
    ECTS,
    EQF,
    EQF_FRAMEWORK,
    ISO_6523,
    LOCAL,
    NATIONAL_IDENTIFIER,
    NOTIONAL_HOURS,
    NQF,
    RECOGNISED,
    URN,
    elmo,
    own,
)
from vitne.credentials.elmo.text import malformed, text_of, texts_of
from vitne.credentials.elmo.writing import MAX_NESTING, Node
from vitne.credentials.model import Learner
from vitne.errors import InvalidArgument
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId

#: Largest document, in bytes: attachments are inside, as base64.
MAX_BYTES: Final = 2_000_000
#: Deepest element. :data:`MAX_NESTING` levels of parts take four each.
MAX_DEPTH: Final = 48
#: Most elements.
MAX_ELEMENTS: Final = 20_000
#: Most credentials in one document.
MAX_CREDENTIALS: Final = 500


@dataclass(frozen=True, slots=True)
class Report:
    """What one awarding body says."""

    #: ``<ISO 6523 code>:<value>``, as the document has it.
    awarding_body: str
    forest: tuple[Node, ...]


@dataclass(frozen=True)
class Document:
    """An ELMO document as it came. Nothing of it is verified but its form."""

    root: etree._Element = field(repr=False)

    @cached_property
    def canonical(self) -> bytes:
        """Canonical XML 1.0, without comments: the document as we issue it."""
        return etree.tostring(self.root, method="c14n", with_comments=False)

    @property
    def digest(self) -> str:
        """What the log knows it by, base64url (RECORDS: Artefact digest)."""
        return digest_text(self.canonical)

    @property
    def generated_at(self) -> datetime:
        """When it says that it was made.

        Raises:
            InvalidArgument: ``BAD_INSTANT``; ``ELMO_MALFORMED``.
        """
        return parse_date_time(_text(self.root, elmo("generatedDate")), field="elmo/generatedDate")

    @property
    def signature(self) -> etree._Element:
        """The one signature of the whole document.

        Raises:
            InvalidArgument: ``ELMO_NOT_SIGNED`` when there is none, or there are several.
        """
        found = self.root.findall(f"{{{DSIG}}}Signature")
        if len(found) != 1:
            raise InvalidArgument(
                "ELMO_NOT_SIGNED",
                f"the document has {len(found)} signatures of its own",
                field="elmo/Signature",
                rule="EMREX ELMO 1.7, Signature: one enveloped signature of the whole",
                remedy="ask the issuer for the signed document",
            )
        return found[0]

    @cached_property
    def learner(self) -> Learner:
        """Whom the document is about; any ELMO document says so.

        Raises:
            InvalidArgument: ``ELMO_MALFORMED``; ``LEARNER_UNKNOWN_SCHEME`` and its kin.
        """
        element = _child(self.root, elmo("learner"))
        identifiers = element.findall(elmo("identifier"))
        return Learner(
            id=_learner_id(identifiers[0]) if identifiers else None,
            given_name=_text(element, elmo("givenNames")) or None,
            family_name=_text(element, elmo("familyName")) or None,
            birth_date=_day(one(element, elmo("bday"))),
        )

    @cached_property
    def reports(self) -> tuple[Report, ...]:
        """The credentials of Vitne in it, report by report.

        Raises:
            InvalidArgument: ``ELMO_MALFORMED`` for what is not written as we do, ``TOO_MANY_CREDENTIALS``, and what
                :func:`vitne.credentials.sd_jwt_vc.from_claims` refuses.
        """
        count = sum(1 for _ in self.root.iter(elmo("learningOpportunitySpecification")))
        if count > MAX_CREDENTIALS:
            raise _limit("TOO_MANY_CREDENTIALS", f"more than {MAX_CREDENTIALS} credentials", MAX_CREDENTIALS)
        return tuple(_report(report, self.learner) for report in self.root.findall(elmo("report")))

    def nodes(self) -> Iterator[Node]:
        """All credentials, whole before part; raises as :attr:`reports`."""
        for report in self.reports:
            for tree in report.forest:
                yield from tree.walk()


def parse(data: bytes) -> Document:
    """Read a document; neither its signature nor its claims are looked at yet.

    Raises:
        InvalidArgument: ``TOO_LARGE``, ``TOO_DEEP``, ``TOO_MANY_ELEMENTS``; ``DTD_REFUSED`` for a document type
            declaration, and with it every entity; ``BAD_XML``; ``NOT_ELMO``.
    """
    if len(data) > MAX_BYTES:
        raise _limit("TOO_LARGE", f"longer than {MAX_BYTES} bytes", MAX_BYTES)
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidArgument(
            "BAD_XML",
            "the document is not well-formed XML in UTF-8",
            rule="XML 1.0, without entities of its own",
            remedy="send the document as it was issued",
        ) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise InvalidArgument(
            "DTD_REFUSED",
            "the document declares a document type",
            rule="no document type declaration, hence no entities",
            remedy="send the document as it was issued",
        )
    _within_limits(root)
    if root.tag != elmo("elmo"):
        raise InvalidArgument(
            "NOT_ELMO",
            "the document is not ELMO",
            field=etree.QName(root).localname,
            rule=f"its root is elmo of {etree.QName(elmo('elmo')).namespace}",
            remedy="send an ELMO document of version 1",
        )
    return Document(root)


def _within_limits(root: etree._Element) -> None:
    depth = count = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        count += event == "start"
        if depth > MAX_DEPTH:
            raise _limit("TOO_DEEP", f"nested deeper than {MAX_DEPTH} elements", MAX_DEPTH)
        if count > MAX_ELEMENTS:
            raise _limit("TOO_MANY_ELEMENTS", f"more than {MAX_ELEMENTS} elements", MAX_ELEMENTS)


def _limit(reason: str, message: str, limit: int) -> InvalidArgument:
    return InvalidArgument(
        reason, f"the document is {message}", field="elmo", rule=f"at most {limit}", remedy="send it in parts"
    )


# --- Elements to model ----------------------------------------------------------------------------


def _report(report: etree._Element, learner: Learner) -> Report:
    issuer = _child(report, elmo("issuer"))
    body = _identifier(issuer, ISO_6523)
    awarding_body = {
        "id": body,
        "name": texts_of(issuer.findall(elmo("title"))),
        "country": _text(issuer, elmo("country")),
    }
    shared = {"iss": _text(issuer, elmo("url")), "awarding_body": awarding_body} | _learner_claims(learner)
    trees = tuple(_node(tree, shared, 1) for tree in report.findall(elmo("learningOpportunitySpecification")))
    issued = parse_instant(_text(report, elmo("issueDate")), field="elmo/report/issueDate")
    if trees and issued != max(node.credential.issued_at for tree in trees for node in tree.walk()):
        raise malformed(report, "the report was not issued when the newest of its credentials was")
    return Report(body, trees)


def _learner_claims(learner: Learner) -> dict[str, Any]:
    claims: dict[str, Any] = {"given_name": learner.given_name, "family_name": learner.family_name}
    if learner.birth_date is not None:
        claims["birthdate"] = learner.birth_date.isoformat()
    if learner.id is not None:
        claims["learner_identifier"] = {"scheme": learner.id.scheme, "value": learner.id.value}
    return {name: value for name, value in claims.items() if value is not None}


def _node(element: etree._Element, shared: dict[str, Any], depth: int) -> Node:
    if depth > MAX_NESTING:
        raise _limit("TOO_DEEP", f"of parts nested deeper than {MAX_NESTING} levels", MAX_NESTING)
    instance = _child(_child(element, elmo("specifies")), elmo("learningOpportunityInstance"))
    more = _child(instance, elmo("extension"))
    claims = extension.read(more)
    achievement = claims["achievement"]
    _once(element, achievement, "id", _identifier(element, LOCAL))
    _once(element, achievement, "title", texts_of(element.findall(elmo("title"))))
    if (code := one(element, elmo("iscedCode"))) is not None:
        _once(element, achievement, "field", text_of(code))
    _once(element, achievement, "workload", _workload(instance, more))
    if level := _level(instance):
        _once(element, achievement, "level", level)
    said = shared | {"jti": _identifier(instance, URN), "awarded_on": _text(instance, elmo("date"))}
    grade = one(instance, elmo("resultLabel"))
    recognised = one(more, own("recognised")) is not None
    if recognised and (grade is None or text_of(grade) != RECOGNISED):
        raise malformed(instance, "the result is not that of a recognition")
    if grade is not None and not recognised:
        said["grade"] = text_of(grade)
    if _text(instance, elmo("status")) != "passed":
        raise malformed(instance, "a credential is about what was passed")
    for name, value in said.items():
        _once(element, claims, name, value)
    parts = tuple(
        _node(_child(part, elmo("learningOpportunitySpecification")), shared, depth + 1)
        for part in element.findall(elmo("hasPart"))
    )
    node = Node(from_plain_claims(claims), parts)
    if node.credits_below and any(text_of(_child(c, elmo("scheme"))) == ECTS for c in instance.findall(elmo("credit"))):
        raise malformed(instance, "ECTS stand on a whole and on a part of it")
    return node


def _once(element: etree._Element, claims: dict[str, Any], name: str, value: Any) -> None:
    if name in claims:
        raise malformed(element, f"the extension says again what {name} is")
    claims[name] = value


def _workload(instance: etree._Element, more: etree._Element) -> dict[str, str]:
    workload: dict[str, str] = {}

    def state(stated: dict[str, str]) -> None:
        if stated.keys() & workload.keys():
            raise malformed(instance, "credits, or hours, are stated twice")
        workload.update(stated)

    for credit in instance.findall(elmo("credit")):
        scheme, value = _text(credit, elmo("scheme")), _text(credit, elmo("value"))
        state({"hours": value} if scheme == NOTIONAL_HOURS else {"unit": scheme, "points": value})
    if (withheld := one(more, own("credit"))) is not None:
        state({"unit": withheld.get("scheme", ""), "points": text_of(withheld)})
    return workload


def _level(instance: etree._Element) -> dict[str, str] | None:
    """The national level, or that of EQF where it is the only one: beside a national one it only follows from it."""
    levels = {_text(level, elmo("type")): level for level in instance.findall(elmo("level"))}
    if (national := levels.get(NQF)) is not None:
        return {"framework": _text(national, elmo("description")), "level": _text(national, elmo("value"))}
    if (european := levels.get(EQF)) is not None:
        return {"framework": EQF_FRAMEWORK, "level": _text(european, elmo("value"))}
    return None


def _learner_id(element: etree._Element) -> LearnerId:
    kind = element.get("type", "")
    return LearnerId(NORWEGIAN_NATIONAL_ID if kind == NATIONAL_IDENTIFIER else kind, text_of(element))


def _identifier(element: etree._Element, kind: str) -> str:
    found = [text_of(item) for item in element.findall(elmo("identifier")) if item.get("type") == kind]
    if len(found) != 1:
        raise malformed(element, f"the element has {len(found)} identifiers of type {kind}")
    return found[0]


def _child(parent: etree._Element, tag: str) -> etree._Element:
    found = one(parent, tag)
    if found is None:
        raise malformed(parent, f"the element lacks {etree.QName(tag).localname}")
    return found


def _text(parent: etree._Element, tag: str) -> str:
    return text_of(_child(parent, tag))


def _day(element: etree._Element | None) -> date | None:
    if element is None:
        return None
    text = text_of(element)
    try:
        if len(text) == len("1955-02-01"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise malformed(element, "not a day like 1955-02-01")
