"""The envelope of results: ELMO, gzip (RFC 1952), Base64 (RFC 4648, section 4). Pure, and bounded before it opens."""

from __future__ import annotations

import base64
import gzip
import zlib
from string import whitespace
from typing import Final

from vitne.credentials.elmo.reading import MAX_BYTES
from vitne.errors import InvalidArgument

#: Most characters of an envelope: what :data:`MAX_BYTES` come to that gzip can't shrink, with room for line breaks.
MAX_ENCODED: Final = 3_000_000
#: Bytes of a form that carries one: three for each of the few characters that a form has to escape.
MAX_FORM: Final = 4_000_000
_GZIP: Final = 16 + zlib.MAX_WBITS


def seal(document: bytes) -> str:
    """A document in its envelope; the same each time."""
    return base64.b64encode(gzip.compress(document, mtime=0)).decode("ascii")


def unseal(text: str) -> bytes:
    """The document of an envelope. White space in it counts for nothing.

    Raises:
        InvalidArgument: ``ENVELOPE_TOO_LARGE``, closed or opened; ``ENVELOPE_BROKEN`` for anything else than one whole
            gzip member in Base64.
    """
    if len(text) > MAX_ENCODED:
        raise _too_large()
    try:
        # In one go: a list of pieces would take twenty times the text, and whoever sends it says how many there are.
        compressed = base64.b64decode(text.encode("ascii").translate(None, whitespace.encode()), validate=True)
        opening = zlib.decompressobj(_GZIP)
        # One byte more than there may be: a bomb is never unfolded.
        document = opening.decompress(compressed, MAX_BYTES + 1)
    except (ValueError, zlib.error) as error:
        raise _broken() from error
    if len(document) > MAX_BYTES:
        raise _too_large()
    if not opening.eof or opening.unused_data:
        raise _broken()
    return document


def _too_large() -> InvalidArgument:
    return InvalidArgument(
        "ENVELOPE_TOO_LARGE",
        "the answer is larger than results are",
        field="elmo",
        rule=f"at most {MAX_BYTES} bytes of ELMO",
        remedy="fetch fewer results at a time",
    )


def _broken() -> InvalidArgument:
    return InvalidArgument(
        "ENVELOPE_BROKEN",
        "the results in the answer can't be unpacked",
        field="elmo",
        rule="ELMO, compressed with gzip, in Base64",
        remedy="fetch the results again",
    )
