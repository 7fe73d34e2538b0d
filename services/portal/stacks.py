"""A learner's credentials by the qualifications that they are parts of: how far along, and what is missing.

Pure. What adds up is the registry's to say (``EvaluateStacking``); the question holds achievements and days, and names
each credential by its place on the page, so that neither learner nor handle leaves the portal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.portal.presentation import FETCHED, Shown
from services.portal.texts import best_text
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import qualification_pb2, stacking_pb2

#: Titles by language, by id of the achievement.
Titles = Mapping[str, Mapping[str, str]]

#: Credentials that the registry answers for at once; of more, the newest are asked about.
MAX_CREDENTIALS: Final = 200
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
class Part:
    """One thing that a qualification asks for.

    Attributes:
        key: its name in the qualification's rule.
        title: the achievement's, in the reader's language as far as it exists in it; empty where it is one of several.
        title_language: BCP 47 tag of ``title``.
        handles: of her credentials that were counted for it.
        by_recognition: whether one of them was, by recognition of prior learning.
        have: what is there where something is missing: credits or a count, a decimal; None where nothing is.
        need: what is asked for; None where nothing is missing.
        unit: term of the unit of credits; empty where credits are not counted.
    """

    key: str
    title: str
    title_language: str
    handles: tuple[str, ...]
    by_recognition: bool
    have: str | None
    need: str | None
    unit: str


@dataclass(frozen=True, slots=True)
class Stack:
    """One qualification and how far she is along.

    Attributes:
        id: the qualification's.
        title: of what is awarded for it.
        title_language: BCP 47 tag of ``title``.
        outcome: ``complete``, ``incomplete`` or ``undetermined``.
        percent: how far along.
        parts: what counts towards it or is missing, in the rule's order.
        not_counted: handles of her credentials that might count, with the stable reason why they don't.
    """

    id: str
    title: str
    title_language: str
    outcome: str
    percent: int
    parts: tuple[Part, ...]
    not_counted: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Members as documented on the class."""
        return asdict(self)


def question(shown: Sequence[Shown]) -> stacking_pb2.EvaluateStackingRequest:
    """What to ask the registry: every credential whose newest state is here, by its place in ``shown``."""
    credentials = [
        stacking_pb2.StackedCredential(
            reference=str(place),
            achievement=qualification_pb2.AchievementVersion(id=one.achievement, version=one.achievement_version or 0),
            awarded_on=one.awarded_on or "",
            expires_on=one.expires_on or "",
            status=_STATUSES[one.status],
        )
        for place, one in enumerate(shown)
        if one.achievement is not None and one.state == FETCHED and one.status in _STATUSES
    ]
    return stacking_pb2.EvaluateStackingRequest(credentials=credentials[:MAX_CREDENTIALS])


def stacks(
    shown: Sequence[Shown],
    answers: Sequence[stacking_pb2.StackingAnswer],
    qualifications: Mapping[tuple[str, int], qualification_pb2.Qualification],
    titles: Titles,
    languages: Sequence[str],
) -> list[Stack]:
    """Her qualifications, the furthest along first.

    Args:
        shown: what :func:`question` was made of.
        answers: what the registry answered.
        qualifications: by id and version, those of the answers; an answer without is left out.
        titles: of the achievements that they award and ask for.
        languages: the reader's, best first.
    """
    found = [
        _stack(shown, answer, qualification, titles, languages)
        for answer in answers
        if (qualification := qualifications.get((answer.qualification_id, answer.version))) is not None
        # What only others' parts lead to is not hers to be shown: something of hers counts.
        and answer.counted
    ]
    found.sort(key=lambda one: (-one.percent, one.title, one.id))
    return found


def _stack(
    shown: Sequence[Shown],
    answer: stacking_pb2.StackingAnswer,
    qualification: qualification_pb2.Qualification,
    titles: Titles,
    languages: Sequence[str],
) -> Stack:
    counted: dict[str, list[stacking_pb2.CountedCredential]] = {}
    for one in answer.counted:
        counted.setdefault(one.requirement, []).append(one)
    missing = {one.requirement: one for one in answer.missing}
    parts = []
    for requirement in _requirements(qualification.requirement):
        mine, lacks = counted.get(requirement.key, []), missing.get(requirement.key)
        if not mine and lacks is None:
            continue
        single = requirement.achievement.id if requirement.HasField("achievement") else ""
        language, title = best_text(titles.get(single, {}), languages)
        parts.append(
            Part(
                key=requirement.key,
                title=title,
                title_language=language,
                handles=tuple(shown[int(one.reference)].handle for one in mine),
                by_recognition=any(one.by_recognition for one in mine),
                have=lacks.have if lacks is not None else None,
                need=lacks.need if lacks is not None else None,
                unit=requirement.points_of.unit,
            )
        )
    language, title = best_text(titles.get(answer.awards.id, {}), languages)
    return Stack(
        id=answer.qualification_id,
        title=title,
        title_language=language,
        outcome=_OUTCOMES.get(answer.outcome, "undetermined"),
        percent=answer.percent,
        parts=tuple(parts),
        not_counted=tuple((shown[int(one.reference)].handle, one.reason) for one in answer.uncounted),
    )


def _requirements(requirement: qualification_pb2.Requirement) -> Iterator[qualification_pb2.Requirement]:
    """A requirement and all within it, in their order."""
    yield requirement
    for part in (*requirement.all_of.requirements, *requirement.n_of.requirements):
        yield from _requirements(part)
