"""Names of things: UUIDv7 ids, organisations, learners.

Organisations are ``scheme:value`` with the ISO 6523 code of the register
(``0192:971035854``); learners are identified by a scheme and a value within it,
of which the value is personal data and never leaves the issuer in clear.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from stdnum.dk import cvr
from stdnum.exceptions import ValidationError
from stdnum.fi import ytunnus
from stdnum.is_ import kennitala
from stdnum.no import fodselsnummer, orgnr
from stdnum.se import orgnr as se_orgnr

from vitne.clock import Clock
from vitne.errors import InvalidArgument

#: ISO 6523 codes of the registers whose numbers name organisations: the country,
#: how a number is checked, and what the country calls it.
_REGISTERS: Final[dict[str, tuple[str, Callable[[str], str], str]]] = {
    "0007": ("SE", se_orgnr.validate, "organisationsnummer"),
    "0184": ("DK", cvr.validate, "CVR-nummer"),
    "0192": ("NO", orgnr.validate, "organisasjonsnummer"),
    "0196": ("IS", kennitala.validate, "kennitala"),
    # Finland's rules are not here yet; its organisations can be named already, so that a file is all that it takes.
    "0212": ("FI", ytunnus.validate, "Y-tunnus"),
}
#: How an organisation is written.
ORGANISATION_RULE: Final = "scheme:value with the ISO 6523 code " + ", ".join(
    f"{scheme} ({country})" for scheme, (country, _, _) in _REGISTERS.items()
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_ORGANISATION = re.compile(r"(\d{4}):(\d{8,10})\Z", re.ASCII)

#: A Norwegian national identity number (fødselsnummer, D-number, or synthetic).
NORWEGIAN_NATIONAL_ID: Final = "no.national_id"
#: An identifier that a provider gives learners who have no national one.
PROVIDER_LOCAL_ID: Final = "provider.local_id"


# Every credential that is read or issued names one of a few thousand organisations.
@lru_cache(maxsize=4096)
def _digits_hold(scheme: str, value: str) -> bool:
    """Whether a number is one that its register gives out."""
    try:
        return _REGISTERS[scheme][1](value) == value
    except ValidationError:
        return False


@dataclass(frozen=True, slots=True)
class OrganisationId:
    """An organisation's number in a public register, e.g. ``0192:971035854``."""

    scheme: str
    value: str

    @classmethod
    def parse(cls, text: str, *, field: str = "") -> OrganisationId:
        """Read and check ``scheme:value``.

        Raises:
            InvalidArgument: ``BAD_ORGANISATION`` when the scheme is unknown or the
                number fails the check digits of its register.
        """
        match = _ORGANISATION.match(text)
        register = _REGISTERS.get(match[1]) if match else None
        if match is None or register is None:
            raise InvalidArgument(
                "BAD_ORGANISATION",
                "not an organisation identifier of a register that is known here",
                field=field,
                rule=ORGANISATION_RULE,
                remedy="write it like 0192:971035854",
            )
        if not _digits_hold(match[1], match[2]):
            raise InvalidArgument(
                "BAD_ORGANISATION",
                f"{match[2]} is not a valid {register[2]}: its length or check digit is wrong",
                field=field,
                rule=f"check digits of scheme {match[1]}",
                remedy="copy the number from the public register",
            )
        return cls(match[1], match[2])

    @property
    def country(self) -> str:
        """ISO 3166-1 alpha-2 code of the register's country."""
        return _REGISTERS[self.scheme][0]

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


@dataclass(frozen=True, slots=True)
class LearnerId:
    """Who a learner is, within a scheme. ``repr`` never shows the value."""

    scheme: str
    value: str

    @classmethod
    def parse(cls, scheme: str, value: str, *, field: str = "learner") -> LearnerId:
        """Check a learner's identifier by the rules of its scheme.

        Raises:
            InvalidArgument: ``BAD_LEARNER_ID``; the message never repeats the value.
        """
        if scheme == NORWEGIAN_NATIONAL_ID:
            if norwegian_birth_date(value) is None:
                raise InvalidArgument(
                    "BAD_LEARNER_ID",
                    "not a Norwegian national identity number: length, date or check digits are wrong",
                    field=f"{field}.value",
                    rule="eleven digits with two check digits (Skatteetaten); synthetic ones add 80 to the month",
                    remedy="send the eleven digits without spaces",
                )
        elif scheme == PROVIDER_LOCAL_ID:
            if not 1 <= len(value) <= 128 or not value.isprintable():
                raise InvalidArgument(
                    "BAD_LEARNER_ID",
                    "a provider's own learner identifier has the wrong length or characters",
                    field=f"{field}.value",
                    rule="1 to 128 printable characters",
                    remedy="send the identifier that your own system uses",
                )
        else:
            raise InvalidArgument(
                "UNKNOWN_LEARNER_SCHEME",
                "the scheme of the learner's identifier is not known here",
                field=f"{field}.scheme",
                rule=f"one of {NORWEGIAN_NATIONAL_ID}, {PROVIDER_LOCAL_ID}",
                remedy=f"use {PROVIDER_LOCAL_ID} for a learner without a national identifier",
            )
        return cls(scheme, value)

    def __repr__(self) -> str:
        return f"LearnerId(scheme={self.scheme!r}, value=<withheld>)"

    __str__ = __repr__


def synthetic_national_id(born: date, serial: int) -> str | None:
    """A Norwegian synthetic national identity number, or None where the serial has no check digits.

    Synthetic numbers of the national test population add 80 to the month, so that
    they can never be those of a person.

    Args:
        born: date of birth, 1940 to 2039.
        serial: 0 to 499 for those born before 2000, 500 to 999 after.
    """
    nine = f"{born.day:02d}{born.month + 80:02d}{born.year % 100:02d}{serial:03d}"
    first = fodselsnummer.calc_check_digit1(nine)
    if len(first) > 1:
        return None
    second = fodselsnummer.calc_check_digit2(nine + first)
    return None if len(second) > 1 else nine + first + second


def norwegian_birth_date(value: str) -> date | None:
    """The day of birth that a Norwegian national identity number states; None where it is not one."""
    if len(value) != 11 or not (value.isascii() and value.isdigit()):
        return None
    day, month, year, serial = int(value[:2]), int(value[2:4]), int(value[4:6]), int(value[6:9])
    day -= 40 if day > 40 else 0  # D-numbers
    for offset in (80, 65, 40):  # synthetic populations: Skatteetaten adds 80, NAV 40, both 65
        if month > offset:
            month -= offset
            break
    century = 1900 if serial < 500 or (serial >= 900 and year >= 40) else 2000
    try:
        born = date(century + year, month, day)
    except ValueError:
        return None
    holds = value[9] == fodselsnummer.calc_check_digit1(value) and value[10] == fodselsnummer.calc_check_digit2(value)
    return born if holds else None


#: Bits of the random step between two ids of one millisecond.
_STEP: Final = (1 << 32) - 1


class UuidFactory:
    """Makes UUIDv7 (RFC 9562, section 5.7) that increase strictly within one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> UUID:
        milliseconds = int(self._clock.now().timestamp() * 1000) & (1 << 48) - 1
        fresh = secrets.randbits(74)
        with self._lock:
            candidate = (milliseconds << 74) | fresh
            # Within one millisecond (or after a clock that went back) count up from the
            # last value instead, by a random step: method 2 of RFC 9562, section 6.2.
            if candidate <= self._last:
                candidate = self._last + 1 + (fresh & _STEP)
            self._last = candidate
        head, tail = candidate >> 74, candidate & (1 << 74) - 1
        rand_a, rand_b = tail >> 62, tail & (1 << 62) - 1
        return UUID(int=(head << 80) | (7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b)


def lowest_uuid(moment: datetime) -> UUID:
    """What every UUIDv7 made at ``moment`` or later is at or above: where rows are sought by the time in their ids."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=min(max(milliseconds, 0), (1 << 48) - 1) << 80)


def parse_uuid(text: str, *, field: str = "") -> UUID:
    """A UUID in its canonical lower-case text form.

    Raises:
        InvalidArgument: ``BAD_UUID``.
    """
    if not _UUID.match(text):
        raise InvalidArgument(
            "BAD_UUID",
            "not a UUID",
            field=field,
            rule="RFC 9562, lower case, with hyphens",
            remedy="write it like 01930f6e-7a00-7000-8000-00000000a001",
        )
    return UUID(int=int(text.replace("-", ""), 16))


def uuid_time(uuid: UUID) -> datetime:
    """The instant inside a UUIDv7, to the millisecond."""
    return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)
