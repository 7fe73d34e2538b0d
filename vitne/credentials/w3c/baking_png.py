"""A badge inside a PNG image, and taken out again (Open Badges 3.0, section "Baked Open Badge": PNG).

The credential is an uncompressed ``iTXt`` chunk. Chunks are put in and read as they are: no pixel is decoded, and
everything else in the image stays as it was to the byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from vitne.errors import InvalidArgument

#: Largest image that is looked at, in bytes: so that a message to the verifier can hold it.
MAX_IMAGE: Final = 3_000_000

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER, _TEXT, _END = b"IHDR", b"iTXt", b"IEND"
_KEYWORD: Final = b"openbadgecredential"
# Behind the keyword: its end, compression flag and method, and the empty language tag and translated keyword.
_UNCOMPRESSED: Final = b"\x00\x00\x00\x00\x00"
_LENGTH, _TYPE, _CRC = 4, 4, 4


def bake(image: bytes, credential: str) -> bytes:
    """The image with a credential in it.

    Args:
        image: a PNG without a credential.
        credential: a document secured by Data Integrity as JSON, or a compact JWT.

    Raises:
        InvalidArgument: ``BAD_IMAGE``; ``ALREADY_BAKED``; ``TOO_LARGE``.
    """
    chunks = list(_chunks(image))
    if any(_is_ours(type_, content) for type_, content, _ in chunks):
        raise _refused("ALREADY_BAKED", "the image holds a credential already")
    _, _, after_header = chunks[0]
    content = _KEYWORD + _UNCOMPRESSED + credential.encode()
    checked = _TEXT + content
    chunk = len(content).to_bytes(_LENGTH) + checked + zlib.crc32(checked).to_bytes(_CRC)
    return image[:after_header] + chunk + image[after_header:]


def extract(image: bytes) -> str:
    """The credential in an image.

    Raises:
        InvalidArgument: ``BAD_IMAGE``; ``NOT_BAKED`` for an image without exactly one; ``TOO_LARGE``.
    """
    found = [content for type_, content, _ in _chunks(image) if _is_ours(type_, content)]
    if len(found) != 1:
        raise _refused("NOT_BAKED", f"the image holds {len(found)} credentials")
    _, behind = found[0][: len(_KEYWORD)], found[0][len(_KEYWORD) :]
    flags, (*tags, text) = behind[:3], behind[3:].split(b"\x00", 2)
    if flags != _UNCOMPRESSED[:3] or len(tags) != 2:
        raise _refused("BAD_IMAGE", "the credential is compressed, or its chunk is malformed")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise _refused("BAD_IMAGE", "the credential is not UTF-8") from error


def _is_ours(type_: bytes, content: bytes) -> bool:
    return type_ == _TEXT and content.startswith(_KEYWORD + b"\x00")


def _chunks(image: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Type, content and end of each chunk (PNG, third edition, section 5.3), with its checksum checked."""
    if len(image) > MAX_IMAGE:
        raise _refused("TOO_LARGE", f"larger than {MAX_IMAGE} bytes")
    if not image.startswith(_SIGNATURE):
        raise _refused("BAD_IMAGE", "not a PNG")
    place, type_ = len(_SIGNATURE), b""
    while type_ != _END:
        length = int.from_bytes(image[place : place + _LENGTH])
        begin = place + _LENGTH + _TYPE
        end = begin + length + _CRC
        before, type_ = type_, image[place + _LENGTH : begin]
        if end > len(image) or int.from_bytes(image[end - _CRC : end]) != zlib.crc32(image[begin - _TYPE : end - _CRC]):
            raise _refused("BAD_IMAGE", "a chunk is cut off or damaged")
        if not before and type_ != _HEADER:
            raise _refused("BAD_IMAGE", "the image does not begin with its header")
        yield type_, image[begin : end - _CRC], end
        place = end


def _refused(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field="image",
        rule="Open Badges 3.0, baked badges: one uncompressed iTXt chunk",
        remedy="send the image as the issuer gave it",
    )
