"""What ELMO has no place for: the European elements as XML of their own, all else as the claims they are.

::

    <extension>
      <v:learningOutcome category="knowledge" concepts="IRI IRI"><v:text xml:lang="da">…</v:text></v:learningOutcome>
      <v:assessment>written</v:assessment>
      <v:participation>blended</v:participation>
      <v:supervision>…</v:supervision>  <v:stackability>…</v:stackability>
      <v:qualityAssurance externalBody="0192:…"><v:text xml:lang="da">…</v:text></v:qualityAssurance>
      <v:prerequisites><v:text …/></v:prerequisites>  <v:furtherInformation><v:text …/></v:furtherInformation>
      <v:credit scheme="ects">5</v:credit>   where a part has the points, and the whole may not
      <v:recognised/>                        where resultLabel says so, since there is no grade
      <v:claims>{…}</v:claims>               the rest, as JSON
    </extension>
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from lxml import etree

from vitne.credentials.elmo.names import own
from vitne.credentials.elmo.text import add, add_texts, malformed, text_of, texts_of
from vitne.credentials.jose import strict_json

#: Claims of an achievement that are one word.
_TERMS: Final = ("assessment", "participation", "supervision", "stackability")
#: Claims of an achievement that are texts by language, and their elements.
_TEXTS: Final = {"prerequisites": "prerequisites", "further_information": "furtherInformation"}
_ENCODE: Final = msgspec.json.Encoder().encode


def write(parent: etree._Element, claims: dict[str, Any], achievement: dict[str, Any]) -> None:
    """Append to an ``extension`` what is left of a credential's claims, and of its achievement's.

    Raises:
        InvalidArgument: ``TEXT_NOT_CARRIED``.
    """
    for outcome in achievement.pop("outcomes"):
        element = etree.SubElement(parent, own("learningOutcome"), category=outcome["category"])
        if "concepts" in outcome:
            element.set("concepts", " ".join(outcome["concepts"]))
        add_texts(element, own("text"), outcome["text"])
    for name in _TERMS:
        if name in achievement:
            add(parent, own(name), achievement.pop(name))
    quality = achievement.pop("quality_assurance")
    element = etree.SubElement(parent, own("qualityAssurance"))
    if "external_body" in quality:
        element.set("externalBody", quality["external_body"])
    add_texts(element, own("text"), quality["internal"])
    for name, tag in _TEXTS.items():
        if name in achievement:
            add_texts(etree.SubElement(parent, own(tag)), own("text"), achievement.pop(name))
    add(parent, own("claims"), _ENCODE(claims | {"achievement": achievement}).decode())


def read(element: etree._Element) -> dict[str, Any]:
    """The claims that an ``extension`` of ours holds, with those of the achievement in ``achievement``.

    Raises:
        InvalidArgument: ``ELMO_MALFORMED``; ``LANGUAGE_REPEATED``; ``BAD_JSON``.
    """
    rest = element.findall(own("claims"))
    if len(rest) != 1:
        raise malformed(element, "the element lacks what Vitne's credentials say beyond ELMO")
    claims = strict_json(text_of(rest[0]), field="claims")
    if not isinstance(claims, dict) or not isinstance(claims.get("achievement"), dict):
        raise malformed(rest[0], "the claims are not an object with an achievement")
    stated: dict[str, Any] = {
        "outcomes": [_outcome(outcome) for outcome in element.iterchildren(own("learningOutcome"))]
    }
    for name in _TERMS:
        if (term := one(element, own(name))) is not None:
            stated[name] = text_of(term)
    if (quality := one(element, own("qualityAssurance"))) is not None:
        stated["quality_assurance"] = {"internal": texts_of(quality)}
        if body := quality.get("externalBody"):
            stated["quality_assurance"]["external_body"] = body
    for name, tag in _TEXTS.items():
        if (texts := one(element, own(tag))) is not None:
            stated[name] = texts_of(texts)
    if repeated := sorted(stated.keys() & claims["achievement"].keys()):
        raise malformed(rest[0], f"the claims say twice what {repeated[0]} is")
    claims["achievement"] |= stated
    return claims


def _outcome(element: etree._Element) -> dict[str, Any]:
    outcome: dict[str, Any] = {"category": element.get("category", ""), "text": texts_of(element)}
    if concepts := element.get("concepts", "").split():
        outcome["concepts"] = concepts
    return outcome


def one(parent: etree._Element, tag: str) -> etree._Element | None:
    """The child of a tag, or None.

    Raises:
        InvalidArgument: ``ELMO_MALFORMED`` when there are several.
    """
    found = parent.findall(tag)
    if len(found) > 1:
        raise malformed(found[1], "the element is there twice")
    return found[0] if found else None
