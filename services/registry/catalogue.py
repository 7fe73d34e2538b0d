"""The catalogue: what can be achieved, immutable by version."""

from __future__ import annotations

from decimal import Decimal

from services.registry.concepts import check_concept
from services.registry.desk import Desk, check_languages, check_next_version
from services.registry.offerings import check_information
from services.registry.scopes import check_field_code
from vitne.credentials.elements import require_elements_of_achievement
from vitne.errors import InvalidArgument, PermissionDenied
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2, registry_pb2


def publish(desk: Desk, request: registry_pb2.PublishAchievementRequest) -> facts_pb2.Fact:
    """Publish a version of an achievement; the calling provider's own.

    That something is in the catalogue does not mean that it may be issued:
    accreditations change, so that is decided at each issuance.

    Raises:
        PermissionDenied: ``FOREIGN_ACHIEVEMENT``.
        NotFound: ``PROVIDER_UNKNOWN``.
        FailedPrecondition: ``PROVIDER_CLOSED``, ``VERSION_NOT_NEXT``.
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING``, ``WORKLOAD_CONTRADICTS``, ``UNKNOWN_TERM``, ``UNKNOWN_LEVEL``,
            ``BAD_FIELD_CODE``, ``BAD_CONCEPT``, ``LANGUAGE_REPEATED``, ``DATES_CONTRADICT``, ``BAD_CURRENCY``.
    """
    achievement = request.achievement
    if achievement.provider != desk.caller:
        raise _foreign("achievement.provider")
    provider = desk.open_provider(achievement.provider, field="achievement.provider")
    _check_workload(achievement)
    require_elements_of_achievement(achievement)
    _check_terms(desk, provider.country, achievement)
    newest = desk.projection.newest_achievement(achievement.id)
    if newest is not None and newest.provider != desk.caller:
        raise _foreign("achievement.id")
    check_next_version("achievement", achievement.version, newest.version if newest is not None else 0)
    return facts_pb2.Fact(subject=provider.id, achievement=achievement)


def _check_workload(achievement: credential_pb2.Achievement) -> None:
    workload = achievement.workload
    if bool(workload.unit) != bool(workload.points):
        raise InvalidArgument(
            "WORKLOAD_CONTRADICTS",
            "credits need both a number and a unit",
            field="achievement.workload.unit" if workload.points else "achievement.workload.points",
            rule="points are counted in a unit of the national framework",
            remedy="state both, or hours alone",
        )
    for name in ("points", "hours"):
        stated = getattr(workload, name)
        if stated and Decimal(stated) == 0:
            raise InvalidArgument(
                "WORKLOAD_CONTRADICTS",
                "a workload is more than nothing",
                field=f"achievement.workload.{name}",
                rule="the notional workload is a mandatory element (Council Recommendation 2022/C 243/02, Annex I)",
                remedy="state the notional workload",
            )


def _check_terms(desk: Desk, country: str, achievement: credential_pb2.Achievement) -> None:
    framework = desk.framework_of(country, field="achievement.provider")
    framework.known(framework.credential_kinds, achievement.kind, "kind of credential", field="achievement.kind")
    if achievement.workload.unit:
        framework.known(framework.units, achievement.workload.unit, "credit unit", field="achievement.workload.unit")
    if achievement.HasField("level"):
        level = achievement.level
        framework.known_level(level.framework, level.level, field="achievement.level")
    for number, outcome in enumerate(achievement.outcomes):
        field = f"achievement.outcomes[{number}]"
        framework.known(
            framework.outcome_categories, outcome.category, "category of outcomes", field=f"{field}.category"
        )
        check_languages(list(outcome.text), field=f"{field}.text")
        for place, concept in enumerate(outcome.concepts):
            check_concept(concept, field=f"{field}.concepts[{place}]")
    if achievement.field:
        check_field_code(achievement.field, field="achievement.field")
    for name in ("title", "prerequisites", "further_information"):
        check_languages(list(getattr(achievement, name)), field=f"achievement.{name}")
    check_information(achievement.catalogue, field="achievement.catalogue")
    check_languages(list(achievement.quality_assurance.internal), field="achievement.quality_assurance.internal")


def _foreign(field: str) -> PermissionDenied:
    return PermissionDenied(
        "FOREIGN_ACHIEVEMENT",
        "the achievement is another provider's",
        field=field,
        rule="a provider publishes only its own achievements",
        remedy="publish it under an id and a provider of your own",
    )
