"""A presented credential in words, for whoever it is shared with: only what the presentation discloses. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.portal.presentation import Shown, day_text, describe
from services.portal.sharing.document import Line
from services.portal.store import Kept
from services.portal.texts import STANDINGS, best_text
from vitne.credentials import sd_jwt_vc
from vitne.credentials.model import Credential
from vitne.errors import InvalidArgument
from vitne.frameworks import LAW


@dataclass(frozen=True, slots=True)
class Outcome:
    """A learning outcome, and the language that it is written in."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a presentation says.

    Attributes:
        shown: what every page says of a credential.
        name: the learner's, as far as it is disclosed; empty where it isn't.
        birth_date: likewise; ISO 8601.
        identifier: likewise.
        outcomes: what she knows and can do.
        standing: of the national rule that it was issued under, where that is not the law's: ``pilot``, ``proposed``.
    """

    shown: Shown
    name: str
    birth_date: str
    identifier: str
    outcomes: tuple[Outcome, ...]
    standing: str


def tell(artefact: str, languages: Sequence[str], today: date) -> Told | None:
    """A presentation in the reader's language; None for one that this release can't read.

    Args:
        artefact: SD-JWT VC in compact form.
        languages: the reader's, best first.
        today: decides what has expired.
    """
    try:
        credential = sd_jwt_vc.parse(artefact).credential
    except InvalidArgument:
        return None
    # No status: that is for the verifier to say.
    kept = Kept("", credential.achievement.kind, str(credential.awarding_body.id), artefact, None, False, None)
    learner = credential.learner
    return Told(
        shown=describe(kept, credential, languages, today),
        name=" ".join(filter(None, (learner.given_name, learner.family_name))),
        birth_date=learner.birth_date.isoformat() if learner.birth_date else "",
        identifier=learner.id.value if learner.id else "",
        outcomes=_outcomes(credential, languages),
        standing=_standing(credential),
    )


def _outcomes(credential: Credential, languages: Sequence[str]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(*best_text({text.language: text.text for text in outcome.text}, languages))
        for outcome in credential.achievement.outcomes
    )


def _standing(credential: Credential) -> str:
    # A rule that this release doesn't know, the verifier says.
    standing = STANDINGS.get(credential.decision.rule)
    return "" if standing is None or standing in LAW else standing.value


def lines(told: Told, t: Mapping[str, Any]) -> list[Line]:
    """The same as labels and values, in the order of a page; what is not disclosed has no line.

    Args:
        told: what a presentation says.
        t: the reader's texts.
    """
    one = told.shown
    where = f", {one.country_name}" if one.country_name else ""
    framework = t["frameworks"].get(one.level_framework, one.level_framework)
    said = (
        Line(t["shared"]["name"], told.name),
        Line(t["shared"]["birth_date"], day_text(told.birth_date, t) or ""),
        Line(t["shared"]["identifier"], told.identifier),
        Line(t["provider"], one.provider_name or one.provider, one.provider_language or "", where),
        Line(t["kind"], one.kind_name, one.kind_language or ""),
        Line(t["size"], one.size or ""),
        Line(t["level"], f"{one.level} ({framework})" if one.level else ""),
        Line(t["awarded_on"], day_text(one.awarded_on, t) or ""),
        Line(t["grade"], one.grade or ""),
        Line(t["expires_on"], day_text(one.expires_on, t) or ""),
        Line(t["rule"], t["standings"].get(told.standing, told.standing)),
    )
    return [line for line in said if line.value]
