"""A badge inside an image, and taken out again, whichever kind of image it is (Open Badges 3.0, "Baked Open Badge")."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from vitne.credentials.w3c import baking_png, baking_svg
from vitne.errors import InvalidArgument

#: Largest image that is looked at, in bytes.
MAX_IMAGE: Final = max(baking_png.MAX_IMAGE, baking_svg.MAX_IMAGE)

_PNG: Final = b"\x89PNG"


def bake(image: bytes, credential: str) -> bytes:
    """The image with a credential in it.

    Args:
        image: a PNG, or an SVG in UTF-8, without a credential.
        credential: a document secured by Data Integrity as JSON, or a compact JWT.

    Raises:
        InvalidArgument: ``BAD_IMAGE``; ``ALREADY_BAKED``; ``TOO_LARGE``.
    """
    baked: bytes = _kind(image).bake(image, credential)
    if len(baked) > MAX_IMAGE:
        raise InvalidArgument(
            "TOO_LARGE",
            f"with the badge in it the image is larger than {MAX_IMAGE} bytes",
            field="image",
            rule=f"at most {MAX_IMAGE} bytes, so that readers take it",
            remedy="send a smaller image",
        )
    return baked


def extract(image: bytes) -> str:
    """The credential in an image.

    Raises:
        InvalidArgument: ``BAD_IMAGE``; ``NOT_BAKED`` for an image without exactly one; ``TOO_LARGE``.
    """
    credential: str = _kind(image).extract(image)
    return credential


def is_image(data: bytes) -> bool:
    """Whether something is an image rather than a credential: a PNG, or an SVG that mentions a badge."""
    return data.startswith(_PNG) or (data.lstrip().startswith(b"<") and baking_svg.NAMESPACE.encode() in data)


def _kind(image: bytes) -> ModuleType:
    return baking_png if image.startswith(_PNG) else baking_svg
