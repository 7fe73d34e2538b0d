"""A share as a PDF (PDF/A-3u, ISO 19005-3): what it says in words, a QR code to the live page, and the credentials.

They are inside as associated files, so that a machine reads and verifies what a person reads. Pure: bytes from values.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Final, cast

import fontpkg
import fpdf
import segno
from fpdf.enums import DocumentCompliance, MethodReturnValue, XPos, YPos

from services.portal.sharing.document import CREDENTIAL_TYPE, Entry, Line, Paper

#: Millimetres.
_MARGIN: Final = 20.0
_QR_SIDE: Final = 38.0
_LABEL_WIDTH: Final = 52.0
_GAP: Final = 4.0
_LINE: Final = 6.0
#: A heading does not stand at the foot of a page, apart from what it heads.
_TOGETHER: Final = 30.0
#: From the foot of a page to its number.
_FOOT: Final = 12.0
#: Points.
_TITLE, _HEADING, _BODY, _SMALL = 22, 15, 11, 9
#: Pixels of a module of the QR code: sharp in print.
_QR_SCALE: Final = 8
_DARK: Final = (30, 43, 60)
_MUTED: Final = (80, 92, 108)
_FONT: Final = "Noto Sans"


@cache
def _font_file() -> str:
    # Covers Latin with all that Northern Sami needs, Greek and Cyrillic.
    return str(fontpkg.path(_FONT))


class _Numbered(fpdf.FPDF):
    """Says on each page which of how many it is: what is missing of a printed document is seen."""

    def footer(self) -> None:
        self.set_y(-_FOOT)
        self.set_font(_FONT, size=_SMALL)
        self.set_text_color(*_MUTED)
        self.cell(0, _LINE, f"{self.page_no()} / {{nb}}", align="R")


def render(paper: Paper) -> bytes:
    """The document, not signed yet. Takes a tenth of a second of a core."""
    pdf = _Numbered(enforce_compliance=DocumentCompliance.PDFA_3U)
    pdf.set_lang(paper.language)
    pdf.set_title(paper.title)
    pdf.set_creation_date(paper.at)
    pdf.set_margin(_MARGIN)
    pdf.set_auto_page_break(True, _MARGIN)
    pdf.add_font(_FONT, fname=_font_file())
    pdf.add_page()
    _introduce(pdf, paper)
    for number, entry in enumerate(paper.entries, start=1):
        _tell(pdf, entry)
        pdf.embed_file(
            bytes=entry.artefact.encode(),
            basename=f"credential-{number}.sd-jwt",
            mime_type=CREDENTIAL_TYPE,
            desc=f"{paper.attachment_label}: {entry.title}",
            associated_file_relationship="Source",
            creation_date=paper.at,
            modification_date=paper.at,
        )
    return bytes(pdf.output())


def _introduce(pdf: fpdf.FPDF, paper: Paper) -> None:
    width = pdf.epw - _QR_SIDE - _LINE
    top = pdf.get_y()
    picture = io.BytesIO()
    segno.make_qr(paper.address, error="m").save(picture, kind="png", scale=_QR_SCALE, border=2)
    pdf.image(picture, x=_MARGIN + pdf.epw - _QR_SIDE, y=top, w=_QR_SIDE, alt_text=paper.qr_label, link=paper.address)
    pdf.start_section(paper.title)
    _write(pdf, paper.title, _TITLE, width=width)
    _write(pdf, paper.introduction, _BODY, width=width, muted=True)
    pdf.ln(_LINE / 2)
    _write(pdf, paper.check, _BODY, width=width)
    _write(pdf, f"{paper.code_label}: {paper.code}", _BODY, width=width)
    pdf.set_y(max(pdf.get_y(), top + _QR_SIDE) + _LINE)
    _write(pdf, paper.address, _SMALL, muted=True)
    _write(pdf, f"{paper.made_label}: {paper.made}", _SMALL, muted=True)


def _tell(pdf: fpdf.FPDF, entry: Entry) -> None:
    pdf.ln(_LINE)
    if pdf.will_page_break(_TOGETHER):
        pdf.add_page()
    pdf.start_section(entry.title, level=1)
    _write(pdf, entry.title, _HEADING)
    for line in entry.lines:
        _row(pdf, line)
    if entry.outcomes:
        _write(pdf, entry.outcomes_label, _BODY, muted=True)
        for outcome in entry.outcomes:
            _write(pdf, f"– {outcome}", _BODY)


def _row(pdf: fpdf.FPDF, line: Line) -> None:
    """A label and beside it what it labels; each may take several lines, which stay on one page."""
    label, value = (line.label, _LABEL_WIDTH - _GAP), (f"{line.value}{line.rest}", pdf.epw - _LABEL_WIDTH)
    pdf.set_font(_FONT, size=_BODY)
    height = max(_height(pdf, text, width) for text, width in (label, value))
    if pdf.will_page_break(height):
        pdf.add_page()
    top = pdf.get_y()
    _write(pdf, label[0], _BODY, width=label[1], muted=True)
    pdf.set_xy(pdf.l_margin + _LABEL_WIDTH, top)
    _write(pdf, value[0], _BODY, width=value[1])
    pdf.set_y(top + height)


def _height(pdf: fpdf.FPDF, text: str, width: float) -> float:
    """Of a paragraph in the font that is set."""
    height = pdf.multi_cell(width, _LINE, text, align="L", dry_run=True, output=MethodReturnValue.HEIGHT)
    return cast("float", height)


def _write(pdf: fpdf.FPDF, text: str, size: int, *, width: float = 0.0, muted: bool = False) -> None:
    """A paragraph; what follows stands below it, at the margin."""
    pdf.set_font(_FONT, size=size)
    pdf.set_text_color(*(_MUTED if muted else _DARK))
    pdf.multi_cell(width, _LINE * size / _BODY, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
