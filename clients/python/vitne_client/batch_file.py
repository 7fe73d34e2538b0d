"""A batch from a table: one line a credential, as student systems write it out."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from vitne.errors import InvalidArgument
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2

#: Columns that each line fills.
REQUIRED: Final = (
    "item_id",
    "scheme",
    "value",
    "given_name",
    "family_name",
    "achievement_id",
    "awarded_on",
    "retention",
)
#: Columns that may be missing or empty. Without a version it is the first.
OPTIONAL: Final = ("birth_date", "achievement_version", "grade", "expires_on")
_RETENTION: Final[Mapping[str, credential_pb2.RetentionClass.ValueType]] = {
    "erasable": credential_pb2.RETENTION_CLASS_ERASABLE,
    "archive": credential_pb2.RETENTION_CLASS_ARCHIVE,
}


def batch_from_csv(path: Path, *, delimiter: str = ";") -> list[issuer_pb2.BatchItem]:
    """The items of a file: UTF-8 (with or without a byte order mark), a line of column names first.

    What the values must look like, the issuer says item by item; here a line is only held to be one.

    Args:
        path: the file.
        delimiter: between columns; ``;`` as Nordic spreadsheets write it.

    Raises:
        InvalidArgument: ``CSV_ENCODING``, ``CSV_COLUMNS``, ``CSV_LINE``, ``CSV_DUPLICATE``: what is wrong, and in
            which line; never what stands there, which is about a person.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            return list(_items(lines))
        except UnicodeDecodeError:
            # Without its cause, which has the file's bytes.
            raise InvalidArgument(
                "CSV_ENCODING",
                "the file is not UTF-8",
                rule="UTF-8, with or without a byte order mark",
                remedy="save it as CSV UTF-8",
            ) from None
        except csv.Error:
            raise _bad(
                lines.reader.line_num, "is no line of a table: a quotation mark does not end, or more follows it"
            ) from None


def _items(lines: csv.DictReader[str]) -> Iterator[issuer_pb2.BatchItem]:
    names = set(lines.fieldnames or ())
    missing, unknown = set(REQUIRED) - names, names - {*REQUIRED, *OPTIONAL}
    if missing or unknown:
        raise InvalidArgument(
            "CSV_COLUMNS",
            f"columns that lack: {sorted(missing)}; columns that are not known: {sorted(unknown)}",
            rule=f"columns {', '.join(REQUIRED)}, and perhaps {', '.join(OPTIONAL)}",
            remedy="name the columns so, or say which character is between them",
        )
    seen: dict[str, int] = {}
    for row in lines:
        number = lines.line_num
        if None in row or None in row.values():  # more, or fewer, values than columns
            raise _bad(number, "has not as many values as there are columns")
        values = {name: (value or "").strip() for name, value in row.items()}
        if empty := [name for name in REQUIRED if not values[name]]:
            raise _bad(number, f"leaves empty: {', '.join(empty)}")
        if values["retention"] not in _RETENTION:
            raise _bad(number, f"has a retention that is none of {', '.join(_RETENTION)}")
        version = values.get("achievement_version") or "1"
        if not version.isascii() or not version.isdecimal():
            raise _bad(number, "has an achievement_version that is no number")
        if (first := seen.setdefault(values["item_id"], number)) != number:
            raise InvalidArgument(
                "CSV_DUPLICATE",
                f"lines {first} and {number} have the same item_id",
                field="item_id",
                rule="each line has an item_id of its own: a repeated batch knows it by that",
                remedy="give each line its own",
            )
        yield issuer_pb2.BatchItem(item_id=values["item_id"], issuance=_issuance(values, int(version)))


def _issuance(values: Mapping[str, str], version: int) -> issuer_pb2.Issuance:
    return issuer_pb2.Issuance(
        learner=issuer_pb2.Learner(
            scheme=values["scheme"],
            value=values["value"],
            given_name=values["given_name"],
            family_name=values["family_name"],
            birth_date=values.get("birth_date", ""),
        ),
        achievement_id=values["achievement_id"],
        achievement_version=version,
        awarded_on=values["awarded_on"],
        grade=values.get("grade", ""),
        expires_on=values.get("expires_on", ""),
        retention=_RETENTION[values["retention"]],
    )


def _bad(number: int, what: str) -> InvalidArgument:
    return InvalidArgument(
        "CSV_LINE", f"line {number} {what}", field=f"line {number}", remedy="mend the line, and read the file again"
    )
