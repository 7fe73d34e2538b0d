"""Qualifications: how smaller units add up, immutable by version."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from services.registry.desk import Desk, check_next_version, check_responsible
from vitne.accreditation import Projection
from vitne.errors import InvalidArgument, PermissionDenied
from vitne.stacking import Rule, Terms, check, read
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2, qualification_pb2, registry_pb2


def publish(desk: Desk, request: registry_pb2.PublishQualificationRequest) -> facts_pb2.Fact:
    """Publish a version of a qualification: the provider's that awards it, or the authority's that answers for it.

    As with achievements, that it is published does not mean that what it awards may be issued.

    Raises:
        PermissionDenied: ``FOREIGN_QUALIFICATION``, ``OUTSIDE_REMIT``.
        NotFound: ``PROVIDER_UNKNOWN``.
        FailedPrecondition: ``PROVIDER_CLOSED``, ``VERSION_NOT_NEXT``, ``CIRCULAR_STACK``.
        InvalidArgument: ``UNKNOWN_ACHIEVEMENT``, ``FOREIGN_ACHIEVEMENT``; and as :func:`vitne.stacking.check`.
    """
    said = qualification_pb2.Qualification()
    said.CopyFrom(request.qualification)
    if desk.caller != said.provider and desk.projection.authority(desk.caller) is None:
        raise _foreign("qualification.provider")
    provider = desk.open_provider(said.provider, field="qualification.provider")
    if desk.caller != provider.id:
        check_responsible(desk, provider, country_field="qualification.provider", kind_field="qualification.provider")
    awarded = _awarded(desk.projection, said)
    newest = desk.projection.newest_qualification(said.id)
    if newest is not None and newest.provider != said.provider:
        raise _foreign("qualification.id")
    check_next_version("qualification", said.version, newest.version if newest is not None else 0)
    rule = read(said, awarded.kind)
    check(said, rule, Terms.of(desk.frameworks), desk.projection, partial(_awarding, desk.projection))
    said.rule_digest = rule.digest
    return facts_pb2.Fact(subject=provider.id, qualification=said)


def rule_of(projection: Projection, said: qualification_pb2.Qualification) -> Rule:
    """The rule of a published qualification."""
    awarded = projection.achievement(said.awards.id, said.awards.version)
    # It was there when the qualification was published, and facts are never deleted.
    return read(said, awarded.kind if awarded is not None else "")


def _awarding(projection: Projection, achievement_id: str) -> Iterator[Rule]:
    for said in projection.qualifications_awarding(achievement_id):
        yield rule_of(projection, said)


def _awarded(projection: Projection, said: qualification_pb2.Qualification) -> credential_pb2.Achievement:
    awarded = projection.achievement(said.awards.id, said.awards.version)
    if awarded is None:
        raise InvalidArgument(
            "UNKNOWN_ACHIEVEMENT",
            f"no version {said.awards.version} of achievement {said.awards.id} was published",
            field="qualification.awards",
            rule="a qualification awards an achievement of the catalogue",
            remedy="publish the achievement first",
        )
    if awarded.provider != said.provider:
        raise InvalidArgument(
            "FOREIGN_ACHIEVEMENT",
            f"the achievement is {awarded.provider}'s",
            field="qualification.awards",
            rule="a qualification awards an achievement of its provider",
            remedy="name an achievement of the qualification's provider",
        )
    return awarded


def _foreign(field: str) -> PermissionDenied:
    return PermissionDenied(
        "FOREIGN_QUALIFICATION",
        "the qualification is another provider's",
        field=field,
        rule="a qualification is published by the provider that awards it, or by the authority that answers for it",
        remedy="publish it under an id and a provider of your own",
    )
