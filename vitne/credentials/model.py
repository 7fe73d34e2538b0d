"""The one credential model: what a credential says, whatever its format.

The achievement stays the protobuf message of ``proto/vitne/credential/v1``: it
is immutable by version, the contract documents and bounds each of its fields,
and a frozen twin of its ten messages would be a second truth to keep in step.
Treat it as read-only. What is particular to one issuance is frozen here.

In what is *read* from a presentation, everything of the learner's may be
missing, since it can be withheld; what is *issued* must have all mandatory
elements (:mod:`vitne.credentials.elements`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from vitne.canonical import canonical_bytes, digest_text, instant_text, parse_instant
from vitne.credentials.jose import PublicKey, strict_json
from vitne.errors import InvalidArgument
from vitne.identifiers import LearnerId, OrganisationId, parse_uuid
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

#: The only outcome of a decision that something was issued on.
ALLOWED: Final = "allowed"


@dataclass(frozen=True, slots=True)
class Learner:
    """Who the credential is for. Any part may be None in a presentation. ``repr`` shows none of it."""

    id: LearnerId | None = field(default=None, repr=False)
    given_name: str | None = field(default=None, repr=False)
    family_name: str | None = field(default=None, repr=False)
    birth_date: date | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AwardingBody:
    """The provider that publishes the achievement and issues the credential."""

    id: OrganisationId
    #: Name by language, in the provider's order; at least one.
    name: Mapping[str, str] = field(hash=False)
    #: ISO 3166-1 alpha-2.
    country: str
    #: What its credentials carry as ``iss``.
    issuer_uri: str

    @classmethod
    def of(cls, provider: facts_pb2.Provider) -> AwardingBody:
        """The registry's entry of a provider, as credentials carry it."""
        return cls(
            id=OrganisationId.parse(provider.id, field="provider.id"),
            name=MappingProxyType(by_language(provider.name, "provider.name")),
            country=provider.country,
            issuer_uri=provider.issuer_uri,
        )


@dataclass(frozen=True, slots=True)
class DecisionReference:
    """The decision that an issuance rests on (RECORDS: Decision), whole: its digest can be computed from it."""

    provider: str
    achievement_id: UUID
    achievement_version: int
    accreditation_id: UUID
    accreditation_revision: int
    framework_country: str
    framework_version: str
    #: *u*: the registry revision that was known.
    registry_revision: int
    #: The rule of the national framework that allows it.
    rule: str
    #: *t*: the instant of issuance, to the millisecond.
    at: datetime
    #: RFC 8785 bytes of the record.
    record: bytes = field(init=False, repr=False)
    #: SHA-256 of ``record``, base64url.
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "record", _canonical(self.members()))
        object.__setattr__(self, "digest", digest_text(self.record))

    @classmethod
    def parse(cls, record: bytes | Mapping[str, Any], *, field: str = "decision.record") -> DecisionReference:
        """Read a decision record: canonical bytes, or the same as a JSON object.

        Raises:
            InvalidArgument: ``BAD_DECISION`` for another shape, other members, or bytes that are not canonical.
        """
        members = strict_json(record, field=field) if isinstance(record, bytes) else record
        try:
            accreditation, achievement, framework = (
                members[name] for name in ("accreditation", "achievement", "framework")
            )
            read = cls(
                provider=_text(members, "provider"),
                achievement_id=parse_uuid(_text(achievement, "id")),
                achievement_version=_count(achievement, "version"),
                accreditation_id=parse_uuid(_text(accreditation, "id")),
                accreditation_revision=_count(accreditation, "revision"),
                framework_country=_text(framework, "country"),
                framework_version=_text(framework, "version"),
                registry_revision=_count(members, "registry_revision"),
                rule=_text(members, "rule"),
                at=parse_instant(_text(members, "at")),
            )
            canonical = _canonical(members)
        except (ValueError, TypeError, KeyError, InvalidArgument) as error:
            raise _bad_decision(f"a member is missing or malformed ({type(error).__name__})", field) from error
        # Written again it is the same: no other member, outcome, or spelling of an instant.
        if (record if isinstance(record, bytes) else canonical) != read.record:
            raise _bad_decision("it has other members, refuses, or is not in canonical form", field)
        return read

    def members(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {
            "accreditation": {"id": str(self.accreditation_id), "revision": self.accreditation_revision},
            "achievement": {"id": str(self.achievement_id), "version": self.achievement_version},
            "at": instant_text(self.at),
            "framework": {"country": self.framework_country, "version": self.framework_version},
            "outcome": ALLOWED,
            "provider": self.provider,
            "registry_revision": self.registry_revision,
            "rule": self.rule,
        }


_ENCODE_SORTED: Final = msgspec.json.Encoder(order="sorted").encode
#: Integers that JSON carries exactly are below it (RFC 8785, section 3.2.2.3).
_EXACT: Final = 1 << 53


def _canonical(record: Mapping[str, Any]) -> bytes:
    """RFC 8785 bytes of a decision record, quickly: every verification makes them.

    Texts and exact integers are all that a record holds, under names in ASCII. Sorted JSON without white space is
    canonical then, as long as no text needs an escape; else the general encoder is asked.
    """
    quick = _ENCODE_SORTED(record)
    return quick if quick.isascii() and b"\\" not in quick and b"\x7f" not in quick else canonical_bytes(record)


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is not text")
    return value


def _count(members: Mapping[str, Any], name: str) -> int:
    value = members[name]
    if type(value) is not int or not 1 <= value < _EXACT:
        raise TypeError(f"{name} is not a number from 1")
    return value


def _bad_decision(why: str, field: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_DECISION",
        f"not a decision record: {why}",
        field=field,
        rule="RECORDS, Decision",
        remedy="take the record from the decision function as it is",
    )


@dataclass(frozen=True, slots=True)
class StatusReference:
    """Where the credential's status stands."""

    #: URI of the status list.
    list: str
    index: int


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential."""

    #: UUIDv7.
    id: UUID
    #: Read-only.
    achievement: credential_pb2.Achievement = field(hash=False)
    awarding_body: AwardingBody
    learner: Learner
    #: When the learner achieved it.
    awarded_on: date
    #: As the provider writes it; None: none, or withheld.
    grade: str | None = field(repr=False)
    #: First day on which it no longer counts (from midnight UTC); None: it does not expire.
    expires_on: date | None
    retention: credential_pb2.RetentionClass.ValueType
    decision: DecisionReference
    status: StatusReference
    #: The key of the learner's wallet that it is bound to; None: not bound.
    holder: PublicKey | None
    #: How prior learning was recognised, where the credential documents that. Read-only.
    recognition: credential_pb2.Recognition | None = field(default=None, hash=False)
    #: SHA-256 of the fact that the decision's accreditation is at its revision, base64url; empty: not cited.
    accreditation_digest: str = ""

    @property
    def issued_at(self) -> datetime:
        """The instant of issuance is that of the decision: nothing is issued on a decision of another instant."""
        return self.decision.at


def by_language(texts: Iterable[credential_pb2.LocalisedText], where: str) -> dict[str, str]:
    """Localised texts as a mapping, in their order.

    Raises:
        InvalidArgument: ``LANGUAGE_REPEATED``.
    """
    pairs = [(text.language, text.text) for text in texts]
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise InvalidArgument(
            "LANGUAGE_REPEATED",
            "a text is given twice in one language",
            field=where,
            rule="one text for each language",
            remedy="join or drop one of the two",
        )
    return mapping
