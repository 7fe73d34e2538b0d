"""A batch from a table: one line a credential, as student systems write it out."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
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
#: Most faults of a file that are told at once.
MAX_TOLD: Final = 20
_DUPLICATE: Final = "have the same item_id"
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
        InvalidArgument: ``CSV_ENCODING``, ``CSV_COLUMNS``, ``CSV_LINE``, ``CSV_DUPLICATE``: all that is wrong, by line
            and column; never what stands there, which is about a person.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file, delimiter=delimiter, strict=True)
        faults: list[str] = []
        try:
            items = list(_items(lines, faults))
        except UnicodeDecodeError:
            # Without its cause, which has the file's bytes.
            raise InvalidArgument(
                "CSV_ENCODING",
                "the file is not UTF-8",
                rule="UTF-8, with or without a byte order mark",
                remedy="save it as CSV UTF-8",
            ) from None
        except csv.Error:
            # Where a line ends nobody knows from here on.
            number = lines.reader.line_num
            faults.append(f"line {number} is no line of a table: a quotation mark does not end, or more follows it")
        if faults:
            raise _bad(faults)
        return items


def _items(lines: csv.DictReader[str], faults: list[str]) -> Iterator[issuer_pb2.BatchItem]:
    """The items of lines that are some, and what is wrong with the others."""
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
            faults.append(f"line {number} has not as many values as there are columns")
            continue
        values = {name: (value or "").strip() for name, value in row.items()}
        known = len(faults)
        if empty := [name for name in REQUIRED if not values[name]]:
            faults.append(f"line {number} leaves empty: {', '.join(empty)}")
        if values["retention"] and values["retention"] not in _RETENTION:
            faults.append(f"line {number} has a retention that is none of {', '.join(_RETENTION)}")
        version = values.get("achievement_version") or "1"
        if not version.isascii() or not version.isdecimal():
            faults.append(f"line {number} has an achievement_version that is no number")
        if values["item_id"] and (first := seen.setdefault(values["item_id"], number)) != number:
            faults.append(f"lines {first} and {number} {_DUPLICATE}")
        if len(faults) == known:
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


def _bad(faults: Sequence[str]) -> InvalidArgument:
    """``CSV_DUPLICATE`` where nothing else is wrong, else ``CSV_LINE``."""
    more = [f"and {len(faults) - MAX_TOLD} more"] if len(faults) > MAX_TOLD else []
    duplicates = all(fault.endswith(_DUPLICATE) for fault in faults)
    return InvalidArgument(
        "CSV_DUPLICATE" if duplicates else "CSV_LINE",
        "; ".join([*faults[:MAX_TOLD], *more]),
        field="item_id" if duplicates else "file",
        rule="a value in each column that has to be filled, and an item_id of its own in each line: a repeated batch "
        "knows it by that",
        remedy="mend these lines, and read the file again: nothing was sent",
    )
