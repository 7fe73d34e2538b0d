"""What the registry shows to anyone, as plain JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from vitne.accreditation import Held, Projection, instant
from vitne.accreditation.facts import milliseconds
from vitne.canonical import instant_text
from vitne.frameworks import Frameworks
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

#: Every use that a key can have.
_USES: Final = tuple(use for use in facts_pb2.KeyUse.values() if use != facts_pb2.KEY_USE_UNSPECIFIED)


def authorities(projection: Projection) -> list[dict[str, Any]]:
    """Every authority with its remit."""
    found = (projection.authority(authority) for authority in projection.authority_ids())
    return [
        {
            "id": authority.id,
            "name": by_language(authority.name),
            "synthetic": authority.synthetic,
            "country": authority.remit.country,
            "provider_kinds": list(authority.remit.provider_kinds),
            "accreditation_kinds": list(authority.remit.accreditation_kinds),
        }
        for authority in found
        if authority is not None
    ]


def providers(
    projection: Projection, frameworks: Frameworks, now: datetime, limit: int, *, after: str = ""
) -> Iterator[dict[str, Any]]:
    """Up to ``limit`` providers beyond one, by id, with accreditations and keys as they stand at ``now``."""
    for provider_id in projection.provider_ids(after, limit):
        provider = projection.provider(provider_id)
        if provider is None:
            continue
        framework = frameworks.country(provider.country)
        kinds = framework.provider_kinds if framework else {}
        yield {
            "id": provider.id,
            "name": by_language(provider.name),
            "display_name": _first(provider.name),
            "country": provider.country,
            "kind": provider.kind,
            "kind_name": kinds[provider.kind].name["en"] if provider.kind in kinds else provider.kind,
            "issuer_uri": provider.issuer_uri,
            "synthetic": provider.synthetic,
            "closed_at": instant_text(instant(provider.closed_at)) if provider.HasField("closed_at") else None,
            "succeeded_by": provider.succeeded_by or None,
            "accreditations": [
                _accreditation(held, frameworks, provider.country, now)
                for held in projection.accreditations_of(provider_id)
            ],
            "keys": [_plain(key, drop=("owner",)) for use in _USES for key in projection.keys_of(provider_id, use)],
        }


def achievements(projection: Projection, *, provider: str = "", after: UUID | None = None) -> Iterator[dict[str, Any]]:
    """The newest version of every achievement, by id; of one provider, beyond one id."""
    for achievement in projection.achievements(provider, after):
        yield {
            **_plain(achievement),
            "display_title": _first(achievement.title),
            "size": _size(achievement.workload),
            "placed": f"{achievement.level.framework} {achievement.level.level}"
            if achievement.HasField("level")
            else "",
        }


def qualifications(
    projection: Projection, *, provider: str = "", after: UUID | None = None
) -> Iterator[dict[str, Any]]:
    """The newest version of every qualification, by id, with the title of what it awards."""
    for qualification in projection.qualifications(provider, after):
        awarded = projection.achievement(qualification.awards.id, qualification.awards.version)
        yield {**_plain(qualification), "title": by_language(awarded.title) if awarded is not None else {}}


def _accreditation(held: Held, frameworks: Frameworks, country: str, now: datetime) -> dict[str, Any]:
    revision = held.at(milliseconds(now)) or held.newest
    said = revision.fact.accreditation
    framework = frameworks.country(country)
    kinds = framework.accreditation_kinds if framework else {}
    return {
        "id": held.id,
        "revision": revision.revision,
        "kind": held.kind,
        "kind_name": kinds[held.kind].name["en"] if held.kind in kinds else held.kind,
        "authority": held.authority,
        "state": facts_pb2.AccreditationState.Name(said.state).removeprefix("ACCREDITATION_STATE_").lower(),
        "effective_from": instant_text(instant(said.effective_from)),
        "valid_from": instant_text(instant(said.valid_from)),
        "valid_until": instant_text(instant(said.valid_until)) if said.HasField("valid_until") else None,
        "review_at": instant_text(instant(said.review_at)) if said.HasField("review_at") else None,
        "conditions": [_plain(condition) for condition in said.conditions],
        "scope": _plain(said.scope),
        "covers": _covers(said.scope),
    }


def _covers(scope: facts_pb2.Scope) -> str:
    """A scope in one line."""
    parts = []
    if scope.levels:
        parts.append("levels " + ", ".join(f"{level.framework} {level.level}" for level in scope.levels))
    else:
        parts.append("without level")
    if scope.credit_unit:
        least = f"from {scope.min_points} " if scope.min_points else ""
        most = f"to {scope.max_points} " if scope.max_points else ""
        parts.append(f"{least}{most}{scope.credit_unit}")
    else:
        parts.append("without credits")
    if scope.fields:
        parts.append("fields " + ", ".join(scope.fields))
    if scope.educations:
        parts.append("educations " + ", ".join(scope.educations))
    return "; ".join(parts)


def _size(workload: credential_pb2.Workload) -> str:
    points = f"{workload.points} {workload.unit}" if workload.points else ""
    hours = f"{workload.hours} hours" if workload.hours else ""
    return ", ".join(filter(None, (points, hours)))


def by_language(texts: Sequence[credential_pb2.LocalisedText]) -> dict[str, str]:
    """Localised texts as a mapping, in their order."""
    return {text.language: text.text for text in texts}


def _first(texts: Sequence[credential_pb2.LocalisedText]) -> str:
    return texts[0].text if texts else ""


def _plain(message: Message, drop: tuple[str, ...] = ()) -> dict[str, Any]:
    record: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return {name: value for name, value in record.items() if name not in drop}
