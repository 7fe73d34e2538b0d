"""A badge inside an SVG image, and taken out again (Open Badges 3.0, section "Baked Open Badge": SVG).

The credential is the first element of the image: JSON as its text, a JWT as its attribute ``verify``. It is put behind
the root's tag as text, so that the rest of the image stays as it was to the byte. Images with a document type are
refused, and with them every entity.
"""

from __future__ import annotations

from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from vitne.errors import InvalidArgument

#: Largest image that is looked at, in bytes: so that a message to the verifier can hold it.
MAX_IMAGE: Final = 3_000_000
#: Deepest element.
MAX_DEPTH: Final = 256
#: Most elements and attributes together: each costs a reader more than its bytes.
MAX_NODES: Final = 100_000

#: What the element of a badge is named in.
NAMESPACE: Final = "https://purl.imsglobal.org/ob/v3p0"
_CREDENTIAL: Final = f"{NAMESPACE} credential"
_ROOT: Final = "http://www.w3.org/2000/svg svg"
_CDATA_END: Final = "]]>"


def bake(image: bytes, credential: str) -> bytes:
    """The image with a credential in it.

    Args:
        image: an SVG in UTF-8, without a credential.
        credential: a document secured by Data Integrity as JSON, or a compact JWT.

    Raises:
        InvalidArgument: ``BAD_IMAGE``; ``ALREADY_BAKED``; ``TOO_LARGE``.
    """
    read = _read(image)
    if read.found:
        raise _refused("ALREADY_BAKED", "the image holds a credential already")
    name = f'openbadges:credential xmlns:openbadges="{NAMESPACE}"'
    if credential.lstrip().startswith("{"):
        # The end of CDATA can only stand in a JSON string, where it may be escaped.
        content = credential.replace(_CDATA_END, "]]\\u003e")
        element = f"<{name}><![CDATA[{content}]]></openbadges:credential>"
    else:
        element = f"<{name} verify={quoteattr(credential)}/>"
    return image[: read.root_end] + element.encode() + image[read.root_end :]


def extract(image: bytes) -> str:
    """The credential in an image.

    Raises:
        InvalidArgument: ``BAD_IMAGE``; ``NOT_BAKED`` for an image without exactly one; ``TOO_LARGE``.
    """
    found = _read(image).found
    if len(found) != 1 or not found[0].strip():
        raise _refused("NOT_BAKED", f"the image holds {len(found)} credentials")
    return found[0].strip()


class _Reader:
    """What is found on one walk through an image."""

    def __init__(self, image: bytes) -> None:
        #: Texts of credentials.
        self.found: list[str] = []
        #: Where the root's tag ends.
        self.root_end = 0
        self._image = image
        self._depth = 0
        self._nodes = 0
        self._inside = 0
        self._parser = parser = expat.ParserCreate("UTF-8", " ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype

    def read(self) -> None:
        """Walk through it."""
        self._parser.Parse(self._image, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._nodes += 1 + len(attributes)
        if self._nodes > MAX_NODES:
            raise _refused("BAD_IMAGE", f"more than {MAX_NODES} elements and attributes")
        if self._depth > MAX_DEPTH:
            raise _refused("BAD_IMAGE", f"nested deeper than {MAX_DEPTH}")
        if self._depth == 1:
            if name != _ROOT:
                raise _refused("BAD_IMAGE", "not an SVG")
            self.root_end = _end_of_tag(self._image, self._parser.CurrentByteIndex)
        if self._inside:
            raise _refused("BAD_IMAGE", "a credential holds elements")
        if name == _CREDENTIAL:
            self._inside = self._depth
            self.found.append(attributes.get("verify", ""))

    def _end(self, _name: str) -> None:
        if self._depth == self._inside:
            self._inside = 0
        self._depth -= 1

    def _text(self, text: str) -> None:
        if self._inside:
            self.found[-1] += text

    def _doctype(self, *_: Any) -> None:
        raise _refused("BAD_IMAGE", "a document type, and with it entities, is refused")


def _read(image: bytes) -> _Reader:
    if len(image) > MAX_IMAGE:
        raise _refused("TOO_LARGE", f"larger than {MAX_IMAGE} bytes")
    reader = _Reader(image)
    try:
        reader.read()
    except expat.ExpatError as error:
        raise _refused("BAD_IMAGE", "not well-formed XML in UTF-8") from error
    return reader


def _end_of_tag(image: bytes, begin: int) -> int:
    """Where the start tag at ``begin`` ends: the first ``>`` outside of quotes."""
    quote = 0
    for place in range(begin, len(image)):
        byte = image[place]
        if quote:
            quote = 0 if byte == quote else quote
        elif byte in b"\"'":
            quote = byte
        elif byte == ord(">"):
            if image[place - 1] == ord("/"):
                break
            return place + 1
    raise _refused("BAD_IMAGE", "the image is empty")


def _refused(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field="image",
        rule="Open Badges 3.0, baked badges: one openbadges:credential element",
        remedy="send the image as the issuer gave it",
    )
