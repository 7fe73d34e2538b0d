"""What a document about a share says, before it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

#: Media type of what is inside (draft-ietf-oauth-sd-jwt-vc).
CREDENTIAL_TYPE: Final = "application/dc+sd-jwt"


@dataclass(frozen=True, slots=True)
class Line:
    """A label and what it labels, in words."""

    label: str
    value: str


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
    entries: Sequence[Entry]
    at: datetime
