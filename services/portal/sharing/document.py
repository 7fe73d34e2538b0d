"""What a share's document says: words, a QR code to the live page, and the credentials inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

#: Media type of what is inside (draft-ietf-oauth-sd-jwt-vc).
CREDENTIAL_TYPE: Final = "application/dc+sd-jwt"


@dataclass(frozen=True, slots=True)
class Line:
    """A label and what it labels, in words.

    Attributes:
        label: in the reader's language.
        value: what it labels.
        language: BCP 47 tag of ``value`` where that is the issuer's own text; empty where it is the reader's language.
        rest: what stands behind ``value``, in the reader's language.
    """

    label: str
    value: str
    language: str = ""
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One credential.

    Attributes:
        title: what was achieved.
        lines: what is said of it.
        outcomes_label: heading of ``outcomes``.
        outcomes: what she knows and can do.
        artefact: as presented: goes inside.
    """

    title: str
    lines: Sequence[Line]
    outcomes_label: str
    outcomes: Sequence[str]
    artefact: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Paper:
    """All that a document says.

    Attributes:
        language: BCP 47 tag of its words.
        title: of the document.
        introduction: what it is, and what it isn't.
        check: how to check it now: stands beside the QR code.
        qr_label: the QR code in words, for those who don't see it.
        attachment_label: what an attached file is, in words.
        address: that the QR code leads to.
        code: that the page there asks for.
        code_label: what ``code`` is.
        made_label: what ``made`` is.
        made: ``at`` in words.
        entries: the credentials.
        at: when it is made.
    """

    language: str
    title: str
    introduction: str
    check: str
    qr_label: str
    attachment_label: str
    address: str = field(repr=False)
    code: str = field(repr=False)
    code_label: str
    made_label: str
    made: str
    entries: Sequence[Entry]
    at: datetime
