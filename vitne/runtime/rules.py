"""The rules of the contract (``vitne.rules.v1``), checked before any handler runs.

A message type is compiled once into a list of checkers, one for each field, so
that checking a request costs a few microseconds. What a rule refuses is named by
its path, never quoted: values may be personal data.

Without any rule, strings still have at most 1,000 characters, lists at most 100
elements, and timestamps must exist. U+0000 is refused in every string, since
PostgreSQL cannot store it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import urlsplit

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from vitne.errors import InvalidArgument
from vitne.identifiers import ORGANISATION_RULE, OrganisationId
from vitne.runtime.status import RuleViolations, Violation
from vitne_api.rules.v1 import rules_pb2

#: Most characters of a string whose rules name no other bound.
DEFAULT_MAX_LENGTH: Final = 1000
#: Most elements of a list whose rules name no other bound.
DEFAULT_MAX_ITEMS: Final = 100
#: Violations beyond these are not told: the first ones say enough.
MAX_VIOLATIONS: Final = 20

Checker = Callable[[Any, list[Violation]], None]
_Test = Callable[[str], object]

# RFC 3339 timestamps: the seconds of 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
_FIRST_SECOND: Final = -62135596800
_LAST_SECOND: Final = 253402300799
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# RFC 5646, section 2.1: langtag or privateuse; the irregular grandfathered tags are not taken.
_LANGUAGE = re.compile(
    r"(?:(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4}|[a-z]{5,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
    r"|x(?:-[a-z0-9]{1,8})+)",
    re.IGNORECASE | re.ASCII,
)
_URI_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,5}(?:\.\d{1,2})?", re.ASCII)
_TERM = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9][a-z0-9_]*)*")
# 43 characters carry 258 bits: the last one's two lowest must be zero, so that 32 bytes have one text.
_DIGEST = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
# ISO 3166-1 alpha-2, the officially assigned codes.
_COUNTRY_CODES: Final = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY "
    "BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK "
    "FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR "
    "IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK "
    "ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM "
    "PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF "
    "TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "
)
_COUNTRIES: Final = frozenset(_COUNTRY_CODES.split())


@lru_cache(maxsize=4096)
def _is_organisation(text: str) -> bool:
    try:
        OrganisationId.parse(text)
    except InvalidArgument:
        return False
    return True


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


# What is asked for often is one of a few lists.
@lru_cache(maxsize=1024)
def _is_uri(text: str) -> bool:
    if not _URI_CHARACTERS.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname) and "@" not in parts.netloc and port != 0


#: Format -> (reason, test, rule, remedy).
_FORMATS: Final[dict[int, tuple[str, _Test, str, str]]] = {
    rules_pb2.FORMAT_UUID: (
        "BAD_UUID",
        _UUID.fullmatch,
        "a UUID in lower case with hyphens (RFC 9562)",
        "write it like 01930f6e-7a00-7000-8000-00000000a001",
    ),
    rules_pb2.FORMAT_ORGANISATION: (
        "BAD_ORGANISATION",
        _is_organisation,
        f"{ORGANISATION_RULE}, check digits right",
        "write it like 0192:971035854",
    ),
    rules_pb2.FORMAT_LANGUAGE: (
        "BAD_LANGUAGE",
        _LANGUAGE.fullmatch,
        "a language tag (BCP 47)",
        "write it like nb, nn, se, da or en",
    ),
    rules_pb2.FORMAT_URI: (
        "BAD_URI",
        _is_uri,
        "an absolute https or http URI without credentials (RFC 3986)",
        "write it like https://example.org/path, other characters percent-encoded",
    ),
    rules_pb2.FORMAT_DATE: (
        "BAD_DATE",
        _is_date,
        "a calendar date that exists (RFC 3339 full-date)",
        "write it like 2026-11-21",
    ),
    rules_pb2.FORMAT_DECIMAL: (
        "BAD_DECIMAL",
        _DECIMAL.fullmatch,
        "a decimal number with at most five digits before the point and two after, without sign or exponent",
        "write it like 0.75",
    ),
    rules_pb2.FORMAT_COUNTRY: (
        "BAD_COUNTRY",
        _COUNTRIES.__contains__,
        "a country (ISO 3166-1 alpha-2, upper case)",
        "write it like NO",
    ),
    rules_pb2.FORMAT_TERM: (
        "BAD_TERM",
        _TERM.fullmatch,
        "a dotted identifier of lower-case letters, digits and underscores",
        "write it like dk.micro_credential",
    ),
    rules_pb2.FORMAT_DIGEST: (
        "BAD_DIGEST",
        _DIGEST.fullmatch,
        "32 bytes as 43 characters of base64url without padding",
        "encode the 32 bytes with the URL-safe alphabet and drop the padding",
    ),
}

_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_compiled: dict[str, list[Checker]] = {}


def check_rules(message: Message, prefix: str = "") -> None:
    """Refuse ``message`` where it breaks the rules of its contract.

    The rules interceptor does this for every unary request. Handlers of request
    streams do it for each message themselves, so that a bad one need not end the stream.

    Args:
        message: what came in.
        prefix: the message's own path where it is a part of something, e.g. ``items[3]``.

    Raises:
        RuleViolations: names up to 20 fields; never their values.
    """
    violations: list[Violation] = []
    for check in compile_rules(cast(Descriptor, message.DESCRIPTOR)):
        check(message, violations)
    if violations:
        if prefix:
            violations = [replace(violation, field=f"{prefix}.{violation.field}") for violation in violations]
        raise RuleViolations(violations[:MAX_VIOLATIONS])


def compile_rules(descriptor: Descriptor) -> list[Checker]:
    """The checkers of a message type and of all it contains; compiled once.

    Raises:
        NotImplementedError: the contract uses something no rule is written for (a map, an unknown format).
    """
    name = descriptor.full_name
    checkers = _compiled.get(name)
    if checkers is None:
        # Registered before it is filled, so that a type may contain itself.
        checkers = _compiled[name] = []
        if name == "google.protobuf.Timestamp":
            checkers.append(_check_timestamp)
            return checkers
        checkers.extend(check for field in descriptor.fields if (check := _compile_field(field)) is not None)
        checkers.extend(
            _one_required(oneof.name)
            for oneof in descriptor.oneofs
            if oneof.GetOptions().Extensions[rules_pb2.one_required]
        )
    return checkers


def _compile_field(field: FieldDescriptor) -> Checker | None:
    rules: rules_pb2.Rules = field.GetOptions().Extensions[rules_pb2.rules]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        raise NotImplementedError(f"{field.full_name}: no rules are written for maps")
    if field.is_repeated:
        return _repeated(field, rules)
    if field.message_type is not None:
        return _singular_message(field, rules)
    return _singular_scalar(field, rules)


def _singular_message(field: FieldDescriptor, rules: rules_pb2.Rules) -> Checker:
    name, required = field.name, rules.required
    assert field.message_type is not None  # noqa: S101 - narrows the type; the caller asked
    nested = compile_rules(field.message_type)
    missing = _missing(field)

    def check(message: Any, violations: list[Violation]) -> None:
        if message.HasField(name):
            _check_nested(nested, getattr(message, name), name, violations)
        elif required:
            violations.append(missing)

    return check


def _singular_scalar(field: FieldDescriptor, rules: rules_pb2.Rules) -> Checker | None:
    name, required = field.name, rules.required
    test = _scalar_test(field, rules)
    missing = _missing(field)
    # Members of a oneof count only where they are the one that is set.
    selected_only = field.containing_oneof is not None
    if test is None and not required:
        return None

    def check(message: Any, violations: list[Violation]) -> None:
        value = getattr(message, name)
        if not value:
            if required and (not selected_only or message.HasField(name)):
                violations.append(missing)
        elif test is not None and (violation := test(value)) is not None:
            violations.append(replace(violation, field=name))

    return check


def _repeated(field: FieldDescriptor, rules: rules_pb2.Rules) -> Checker:
    name, required = field.name, rules.required
    limit = rules.max_items or DEFAULT_MAX_ITEMS
    nested = compile_rules(field.message_type) if field.message_type is not None else None
    test = _scalar_test(field, rules) if field.message_type is None else None
    missing = _missing(field)
    too_many = Violation(name, "TOO_MANY_ITEMS", f"at most {limit} elements", "send fewer, or split the request")
    empty = Violation(name, "FIELD_REQUIRED", "elements are not empty", "leave empty elements out")

    def check(message: Any, violations: list[Violation]) -> None:
        values = getattr(message, name)
        count = len(values)
        if count == 0:
            if required:
                violations.append(missing)
            return
        if count > limit:
            violations.append(too_many)
            return
        for index, value in enumerate(values):
            if len(violations) >= MAX_VIOLATIONS:
                return
            if nested is not None:
                _check_nested(nested, value, f"{name}[{index}]", violations)
            elif test is not None:
                # An empty element is one that does not have its format, unlike an unset field.
                violation = test(value) if value else (empty if rules.format else None)
                if violation is not None:
                    violations.append(replace(violation, field=f"{name}[{index}]"))

    return check


def _check_nested(nested: list[Checker], value: Any, name: str, violations: list[Violation]) -> None:
    before = len(violations)
    for check in nested:
        check(value, violations)
    # Paths are put together only where something is wrong: the good case pays nothing for them.
    for position in range(before, len(violations)):
        violation = violations[position]
        violations[position] = replace(violation, field=f"{name}.{violation.field}" if violation.field else name)


def _scalar_test(field: FieldDescriptor, rules: rules_pb2.Rules) -> Callable[[Any], Violation | None] | None:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _bytes_test(rules) if field.type == FieldDescriptor.TYPE_BYTES else _string_test(field, rules)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and rules.defined_only:
        assert field.enum_type is not None  # noqa: S101 - narrows the type
        defined = frozenset(field.enum_type.values_by_number)
        undefined = Violation(
            "",
            "UNDEFINED_ENUM_VALUE",
            f"a value of {field.enum_type.full_name} that this version defines",
            "use a value of the published contract",
        )
        return lambda value: None if value in defined else undefined
    if field.cpp_type in _INTEGERS and rules.max_value:
        bound = rules.max_value
        too_large = Violation("", "TOO_LARGE", f"at most {bound}", "send a smaller number")
        return lambda value: None if value <= bound else too_large
    return None


def _bytes_test(rules: rules_pb2.Rules) -> Callable[[bytes], Violation | None] | None:
    limit = rules.max_length
    if not limit:
        return None
    too_long = Violation("", "TOO_LONG", f"at most {limit} bytes", "shorten it")
    return lambda value: None if len(value) <= limit else too_long


def _string_test(field: FieldDescriptor, rules: rules_pb2.Rules) -> Callable[[str], Violation | None]:
    limit = rules.max_length or DEFAULT_MAX_LENGTH
    too_long = Violation("", "TOO_LONG", f"at most {limit} characters", "shorten it")
    forbidden = Violation("", "FORBIDDEN_CHARACTER", "no U+0000", "take the character out")
    has_format: _Test | None = None
    bad_format = forbidden
    if rules.format:
        if rules.format not in _FORMATS:
            raise NotImplementedError(f"{field.full_name}: no test is written for format {rules.format}")
        reason, has_format, rule, remedy = _FORMATS[rules.format]
        bad_format = Violation("", reason, rule, remedy)

    def test(value: str) -> Violation | None:
        if len(value) > limit:
            return too_long
        if has_format is not None:
            return None if has_format(value) else bad_format
        return forbidden if "\x00" in value else None

    return test


def _missing(field: FieldDescriptor) -> Violation:
    remedy = "set it"
    if field.enum_type is not None:
        # The first, of the number 0, says that nothing was set.
        remedy = f"set it: {', '.join(value.name for value in field.enum_type.values[1:])}"
    return Violation(field.name, "FIELD_REQUIRED", "the field is required", remedy)


def _one_required(name: str) -> Checker:
    missing = Violation(name, "ONE_REQUIRED", "one of the members must be set", "set one member")

    def check(message: Any, violations: list[Violation]) -> None:
        if message.WhichOneof(name) is None:
            violations.append(missing)

    return check


def _check_timestamp(message: Any, violations: list[Violation]) -> None:
    if not (_FIRST_SECOND <= message.seconds <= _LAST_SECOND and 0 <= message.nanos <= 999_999_999):
        violations.append(
            Violation("", "BAD_TIMESTAMP", "an instant of the years 1 to 9999, nanos below 10^9", "send an instant")
        )
