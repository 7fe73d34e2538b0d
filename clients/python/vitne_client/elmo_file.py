"""A batch from ELMO: one document a learner, as student systems write it for EMREX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lxml import etree

from vitne.credentials.elmo.extension import one
from vitne.credentials.elmo.names import elmo
from vitne.credentials.elmo.reading import parse
from vitne.credentials.elmo.text import text_of, where
from vitne.errors import InvalidArgument
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2


@dataclass(frozen=True, slots=True)
class AchievementKey:
    """What a learning opportunity of the document is called in the registry.

    Attributes:
        achievement_id: of an achievement that the institution published.
        version: its version.
        retention: how long results of it are kept.
    """

    achievement_id: str
    version: int
    retention: credential_pb2.RetentionClass.ValueType


def batch_from_elmo(
    data: bytes, achievements: Callable[[str, str], AchievementKey | None], *, learner: LearnerId | None = None
) -> list[issuer_pb2.BatchItem]:
    """The passed results of one learner, of those learning opportunities that are to become credentials.

    The signature is not looked at: the document is the institution's own.

    Args:
        data: an ELMO document of version 1, UTF-8, without a document type declaration.
        achievements: by type and value of a learning opportunity's identifiers, what it is in the registry; None:
            it is passed over. Asked for each identifier until there is an answer.
        learner: who it is, where the document has no identifier of a scheme that Vitne knows.

    Returns:
        items named by the identifier that was known, and the day.

    Raises:
        InvalidArgument: ``ELMO_MALFORMED`` and what :func:`vitne.credentials.elmo.reading.parse` refuses;
            ``LEARNER_UNNAMED``: neither the document nor the caller says who it is.
    """
    document = parse(data)
    who = document.learner
    identity = learner or who.id
    if identity is None or (learner is None and identity.scheme != NORWEGIAN_NATIONAL_ID):
        raise InvalidArgument(
            "LEARNER_UNNAMED",
            "the document names its learner by no identifier that is known here",
            field="elmo/learner/identifier",
            rule=f"type nationalIdentifier, which stands for {NORWEGIAN_NATIONAL_ID}",
            remedy="say who the learner is",
        )
    person = issuer_pb2.Learner(
        scheme=identity.scheme,
        value=identity.value,
        given_name=who.given_name or "",
        family_name=who.family_name or "",
        birth_date=who.birth_date.isoformat() if who.birth_date else "",
    )
    return list(_items(document.root, person, achievements))


def _items(
    root: etree._Element, person: issuer_pb2.Learner, achievements: Callable[[str, str], AchievementKey | None]
) -> Iterator[issuer_pb2.BatchItem]:
    for opportunity in root.iter(elmo("learningOpportunitySpecification")):
        for identifier in opportunity.findall(elmo("identifier")):
            known_as = text_of(identifier)
            found = achievements(identifier.get("type", ""), known_as)
            if found is not None:
                break
        else:
            continue
        instance = _within(_within(opportunity, "specifies"), "learningOpportunityInstance")
        status, awarded_on = one(instance, elmo("status")), text_of(_within(instance, "date"))
        # Of no status it is said that it is passed (ELMO 1.7, status).
        if status is not None and text_of(status) != "passed":
            continue
        grade = one(instance, elmo("resultLabel"))
        yield issuer_pb2.BatchItem(
            item_id=f"{known_as} {awarded_on}",
            issuance=issuer_pb2.Issuance(
                learner=person,
                achievement_id=found.achievement_id,
                achievement_version=found.version,
                awarded_on=awarded_on,
                grade=text_of(grade) if grade is not None else "",
                retention=found.retention,
            ),
        )


def _within(parent: etree._Element, name: str) -> etree._Element:
    found = one(parent, elmo(name))
    if found is None:
        raise InvalidArgument(
            "ELMO_MALFORMED",
            f"{where(parent)} lacks {name}",
            field=where(parent),
            remedy="send a document that its schema allows",
        )
    return found
