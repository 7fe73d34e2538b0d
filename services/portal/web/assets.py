"""Files that are the same for everybody: style and icon. No script, no font, nothing from elsewhere."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import Request, Response

from services.portal.web.routes import Route

_FOLDER: Final = Path(__file__).parents[1] / "static"
_STYLE: Final = (_FOLDER / "style.css").read_bytes()
_ICON: Final = (_FOLDER / "icon.svg").read_bytes()
#: Changes with what it holds, so that browsers may keep it.
STYLE_ADDRESS: Final = f"/style.css?v={sha256(_STYLE).hexdigest()[:12]}"
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


def routes() -> list[Route]:
    """``/style.css`` and ``/icon.svg``."""
    return [Route("GET", "/style.css", _style), Route("GET", "/icon.svg", _icon)]


async def _style(_request: Request) -> Response:
    headers = {**_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_STYLE, media_type="text/css; charset=utf-8", headers=headers)


async def _icon(_request: Request) -> Response:
    # Opened by itself a picture is a document: it may do nothing either.
    headers = {**_HEADERS, "Cache-Control": "public, max-age=86400", "Content-Security-Policy": "default-src 'none'"}
    return Response(_ICON, media_type="image/svg+xml", headers=headers)
