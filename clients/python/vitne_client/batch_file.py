"""A batch from a table: one line a credential, as student systems write it out."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from vitne.errors import InvalidArgument
from vitne.runtime.rules import check_rules
from vitne.runtime.status import RuleViolations, Violation
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
#: Faults that are told one by one; of more it is said how many.
MAX_FAULTS: Final = 20
#: Reasons, that of a line before that of two.
_REASONS: Final = ("CSV_LINE", "CSV_DUPLICATE")
_QUOTING: Final = "a quotation mark ends where the value does, and nothing but the next column follows it"
_VERSION: Final = re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII)
_RETENTION: Final[Mapping[str, credential_pb2.RetentionClass.ValueType]] = {
    "erasable": credential_pb2.RETENTION_CLASS_ERASABLE,
    "archive": credential_pb2.RETENTION_CLASS_ARCHIVE,
}


def batch_from_csv(path: Path, *, delimiter: str = ";") -> list[issuer_pb2.BatchItem]:
    """The items of a file: UTF-8 (with or without a byte order mark), a line of column names first.

    Each line is held to be one, and each value to the contract's rule for it. All that is wrong is told at once, and
    then there are no items. What takes more than the table to know, such as the achievement, the issuer says item by
    item.

    Args:
        path: the file.
        delimiter: between columns; ``;`` as Nordic spreadsheets write it.

    Raises:
        InvalidArgument: ``CSV_ENCODING``, ``CSV_COLUMNS``, ``CSV_LINE``, ``CSV_DUPLICATE`` (where that is all): what is
            wrong, in which lines and columns, by which rule; never what stands there, which is about a person.
    """
    faults = _Faults()
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file, delimiter=delimiter, strict=True)
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
            faults.add(lines.reader.line_num, "", "is no line of a table", _QUOTING)
    faults.refuse()
    return items


class _Faults:
    """What is wrong with a table, as it is found."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._places: list[str] = []
        self._count = 0
        self._reasons: set[str] = set()

    def add(self, number: int, column: str, what: str, rule: str, reason: str = "CSV_LINE") -> None:
        """Note a fault of a line, and of a column where it is one column's."""
        self._count += 1
        self._reasons.add(reason)
        if self._count <= MAX_FAULTS:
            self._places.append(f"line {number}, {column}" if column else f"line {number}")
            self._told.append(f"line {number}{f', column {column}' if column else ''} {what} (rule: {rule})")

    def refuse(self) -> None:
        """Tell what was found.

        Raises:
            InvalidArgument: there is something.
        """
        if not self._count:
            return
        more = self._count - len(self._told)
        told = [*self._told, *([f"and {more} more"] if more else [])]
        raise InvalidArgument(
            min(self._reasons, key=_REASONS.index),
            told[0] if len(told) == 1 else "\n  ".join([f"{self._count} faults:", *told]),
            field=self._places[0] if len(told) == 1 else "",
            rule="all of a table is sent, or nothing",
            remedy="mend it, and read the file again",
        )


def _items(lines: csv.DictReader[str], faults: _Faults) -> Iterator[issuer_pb2.BatchItem]:
    names = set(lines.fieldnames or ())
    missing, unknown = set(REQUIRED) - names, names - {*REQUIRED, *OPTIONAL}
    if missing or unknown:
        raise InvalidArgument(
            "CSV_COLUMNS",
            "; ".join(
                f"{what}: {', '.join(sorted(names))}"
                for what, names in (("columns that lack", missing), ("columns that are not known", unknown))
                if names
            ),
            rule=f"columns {', '.join(REQUIRED)}, and perhaps {', '.join(OPTIONAL)}",
            remedy="name the columns so, or say which character is between them",
        )
    seen: dict[str, int] = {}
    for row in lines:
        number = lines.line_num
        if None in row or None in row.values():  # more, or fewer, values than columns
            faults.add(number, "", "has not as many values as there are columns", f"{len(names)} values in each line")
            continue
        values = {name: (value or "").strip() for name, value in row.items()}
        told = {name for name in REQUIRED if not values[name]}
        for name in sorted(told, key=REQUIRED.index):
            faults.add(number, name, "is empty", "a value in each line")
        if values["retention"] not in ("", *_RETENTION):
            told.add("retention")
            faults.add(number, "retention", "has another value", " or ".join(_RETENTION))
        version = values.get("achievement_version") or "1"
        if _VERSION.fullmatch(version) is None:
            faults.add(number, "achievement_version", "has another value", "a number from 1, of at most nine digits")
            version = "1"  # in its place, so that the others are looked at
        if values["item_id"] and (first := seen.setdefault(values["item_id"], number)) != number:
            rule = "each line has its own: a repeated batch knows it by that"
            faults.add(number, "item_id", f"has what line {first} has", rule, "CSV_DUPLICATE")
        item = issuer_pb2.BatchItem(item_id=values["item_id"], issuance=_issuance(values, int(version)))
        for violation in _violations(item):
            name = violation.field.rpartition(".")[2]
            if name not in told:
                faults.add(number, name, "has another form", violation.rule)
        yield item


def _violations(item: issuer_pb2.BatchItem) -> Sequence[Violation]:
    """What of an item the contract refuses, whoever looks at it."""
    try:
        check_rules(item)
    except RuleViolations as refused:
        return refused.violations
    return ()


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
        retention=_RETENTION.get(values["retention"], credential_pb2.RETENTION_CLASS_UNSPECIFIED),
    )
