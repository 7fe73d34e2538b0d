"""What the log's leaves say (RECORDS: Log leaves), as canonical bytes.

Nothing in a leaf names a person, a provider's learner, or a reason. A leaf is
read as strictly as it is written: another type, version, field or spelling of
the same content is refused, since its hash would be another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

from vitne.canonical import b64url, canonical_bytes, canonical_value, from_b64url, instant_text, parse_instant
from vitne.errors import InvalidArgument, VitneError
from vitne.identifiers import parse_uuid
from vitne.merkle.hashing import HASH_SIZE, leaf_hash

#: Version of all leaf records.
VERSION: Final = 1
#: Longest leaf that is read, in bytes: the longest that can be written is a list's long URL away from 500.
MAX_LEAF_BYTES: Final = 4096
#: Longest list URL or origin in a leaf.
MAX_NAME_LENGTH: Final = 2000

#: What a status leaf may say.
StatusName: TypeAlias = Literal["valid", "suspended", "revoked"]
_STATUSES: Final[frozenset[str]] = frozenset(("valid", "suspended", "revoked"))
#: Largest integer that JSON carries exactly (RFC 8785, section 3.2.2.3).
_MAX_INTEGER: Final = (1 << 53) - 1
_PRINTABLE_ASCII = re.compile(r"[!-~]+\Z")


#: The canonical bytes of :class:`Issued` around its digest's text.
_ISSUED_HEAD, _ISSUED_TAIL = canonical_bytes({"digest": "|", "type": "issued", "v": VERSION}).split(b"|")


class _Record:
    """What all leaves have in common."""

    __slots__ = ()
    type_name: ClassVar[str]

    def members(self) -> dict[str, Any]:
        """The record's own JSON members, without ``type`` and ``v``."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The canonical bytes (RFC 8785)."""
        return canonical_bytes({"type": self.type_name, "v": VERSION, **self.members()})

    def leaf_hash(self) -> bytes:
        """The hash by which the log knows the leaf: 32 bytes."""
        return leaf_hash(self.to_bytes())


@dataclass(frozen=True, slots=True)
class Issued(_Record):
    """An artefact was issued: its digest (32 bytes), and nothing else."""

    digest: bytes
    type_name: ClassVar[str] = "issued"

    def __post_init__(self) -> None:
        _check_digest(self.digest)

    def members(self) -> dict[str, Any]:
        return {"digest": b64url(self.digest)}

    def to_bytes(self) -> bytes:
        # Nine of ten leaves are of this type: put together from what all of them share.
        return _ISSUED_HEAD + b64url(self.digest).encode("ascii") + _ISSUED_TAIL


@dataclass(frozen=True, slots=True)
class StatusChanged(_Record):
    """The status at (list, index) is ``status`` from ``effective`` on, recorded at ``recorded``."""

    list_url: str
    index: int
    status: StatusName
    effective: datetime
    recorded: datetime
    type_name: ClassVar[str] = "status"

    def __post_init__(self) -> None:
        _check_url(self.list_url, "list")
        _check_count(self.index, "index", least=0)
        if self.status not in _STATUSES:
            raise _bad_leaf(f"unknown status {self.status!r}", "status")
        if self.effective > self.recorded:
            raise _bad_leaf("a status can't hold from after it was recorded", "effective")

    def members(self) -> dict[str, Any]:
        return {
            "effective": instant_text(self.effective),
            "index": self.index,
            "list": self.list_url,
            "recorded": instant_text(self.recorded),
            "status": self.status,
        }

    def to_bytes(self) -> bytes:
        # Written while callers wait. The members stand in their order, and none but the URL can hold what is escaped.
        return (
            f'{{"effective":"{instant_text(self.effective)}","index":{self.index},"list":{_quoted(self.list_url)},'
            f'"recorded":"{instant_text(self.recorded)}","status":"{self.status}","type":"status","v":{VERSION}}}'
        ).encode("ascii")


@dataclass(frozen=True, slots=True)
class ListPublished(_Record):
    """A status list was published: its URL, version from 1, digest of the signed bytes (32 bytes).

    ``tree_size`` is the size of the log whose status leaves the list reflects, at least.
    """

    list_url: str
    version: int
    digest: bytes
    tree_size: int
    type_name: ClassVar[str] = "list"

    def __post_init__(self) -> None:
        _check_url(self.list_url, "list")
        _check_count(self.version, "version", least=1)
        _check_digest(self.digest)
        _check_count(self.tree_size, "tree_size", least=0)

    def members(self) -> dict[str, Any]:
        return {
            "digest": b64url(self.digest),
            "list": self.list_url,
            "tree_size": self.tree_size,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True)
class AccreditationRecorded(_Record):
    """A revision (from 1) of an accreditation: its id, and the digest of the registry's fact (32 bytes)."""

    accreditation_id: UUID
    revision: int
    digest: bytes
    type_name: ClassVar[str] = "accreditation"

    def __post_init__(self) -> None:
        _check_count(self.revision, "revision", least=1)
        _check_digest(self.digest)

    def members(self) -> dict[str, Any]:
        return {"digest": b64url(self.digest), "id": str(self.accreditation_id), "revision": self.revision}


@dataclass(frozen=True, slots=True)
class KeyRecorded(_Record):
    """A revision (from 1) of a key: its JWK thumbprint (32 bytes), and the digest of the registry's fact (32 bytes)."""

    thumbprint: bytes
    revision: int
    digest: bytes
    type_name: ClassVar[str] = "key"

    def __post_init__(self) -> None:
        _check_digest(self.thumbprint, "id")
        _check_count(self.revision, "revision", least=1)
        _check_digest(self.digest)

    def members(self) -> dict[str, Any]:
        return {"digest": b64url(self.digest), "id": b64url(self.thumbprint), "revision": self.revision}


@dataclass(frozen=True, slots=True)
class Closed(_Record):
    """The end of a shard: the log's origin, and how many leaves come before this, its last."""

    origin: str
    size: int
    type_name: ClassVar[str] = "closed"

    def __post_init__(self) -> None:
        if len(self.origin) > MAX_NAME_LENGTH or not _PRINTABLE_ASCII.match(self.origin):
            raise _bad_leaf("the origin is empty, too long, or holds other than printable ASCII", "origin")
        _check_count(self.size, "size", least=0)

    def members(self) -> dict[str, Any]:
        return {"origin": self.origin, "size": self.size}


#: Any leaf.
Leaf: TypeAlias = Issued | StatusChanged | ListPublished | AccreditationRecorded | KeyRecorded | Closed


def parse_leaf(data: bytes) -> Leaf:
    """Read a leaf's canonical bytes.

    Raises:
        InvalidArgument: ``BAD_LEAF`` for anything but the canonical bytes of a known record.
    """
    if len(data) > MAX_LEAF_BYTES:
        raise _bad_leaf(f"it is longer than {MAX_LEAF_BYTES} bytes")
    if (issued := _read_issued(data)) is not None:
        return issued
    try:
        record = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _bad_leaf("it is not JSON in UTF-8") from error
    if not isinstance(record, dict) or type(record.get("type")) is not str:
        raise _bad_leaf("it is not an object with a type", "type")
    known = _READERS.get(record["type"])
    if known is None:
        raise _bad_leaf("its type is not known", "type")
    names, read = known
    if set(record) != names | {"type", "v"}:
        raise _bad_leaf(f"its fields are not exactly those of type {record['type']}")
    try:
        leaf = read(record)
    except (VitneError, TypeError, AttributeError) as error:
        field = error.field if isinstance(error, VitneError) else ""
        raise _bad_leaf("a field has a value that its type does not allow", field) from error
    # Catches what a lenient reader lets through: another version, spelling, order, repeated names, 1.0 for 1.
    if leaf.to_bytes() != data:
        raise _bad_leaf("its bytes are not the canonical ones")
    return leaf


def _read_issued(data: bytes) -> Issued | None:
    """The leaf that these are the canonical bytes of, where it is of that type; a digest has one text only."""
    if not (data.startswith(_ISSUED_HEAD) and data.endswith(_ISSUED_TAIL)):
        return None
    try:
        return Issued(from_b64url(data[len(_ISSUED_HEAD) : -len(_ISSUED_TAIL)].decode("ascii")))
    except (VitneError, UnicodeDecodeError):
        return None  # the way that all others go says what is wrong


def _read_status(record: Mapping[str, Any]) -> StatusChanged:
    effective = parse_instant(record["effective"], field="effective")
    recorded = parse_instant(record["recorded"], field="recorded")
    return StatusChanged(record["list"], record["index"], record["status"], effective, recorded)


def _digest(record: Mapping[str, Any]) -> bytes:
    return from_b64url(record["digest"], field="digest")


_READERS: Final[dict[str, tuple[frozenset[str], Callable[[Mapping[str, Any]], Leaf]]]] = {
    "issued": (frozenset(("digest",)), lambda record: Issued(_digest(record))),
    "status": (frozenset(("list", "index", "status", "effective", "recorded")), _read_status),
    "list": (
        frozenset(("list", "version", "digest", "tree_size")),
        lambda record: ListPublished(record["list"], record["version"], _digest(record), record["tree_size"]),
    ),
    "accreditation": (
        frozenset(("id", "revision", "digest")),
        lambda record: AccreditationRecorded(parse_uuid(record["id"], field="id"), record["revision"], _digest(record)),
    ),
    "key": (
        frozenset(("id", "revision", "digest")),
        lambda record: KeyRecorded(from_b64url(record["id"], field="id"), record["revision"], _digest(record)),
    ),
    "closed": (frozenset(("origin", "size")), lambda record: Closed(record["origin"], record["size"])),
}


def _check_digest(value: bytes, field: str = "digest") -> None:
    if len(value) != HASH_SIZE:
        raise _bad_leaf("a digest has 32 bytes", field)


def _check_count(value: int, field: str, *, least: int) -> None:
    if type(value) is not int or not least <= value <= _MAX_INTEGER:
        raise _bad_leaf(f"not an integer between {least} and 2^53 - 1", field)


def _check_url(value: str, field: str) -> None:
    """An absolute URL, without the things that make two spellings of one list."""
    if type(value) is not str or len(value) > MAX_NAME_LENGTH or not _PRINTABLE_ASCII.match(value):
        raise _bad_leaf("the URL is empty, too long, or holds other than printable ASCII", field)
    if not _is_absolute(value):
        raise _bad_leaf("not an absolute URL without credentials and fragment", field)


# Hundreds of thousands of leaves name one of a few lists.
@lru_cache(maxsize=256)
def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
        absolute = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
    return absolute and "#" not in url


@lru_cache(maxsize=256)
def _quoted(url: str) -> str:
    """A URL as a canonical string of JSON."""
    return canonical_value(url).decode("ascii")


def _bad_leaf(why: str, field: str = "") -> InvalidArgument:
    return InvalidArgument(
        "BAD_LEAF",
        f"not a leaf of the log: {why}",
        field=field,
        rule="RECORDS, Log leaves: canonical bytes of a known record",
        remedy="build leaves with vitne.merkle.leaves",
    )
