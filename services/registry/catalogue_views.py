"""An achievement as the catalogue shows it: what somebody needs to know to compare it with another.

The elements are those of the minimum that Danmarks Akkrediteringsinstitution's report on
micro-credentials asks for, with the mandatory and optional elements of the Council
Recommendation 2022/C 243/02, Annex I. Every achievement is shown with all of them: what
its provider does not state is named as not stated, since silence can't be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

from pydantic import BaseModel, Field

from services.registry.views import by_language
from vitne.accreditation import Projection, decide
from vitne.credentials.sd_jwt_vc import achievement_claims
from vitne.frameworks import Framework, Frameworks
from vitne.frameworks.model import Named
from vitne_api.credential.v1 import credential_pb2

#: Elements that a provider may leave unstated; the others always say something.
MAY_BE_UNSTATED: Final = (
    "content",
    "supervision",
    "languages",
    "prerequisites",
    "stackability",
    "field",
    "offerings",
    "homepage",
)

#: Text by language.
Texts: TypeAlias = dict[str, str]


class NamedTerm(BaseModel):
    """A term of the national rules."""

    id: str = Field(examples=["dk.micro_credential"])
    name: Texts = Field(description="By language; empty where the rules no longer have the term.")


class OutcomeView(BaseModel):
    """A learning outcome."""

    category: NamedTerm
    text: Texts
    concepts: list[str] = Field(description="Concepts that it cites, such as ESCO's skills.")


class LevelView(BaseModel):
    """A level of a national framework, and what it was referred to."""

    framework: NamedTerm
    level: str = Field(examples=["5.1"])
    eqf: str = Field(description="Level of the European Qualifications Framework; empty where it was not referred.")


class SizeView(BaseModel):
    """The notional workload."""

    points: str = Field(description="Credits, a decimal; empty without.", examples=["2.5"])
    unit: NamedTerm | None = None
    hours: str = Field(description="Hours, a decimal; empty where not stated.")


class PriceView(BaseModel):
    """What a learner pays; zero: it is free."""

    amount: int
    currency: str = Field(description="ISO 4217.", examples=["NOK"])


class OfferingView(BaseModel):
    """One time that it is offered. Dates are RFC 3339 full-dates, empty where not stated."""

    starts_on: str
    ends_on: str
    apply_by: str
    place: Texts
    price: PriceView | None = Field(default=None, description="Null: not stated.")


class OrganisationView(BaseModel):
    """An organisation."""

    id: str = Field(examples=["0184:30859480"])
    name: Texts = Field(description="By language; empty for one that is no provider here.")


class IssuableView(BaseModel):
    """Whether the provider may issue it today."""

    allowed: bool
    rule: str = Field(description="Rule of the national framework that the answer rests on.")
    accreditation: str = Field(description="Accreditation that allows it, or comes nearest; empty without any.")
    detail: str = Field(description="Why not, in one sentence; empty where it may.")


class CatalogueEntry(BaseModel):
    """The newest version of an achievement."""

    id: str
    version: int
    title: Texts
    provider: OrganisationView
    country: str = Field(description="ISO 3166-1 alpha-2.")
    responsible: Texts = Field(description="Who answers for it towards learners, where that is a part of the provider.")
    creator: OrganisationView | None = Field(default=None, description="Who made it, when that is not the provider.")
    deliverer: OrganisationView | None = Field(
        default=None, description="Who teaches it, when that is not the provider."
    )
    kind: NamedTerm
    formal: bool | None = Field(description="Whether it is a result within the education system; null: not known.")
    content: Texts
    outcomes: list[OutcomeView]
    level: LevelView | None = Field(default=None, description="Null: no framework places it.")
    size: SizeView
    assessment: str = Field(examples=["written"])
    supervision: str = Field(description="Empty: not stated.")
    participation: str = Field(examples=["blended"])
    languages: list[str] = Field(description="Languages that it is taught and assessed in (BCP 47).")
    prerequisites: Texts
    stackability: str = Field(description="Empty: not stated.")
    part_of: str
    quality_assurance: Texts
    external_quality_assurance: OrganisationView | None = None
    field: str = Field(description="ISCED-F 2013; empty: not stated.")
    valid_months: int = Field(description="Months after the award for which a credential counts; 0: without end.")
    offerings: list[OfferingView]
    wallet_transfer: bool = Field(description="Whether learners may take its credentials over to a wallet of theirs.")
    homepage: str
    further_information: Texts
    not_stated: list[str] = Field(description="Elements of the minimum that the provider does not state.")
    issuable: IssuableView


class CatalogueAnswer(BaseModel):
    """A page of the catalogue."""

    registry_revision: int
    achievements: list[CatalogueEntry]
    after: str | None = Field(
        description="Ask again with this for the next page, which may exist though this one is not full; null: the end."
    )


class CatalogueViews:
    """Shows achievements.

    Args:
        projection: what is known.
        frameworks: the national rules, with their names for things.
    """

    def __init__(self, projection: Projection, frameworks: Frameworks) -> None:
        self._projection = projection
        self._frameworks = frameworks

    def entry(self, achievement: credential_pb2.Achievement, now: datetime) -> CatalogueEntry:
        """One achievement, whole."""
        provider = self._projection.provider(achievement.provider)
        country = provider.country if provider is not None else ""
        framework = self._frameworks.country(country)
        claims, more, quality = achievement_claims(achievement), achievement.catalogue, achievement.quality_assurance
        kind = framework.credential_kinds.get(achievement.kind) if framework else None
        entry = CatalogueEntry(
            id=achievement.id,
            version=achievement.version,
            title=by_language(achievement.title),
            provider=self.organisation(achievement.provider),
            country=country,
            responsible=by_language(more.responsible),
            creator=self.organisation(achievement.creator) if achievement.creator else None,
            deliverer=self.organisation(achievement.deliverer) if achievement.deliverer else None,
            kind=_named(framework.credential_kinds if framework else None, achievement.kind),
            formal=kind.formal if kind is not None else None,
            content=by_language(more.content),
            outcomes=[
                OutcomeView(
                    category=_named(framework.outcome_categories if framework else None, outcome.category),
                    text=by_language(outcome.text),
                    concepts=list(outcome.concepts),
                )
                for outcome in achievement.outcomes
            ],
            level=_level(achievement.level, framework) if achievement.HasField("level") else None,
            size=_size(achievement.workload, framework),
            assessment=claims["assessment"],
            supervision=claims.get("supervision", ""),
            participation=claims["participation"],
            languages=list(more.languages),
            prerequisites=by_language(achievement.prerequisites),
            stackability=claims.get("stackability", ""),
            part_of=achievement.part_of,
            quality_assurance=by_language(quality.internal),
            external_quality_assurance=self.organisation(quality.external_body) if quality.external_body else None,
            field=achievement.field,
            valid_months=more.valid_months,
            offerings=[_offering(offering) for offering in more.offerings],
            wallet_transfer=more.wallet_transfer,
            homepage=more.homepage,
            further_information=by_language(achievement.further_information),
            not_stated=[],
            issuable=self._issuable(achievement, now),
        )
        entry.not_stated = [name for name in MAY_BE_UNSTATED if not getattr(entry, name)]
        return entry

    def organisation(self, organisation: str) -> OrganisationView:
        """An organisation by its name."""
        known = self._projection.provider(organisation) or self._projection.authority(organisation)
        return OrganisationView(id=organisation, name=by_language(known.name) if known is not None else {})

    def _issuable(self, achievement: credential_pb2.Achievement, now: datetime) -> IssuableView:
        outcome = decide(
            self._projection, self._frameworks, achievement.provider, achievement.id, achievement.version, now
        )
        return IssuableView(
            allowed=outcome.allowed,
            rule=outcome.rule,
            accreditation=outcome.accreditation_id,
            detail="" if outcome.allowed else outcome.message,
        )


def _named(terms: Mapping[str, Named] | None, term: str) -> NamedTerm:
    known = terms.get(term) if terms else None
    return NamedTerm(id=term, name=dict(known.name) if known is not None else {})


def _level(level: credential_pb2.Level, framework: Framework | None) -> LevelView:
    eqf = framework.levels.get((level.framework, level.level), "") if framework else ""
    return LevelView(
        framework=_named(framework.level_frameworks if framework else None, level.framework), level=level.level, eqf=eqf
    )


def _size(workload: credential_pb2.Workload, framework: Framework | None) -> SizeView:
    unit = _named(framework.units if framework else None, workload.unit) if workload.unit else None
    return SizeView(points=workload.points, unit=unit, hours=workload.hours)


def _offering(offering: credential_pb2.Offering) -> OfferingView:
    price = offering.price
    return OfferingView(
        starts_on=offering.starts_on,
        ends_on=offering.ends_on,
        apply_by=offering.apply_by,
        place=by_language(offering.place),
        price=PriceView(amount=price.amount, currency=price.currency) if offering.HasField("price") else None,
    )
