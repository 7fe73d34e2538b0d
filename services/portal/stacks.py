"""A learner's credentials by the qualifications that they are parts of: how far along, and what is missing.

Pure. What adds up is the registry's to say (``EvaluateStacking``); the question holds achievements and days, and names
each credential by its place on the page, so that neither learner nor handle leaves the portal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.portal.presentation import FETCHED, KINDS, Shown, kind_name, unequal_to
from services.portal.texts import best_text, page_texts
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import qualification_pb2, stacking_pb2

#: Credentials that the registry answers for at once; of more, the newest are asked about.
MAX_CREDENTIALS: Final = 200
#: Qualifications on a page: the furthest along.
MAX_STACKS: Final = 20
_STATUSES: Final = {
    "valid": credential_pb2.STATUS_VALID,
    # It has expired by its own date, which the question states as well.
    "expired": credential_pb2.STATUS_VALID,
    "suspended": credential_pb2.STATUS_SUSPENDED,
    "revoked": credential_pb2.STATUS_REVOKED,
}
_OUTCOMES: Final = {
    stacking_pb2.STACKING_OUTCOME_COMPLETE: "complete",
    stacking_pb2.STACKING_OUTCOME_INCOMPLETE: "incomplete",
}


@dataclass(frozen=True, slots=True)
class Named:
    """An achievement on the page.

    Attributes:
        title: in the reader's language as far as it exists in it; empty where it is not known.
        title_language: BCP 47 tag of ``title``.
        formal: whether it belongs to the education system; None where that is not known.
    """

    title: str
    title_language: str
    formal: bool | None


@dataclass(frozen=True, slots=True)
class Counted:
    """One of her credentials that counts for a part.

    Attributes:
        handle: its name for this hub.
        achievement: what it is for.
        by_recognition: whether it counts by recognition of prior learning.
        points: credits that it adds, a decimal; empty where credits are not counted.
    """

    handle: str
    achievement: Named
    by_recognition: bool
    points: str


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a qualification asks for.

    Attributes:
        key: its name in the qualification's rule.
        achievement: the one that it asks for; None where it is several.
        counted: her credentials that were counted for it.
        have: what is there where something is missing: credits or a count, a decimal; None where nothing is.
        need: what is asked for; None where nothing is missing.
        unit: term of the unit of credits; empty where credits are not counted.
        choices: what would help, where it is one of several.
    """

    key: str
    achievement: Named | None
    counted: tuple[Counted, ...]
    have: str | None
    need: str | None
    unit: str
    choices: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Uncounted:
    """One of her credentials that might count, and does not.

    Attributes:
        handle: its name for this hub.
        achievement: what it is for.
        reason: stable, as the registry says it.
    """

    handle: str
    achievement: Named
    reason: str


@dataclass(frozen=True, slots=True)
class Stack:
    """One qualification and how far she is along.

    Attributes:
        id: the qualification's.
        awards: what is awarded for it.
        kind_name: the kind of credential that it leads to, in words.
        level_framework: qualifications framework of ``level``; empty without a level.
        level: its level as that framework writes it; empty without one.
        unequal_to: kinds, in words, whose equal it is not, though it may share a level with them.
        outcome: ``complete``, ``incomplete`` or ``undetermined``.
        percent: how far along.
        parts: what counts towards it or is missing, in the rule's order.
        uncounted: her credentials that might count, and don't.
    """

    id: str
    awards: Named
    kind_name: str
    level_framework: str
    level: str
    unequal_to: tuple[str, ...]
    outcome: str
    percent: int
    parts: tuple[Part, ...]
    uncounted: tuple[Uncounted, ...]

    def to_json(self) -> dict[str, Any]:
        """Members as documented on the class."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AddingUp:
    """What her credentials add up to.

    Attributes:
        stacks: her qualifications, the furthest along first.
        unread: how many qualifications nobody could be asked about: one of them may be hers.
    """

    stacks: tuple[Stack, ...] = ()
    unread: int = 0


def question(shown: Sequence[Shown]) -> stacking_pb2.EvaluateStackingRequest:
    """What to ask the registry: every credential whose newest state is here, by its place in ``shown``."""
    credentials = [
        stacking_pb2.StackedCredential(
            reference=str(place),
            achievement=qualification_pb2.AchievementVersion(id=one.achievement, version=one.achievement_version or 0),
            awarded_on=one.awarded_on or "",
            expires_on=one.expires_on or "",
            status=_STATUSES[one.status],
            recognised_as=_recognised_as(one),
        )
        for place, one in enumerate(shown)
        if one.achievement is not None and one.state == FETCHED and one.status in _STATUSES
    ]
    return stacking_pb2.EvaluateStackingRequest(credentials=credentials[:MAX_CREDENTIALS], describe=True)


def stacks(shown: Sequence[Shown], answer: stacking_pb2.EvaluateStackingResponse, languages: Sequence[str]) -> AddingUp:
    """Her qualifications, at most :data:`MAX_STACKS`.

    Args:
        shown: what :func:`question` was made of.
        answer: what the registry answered.
        languages: the reader's, best first.
    """
    page = _Page(shown, answer, languages)
    # What only others' parts lead to is not hers to be shown: something of hers counts.
    found = [stack for one in answer.answers if one.counted and (stack := page.stack(one)) is not None]
    found.sort(key=lambda one: (-one.percent, one.awards.title, one.id))
    return AddingUp(tuple(found[:MAX_STACKS]), len(answer.not_read))


def _recognised_as(one: Shown) -> stacking_pb2.RecognisedAs | None:
    if one.counts_as is None:
        return None
    return stacking_pb2.RecognisedAs(
        body=one.provider,
        achievement=qualification_pb2.AchievementVersion(id=one.counts_as, version=one.counts_as_version or 0),
        decided_on=one.awarded_on or "",
    )


class _Page:
    """Answers in words."""

    def __init__(
        self, shown: Sequence[Shown], answer: stacking_pb2.EvaluateStackingResponse, languages: Sequence[str]
    ) -> None:
        self._shown = shown
        self._languages = languages
        self._texts = page_texts(languages)
        self._achievements = {one.id: one for one in answer.achievements}
        self._qualifications = {(one.id, one.version): one for one in answer.qualifications}

    def stack(self, answer: stacking_pb2.StackingAnswer) -> Stack | None:
        """One qualification; None where the answer does not describe it."""
        qualification = self._qualifications.get((answer.qualification_id, answer.version))
        awarded = self._achievements.get(answer.awards.id)
        if qualification is None or awarded is None:
            return None
        return Stack(
            id=answer.qualification_id,
            awards=self._named(answer.awards.id),
            kind_name=kind_name(awarded.kind, self._texts, self._languages),
            level_framework=awarded.level.framework,
            level=awarded.level.level,
            unequal_to=unequal_to(awarded.kind, self._texts, self._languages) if awarded.HasField("level") else (),
            outcome=_OUTCOMES.get(answer.outcome, "undetermined"),
            percent=answer.percent,
            parts=tuple(self._parts(answer, qualification)),
            uncounted=tuple(
                Uncounted(self._of(one.reference).handle, self._hers(one.reference), one.reason)
                for one in answer.uncounted
            ),
        )

    def _parts(
        self, answer: stacking_pb2.StackingAnswer, qualification: qualification_pb2.Qualification
    ) -> Iterator[Part]:
        requirements = {one.key: one for one in _requirements(qualification.requirement)}
        counted: dict[str, list[stacking_pb2.CountedCredential]] = {}
        for one in answer.counted:
            counted.setdefault(one.requirement, []).append(one)
        missing = {one.requirement: one for one in answer.missing}
        for requirement in requirements.values():
            mine, lacks = counted.get(requirement.key, []), missing.get(requirement.key)
            if not mine and lacks is None:
                continue
            single = requirement.achievement.id if requirement.HasField("achievement") else ""
            yield Part(
                key=requirement.key,
                achievement=self._named(single) if single else None,
                counted=tuple(
                    Counted(self._of(one.reference).handle, self._hers(one.reference), one.by_recognition, one.points)
                    for one in mine
                ),
                have=lacks.have if lacks is not None else None,
                need=lacks.need if lacks is not None else None,
                unit=requirement.points_of.unit,
                choices=tuple(self._choices(requirement, requirements, lacks)) if lacks is not None else (),
            )

    def _choices(
        self,
        requirement: qualification_pb2.Requirement,
        requirements: Mapping[str, qualification_pb2.Requirement],
        lacks: stacking_pb2.MissingRequirement,
    ) -> Iterator[Named]:
        """What would help where something is missing of several things, each once."""
        helping = [one for key in lacks.any_of for one in _achievements(requirements[key])]
        helping += [one.id for one in requirement.points_of.achievements]
        has = {one.counts_as or one.achievement for one in self._shown}
        for achievement in dict.fromkeys(helping):
            if achievement not in has:
                yield self._named(achievement)

    def _named(self, achievement: str) -> Named:
        known = self._achievements.get(achievement)
        if known is None:
            return Named("", "", None)
        language, title = best_text({text.language: text.text for text in known.title}, self._languages)
        kind = KINDS.get(known.kind)
        return Named(title, language, kind.formal if kind else None)

    def _of(self, reference: str) -> Shown:
        return self._shown[int(reference)]

    def _hers(self, reference: str) -> Named:
        one = self._of(reference)
        return Named(one.title or "", one.title_language or "", one.formal)


def _requirements(requirement: qualification_pb2.Requirement) -> Iterator[qualification_pb2.Requirement]:
    """A requirement and all within it, in their order."""
    yield requirement
    for part in (*requirement.all_of.requirements, *requirement.n_of.requirements):
        yield from _requirements(part)


def _achievements(requirement: qualification_pb2.Requirement) -> Iterator[str]:
    """Ids of all that a requirement names."""
    for one in _requirements(requirement):
        if one.HasField("achievement"):
            yield one.achievement.id
        yield from (part.id for part in one.points_of.achievements)
