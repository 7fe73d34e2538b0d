"""Which of a resource's representations a reader is answered: in what content coding, and whether at all (RFC 9110)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

#: The one content coding that is answered beside none (RFC 9110, section 8.4.1.3).
GZIP: Final = "gzip"
#: ``wbits`` of zlib for a gzip stream (RFC 1952).
_GZIP_BITS: Final = 31
#: Memory for matches: as much as there is.
_MEMORY: Final = 9
#: The weight of what is refused (RFC 9110, section 12.4.2).
_NOT_AT_ALL: Final = re.compile(r"q=0(\.0{0,3})?\Z", re.IGNORECASE)
#: Fields of different readers that are remembered.
_READERS: Final = 64


def takes_gzip(fields: Iterable[str]) -> bool:
    """Whether a reader takes gzip; one who says nothing is answered without.

    Args:
        fields: the values of ``Accept-Encoding`` (RFC 9110, section 12.5.3).
    """
    return _takes_gzip(",".join(fields))


@lru_cache(maxsize=_READERS)
def _takes_gzip(field: str) -> bool:
    weights: dict[str, str] = {}
    for part in field.split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip().lower()] = weight.strip()
    weight_of_gzip = weights.get(GZIP, weights.get("*"))
    return weight_of_gzip is not None and not _NOT_AT_ALL.match(weight_of_gzip)


def gzipped(body: bytes, *, repeats: bool = True) -> bytes:
    """A body in gzip, the same bytes for the same body.

    Args:
        body: as it is.
        repeats: whether something in it comes more than once; else, as in Base64 of what is compressed, it is only
            written with shorter symbols, which takes half the time and gives no more bytes.
    """
    strategy = zlib.Z_DEFAULT_STRATEGY if repeats else zlib.Z_HUFFMAN_ONLY
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _GZIP_BITS, _MEMORY, strategy)
    return packer.compress(body) + packer.flush()


def matches(conditions: Iterable[str], etag: str) -> bool:
    """Whether a reader has a representation already: weak comparison with any of the tags.

    Args:
        conditions: the values of ``If-None-Match`` (RFC 9110, section 13.1.2).
        etag: of the representation that would be answered; it holds no comma.
    """
    tags = [tag.strip() for condition in conditions for tag in condition.split(",")]
    return "*" in tags or etag in (tag.removeprefix("W/") for tag in tags)
