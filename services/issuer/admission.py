"""What can be said of an issuance whatever the state of the system.

The contract's own rules (``vitne.rules.v1``) have passed before this; here are
the checks that need more than one field or more than a pattern. Nothing here
does I/O, so a batch answers these refusals while the client still sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from vitne.credentials.jose import ES256, PublicKey, parse_public_jwk
from vitne.errors import InvalidArgument
from vitne.identifiers import PROVIDER_LOCAL_ID, LearnerId, OrganisationId, parse_uuid
from vitne_api.credential.v1 import credential_pb2 as credential
from vitne_api.issuer.v1 import issuer_pb2 as issuer

#: Ahead of UTC by so much, the calendars of Norway, Sweden and Denmark turn in summer: "today" is the
#: latest date that it is anywhere in the countries served.
LATEST_CALENDAR: Final = timedelta(hours=2)
#: Longest time between a learner's birth and today that is believed.
OLDEST_LEARNER: Final = timedelta(days=125 * 366)


@dataclass(frozen=True, slots=True)
class Part:
    """A credential that is counted, as the institution states it: its artefact digest, and where its status stands."""

    digest: str
    status_list: str
    status_index: int


@dataclass(frozen=True, slots=True)
class Order:
    """An issuance that passed every stateless check, and by which request it came.

    Attributes:
        provider: the organisation that issues, from the caller's token.
        request_id: idempotency key of the call.
        item_id: the batch item's id; empty for a unary call.
        path: of the issuance in the request, for errors.
        learner: who it is for, as the credential says it.
        known_as: what the learner is found by: a provider's own learner ids are scoped by the provider.
        recognition: of prior learning, without the rule that it rests on.
        parts: what is counted towards it.
    """

    provider: OrganisationId
    request_id: UUID
    item_id: str = field(repr=False)
    path: str
    learner: LearnerId
    known_as: LearnerId
    given_name: str = field(repr=False)
    family_name: str = field(repr=False)
    birth_date: date | None = field(repr=False)
    achievement: UUID
    achievement_version: int
    awarded_on: date
    grade: str = field(repr=False)
    expires_on: date | None
    retention: credential.RetentionClass.ValueType
    holder: PublicKey | None = field(repr=False)
    recognition: credential.Recognition | None = None
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def body(self) -> bytes:
        """The bytes that tell a repeated request from another one under the same id.

        Written out here rather than taken from protobuf's serialisation, which is
        not the same for ever.
        """
        return msgspec.json.encode(
            [
                self.learner.scheme,
                self.learner.value,
                self.given_name,
                self.family_name,
                self.birth_date,
                self.achievement,
                self.achievement_version,
                self.awarded_on,
                self.grade,
                self.expires_on,
                int(self.retention),
                self.holder.key_id if self.holder else None,
                # Only where there are any: the requests of earlier releases keep their bytes.
                *self._additions(),
            ]
        )

    def _additions(self) -> Iterator[list[object]]:
        if (act := self.recognition) is not None:
            against = [act.achievement_id, act.achievement_version, *act.outcomes]
            yield ["recognition", int(act.purpose), [*act.methods], [*act.evidence], act.assessor, against]
        if self.parts:
            yield ["parts", *([part.digest, part.status_list, part.status_index] for part in self.parts)]


def admit(
    issuance: issuer.Issuance,
    *,
    provider: OrganisationId,
    request_id: UUID,
    item_id: str = "",
    now: datetime,
    prefix: str = "issuance",
) -> Order:
    """Check an issuance that satisfies the contract's field rules.

    Args:
        issuance: what is to be issued.
        provider: the caller's organisation.
        request_id: idempotency key of the call.
        item_id: the batch item's id, empty for a unary call.
        now: the present instant.
        prefix: path of the issuance in the request, for errors.

    Raises:
        InvalidArgument: ``BAD_LEARNER_ID``, ``UNKNOWN_LEARNER_SCHEME``, ``BAD_NAME``, ``BAD_GRADE``,
            ``BAD_ASSESSOR``, ``DATE_IN_FUTURE``, ``DATES_CONTRADICT``, ``PART_REPEATED``, ``BAD_JWK`` or
            ``PRIVATE_KEY_SENT``.
    """
    learner = issuance.learner
    identity = LearnerId.parse(learner.scheme, learner.value, field=f"{prefix}.learner")
    _check_text(learner.given_name, f"{prefix}.learner.given_name", "BAD_NAME")
    _check_text(learner.family_name, f"{prefix}.learner.family_name", "BAD_NAME")
    if issuance.grade:
        _check_text(issuance.grade, f"{prefix}.grade", "BAD_GRADE")
    today = (now.astimezone(UTC) + LATEST_CALENDAR).date()
    birth_date = date.fromisoformat(learner.birth_date) if learner.birth_date else None
    awarded_on = date.fromisoformat(issuance.awarded_on)
    expires_on = date.fromisoformat(issuance.expires_on) if issuance.expires_on else None
    if awarded_on > today:
        raise InvalidArgument(
            "DATE_IN_FUTURE",
            "the learner can't have achieved it after today",
            field=f"{prefix}.awarded_on",
            rule="awarded_on is today or earlier",
            remedy="issue it when it has been achieved",
        )
    if birth_date is not None and not today - OLDEST_LEARNER <= birth_date <= awarded_on:
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "the date of birth does not go with the date of the award",
            field=f"{prefix}.learner.birth_date",
            rule="birth_date is before awarded_on, and not more than 125 years ago",
            remedy="correct the date, or leave it out",
        )
    if expires_on is not None and expires_on <= awarded_on:
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "it would expire before it was achieved",
            field=f"{prefix}.expires_on",
            rule="expires_on is after awarded_on",
            remedy="correct one of the dates, or leave expires_on out",
        )
    return Order(
        provider=provider,
        request_id=request_id,
        item_id=item_id,
        path=prefix,
        learner=identity,
        known_as=known_as(identity, provider),
        given_name=learner.given_name,
        family_name=learner.family_name,
        birth_date=birth_date,
        achievement=parse_uuid(issuance.achievement_id, field=f"{prefix}.achievement_id"),
        achievement_version=issuance.achievement_version,
        awarded_on=awarded_on,
        grade=issuance.grade,
        expires_on=expires_on,
        retention=issuance.retention,
        recognition=_recognition(issuance, prefix) if issuance.HasField("recognition") else None,
        parts=read_parts(issuance.parts, f"{prefix}.parts"),
        holder=_holder(issuance.holder_jwk, f"{prefix}.holder_jwk") if issuance.holder_jwk else None,
    )


def known_as(identity: LearnerId, provider: OrganisationId) -> LearnerId:
    """A provider's own learner ids belong to that provider: two providers' "1042" are two learners."""
    if identity.scheme == PROVIDER_LOCAL_ID:
        return LearnerId(f"{PROVIDER_LOCAL_ID}/{provider}", identity.value)
    return identity


def _recognition(issuance: issuer.Issuance, prefix: str) -> credential.Recognition:
    act = credential.Recognition()
    act.CopyFrom(issuance.recognition)
    act.ClearField("rule")  # Vitne's to say.
    _check_text(act.assessor, f"{prefix}.recognition.assessor", "BAD_ASSESSOR")
    return act


def read_parts(stated: Sequence[issuer.CountedPart], path: str) -> tuple[Part, ...]:
    """The parts of a whole, as a message that keeps the rules of the contract states them.

    Raises:
        InvalidArgument: ``PART_REPEATED``.
    """
    parts = tuple(Part(one.digest, one.status_list, one.status_index) for one in stated)
    seen: set[object] = set()
    for number, part in enumerate(parts):
        same = {part.digest, (part.status_list, part.status_index)}
        if seen & same:
            raise InvalidArgument(
                "PART_REPEATED",
                "this credential is there twice",
                field=f"{path}[{number}].digest",
                rule="a credential counts once",
                remedy="state each part once",
            )
        seen |= same
    return parts


def _check_text(text: str, name: str, reason: str) -> None:
    if text != text.strip() or not text.isprintable():
        raise InvalidArgument(
            reason,
            "the text has white space around it, or characters that can't be printed",
            field=name,
            rule="printable characters, without white space at the ends",
            remedy="send the text as it is to be read",
        )


def _holder(jwk: str, name: str) -> PublicKey:
    key = parse_public_jwk(jwk, field=name)
    if key.algorithm != ES256:
        raise InvalidArgument(
            "BAD_JWK",
            "a credential is bound to a key for ES256 only",
            field=name,
            rule="kty EC, crv P-256 (RFC 7518, section 6.2.1)",
            remedy="send the P-256 key that the wallet will prove possession of",
        )
    return key
