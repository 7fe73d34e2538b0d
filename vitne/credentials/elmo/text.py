"""Text in XML: what XML 1.0 can carry, and reading it back whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from lxml import etree

from vitne.credentials.elmo.names import LANG
from vitne.errors import InvalidArgument

# What XML 1.0, section 2.2, leaves out: most control characters, surrogates, U+FFFE and U+FFFF.
_NO_CHAR: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def carried(text: str) -> bool:
    """Whether XML 1.0 can carry a text at all."""
    return not _NO_CHAR.search(text)


def add(parent: etree._Element, tag: str, text: str, **attributes: str) -> etree._Element:
    """Append an element with text.

    Raises:
        InvalidArgument: ``TEXT_NOT_CARRIED`` for characters that XML has no form for.
    """
    child = etree.SubElement(parent, tag, attributes)
    if not text.isprintable() and not carried(text):
        raise InvalidArgument(
            "TEXT_NOT_CARRIED",
            "a text holds a control character that XML can't carry",
            field=etree.QName(tag).localname,
            rule="XML 1.0, section 2.2",
            remedy="remove the character from the achievement or the issuance, or choose another format",
        )
    child.text = text
    return child


def add_texts(parent: etree._Element, tag: str, texts: Mapping[str, str]) -> None:
    """Append an element with ``xml:lang`` for each language, in their order.

    Raises:
        InvalidArgument: as :func:`add`.
    """
    for language, text in texts.items():
        add(parent, tag, text).set(LANG, language)


def text_of(element: etree._Element) -> str:
    """The text of an element that holds nothing else.

    Raises:
        InvalidArgument: ``ELMO_MALFORMED`` for an element with children.
    """
    if len(element):
        raise malformed(element, "the element holds others where it should hold text")
    return element.text or ""


def texts_of(elements: Iterable[etree._Element]) -> dict[str, str]:
    """Texts by language, in their order; an element without ``xml:lang`` counts as ``und``.

    Raises:
        InvalidArgument: ``LANGUAGE_REPEATED``; ``ELMO_MALFORMED``.
    """
    texts: dict[str, str] = {}
    for element in elements:
        language = element.get(LANG, "und")
        if language in texts:
            raise InvalidArgument(
                "LANGUAGE_REPEATED",
                "a text is given twice in one language",
                field=where(element),
                rule="one text for each language",
                remedy="ask the issuer for the document, unchanged",
            )
        texts[language] = text_of(element)
    return texts


def where(element: etree._Element) -> str:
    """The path of an element, for people: names without namespaces."""
    names = [etree.QName(ancestor).localname for ancestor in (element, *element.iterancestors())]
    return "/".join(reversed(names))


def malformed(element: etree._Element, message: str) -> InvalidArgument:
    """The refusal of an element that can't be understood."""
    return InvalidArgument(
        "ELMO_MALFORMED",
        message,
        field=where(element),
        rule="EMREX ELMO 1.7 with the extension of docs/formats.md",
        remedy="ask the issuer for the document, unchanged",
    )
