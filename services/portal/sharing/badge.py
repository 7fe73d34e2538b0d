"""The picture that an Open Badge is baked into: a disc with a tick, drawn here."""

from __future__ import annotations

import io
from functools import cache
from typing import Final

from PIL import Image, ImageDraw

#: Pixels of its sides; Open Badges asks for a square.
SIDE: Final = 512
_MARGIN: Final = 16
_RIM: Final = 24
_BLUE: Final = (0, 98, 186, 255)
_WHITE: Final = (255, 255, 255, 255)
_TICK: Final = ((150, 262), (226, 338), (366, 186))
_STROKE: Final = 44


@cache
def badge_image() -> bytes:
    """The picture as PNG."""
    image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    outer, inner = _MARGIN, _MARGIN + _RIM
    draw.ellipse((outer, outer, SIDE - outer, SIDE - outer), fill=_BLUE)
    draw.ellipse((inner, inner, SIDE - inner, SIDE - inner), outline=_WHITE, width=_RIM // 3)
    draw.line(_TICK, fill=_WHITE, width=_STROKE, joint="curve")
    for x, y in (_TICK[0], _TICK[-1]):
        half = _STROKE // 2
        draw.ellipse((x - half, y - half, x + half, y + half), fill=_WHITE)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
