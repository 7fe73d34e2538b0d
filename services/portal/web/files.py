"""Files that a browser saves."""

from __future__ import annotations

from fastapi import Response

from services.portal.web import headers


def attachment(content: bytes, media_type: str, name: str) -> Response:
    """A file to save, never to be shown as a page of ours.

    Args:
        content: of the file.
        media_type: of ``content``.
        name: that it is saved under, of plain letters; says nothing of anybody.
    """
    return Response(
        content,
        media_type=media_type,
        headers={**headers.PRIVATE, "Content-Disposition": f'attachment; filename="{name}"'},
    )
