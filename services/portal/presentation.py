"""A learner's credentials as her page and its JSON show them. Pure: from what is kept to what is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from services.portal.store import Kept
from services.portal.texts import RULES, best_text, page_texts
from vitne.canonical import instant_text, sha256
from vitne.credentials import sd_jwt_vc
from vitne.credentials.model import Credential
from vitne.errors import InvalidArgument
from vitne.stacking import counts_whole, purpose_of

#: The decimal that takes the singular.
ONE: Final = "1"
#: Kinds of credential as the national rules have them: in each country's own words, and whether they are formal.
KINDS: Final = {kind.id: kind for framework in RULES for kind in framework.credential_kinds.values()}

FETCHED: Final = "fetched"
FETCHING: Final = "fetching"
#: It is here, and no longer decrypts.
UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True)
class Shown:
    """One credential as shown; what is not known or does not apply is None.

    Attributes:
        handle: its name for this hub.
        id: the credential's own id.
        state: ``fetching`` while the newest is not here yet, ``unreadable`` where it no longer decrypts; ``fetched``.
        status: ``valid``, ``suspended``, ``revoked``, ``expired``; ``unknown`` while fetching.
        formal: whether it belongs to the education system; None for kinds that are not known here.
        kind: term of its kind.
        kind_name: the kind in words.
        kind_language: BCP 47 tag of ``kind_name`` where that is not in the page's language; None where it is.
        title: in the reader's language, as far as it exists in it.
        title_language: BCP 47 tag of ``title``.
        provider: organisation that issued it.
        provider_name: its name, in the reader's language as far as it has one in it.
        provider_language: BCP 47 tag of ``provider_name``.
        country: ISO 3166-1 alpha-2 code of the provider.
        country_name: in words.
        points: credits, a decimal.
        unit: term of their unit.
        hours: notional hours, a decimal.
        size: points and unit, or hours, in words.
        level_framework: qualifications framework of ``level``.
        level: the level as that framework writes it.
        awarded_on: day of achievement.
        expires_on: first day on which it no longer counts.
        grade: result as the provider writes it.
        achievement: id of what was achieved.
        achievement_version: its version.
        fetched_at: when it was fetched last.
        recognised_for: purpose, where it documents recognition of prior learning: ``admission``, ``exemption`` or
            ``qualification``.
        counts_as: id of the achievement that it counts as by recognition; None where for nothing whole.
        counts_as_version: its version.
        unequal_to: kinds, in words, whose equal it is not, though it may share a level with them.
        accreditation: id of the accreditation that it was issued under.
    """

    handle: str
    state: str
    status: str
    formal: bool | None
    kind: str
    kind_name: str
    provider: str
    kind_language: str | None = None
    id: str | None = None
    title: str | None = None
    title_language: str | None = None
    provider_name: str | None = None
    provider_language: str | None = None
    country: str | None = None
    country_name: str | None = None
    points: str | None = None
    unit: str | None = None
    hours: str | None = None
    size: str | None = None
    level_framework: str | None = None
    level: str | None = None
    awarded_on: str | None = None
    expires_on: str | None = None
    grade: str | None = None
    achievement: str | None = None
    achievement_version: int | None = None
    fetched_at: str | None = None
    recognised_for: str | None = None
    counts_as: str | None = None
    counts_as_version: int | None = None
    unequal_to: tuple[str, ...] = ()
    accreditation: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Members as documented on the class."""
        return asdict(self)


#: What a credential says in a reader's words: members of :class:`Shown`, neither name nor number of the learner's.
Words = Mapping[str, Any]


def show(
    kept: Sequence[Kept],
    languages: Sequence[str],
    today: date,
    known: MutableMapping[bytes, Words | None] | None = None,
) -> list[Shown]:
    """A learner's credentials, newest achievement first, those that are not here yet last.

    Args:
        kept: what the portal has.
        languages: the reader's, best first.
        today: decides what has expired.
        known: what of these was read before in these languages, by the digest of each artefact; what is read now is
            added to it. None in it: it can't be read.
    """
    texts = page_texts(languages)
    shown = [_show(one, _words(one, texts, languages, known), texts, languages, today) for one in kept]
    return newest_first(shown)


def newest_first(shown: Iterable[Shown]) -> list[Shown]:
    """In the order of :func:`show`."""
    by_title = sorted(shown, key=lambda one: (one.title or "", one.handle))
    return sorted(by_title, key=lambda one: one.awarded_on or "", reverse=True)


def describe(kept: Kept, credential: Credential | None, languages: Sequence[str], today: date) -> Shown:
    """One credential that was read already.

    Args:
        kept: what the portal has of it.
        credential: what that says (:func:`read`).
        languages: the reader's, best first.
        today: decides what has expired.
    """
    texts = page_texts(languages)
    return _show(kept, _in_words(credential, texts, languages), texts, languages, today)


def _show(kept: Kept, words: Words | None, texts: Mapping[str, Any], languages: Sequence[str], today: date) -> Shown:
    kind = KINDS.get(kept.kind)
    kind_language, kind_text = named_kind(kept.kind, texts, languages)
    common: dict[str, Any] = {
        "handle": kept.handle,
        "state": FETCHING if kept.pending else UNREADABLE if kept.unreadable else FETCHED,
        # What is known to be out of date is not shown as if it held.
        "status": "unknown" if kept.pending else kept.status or "unknown",
        "formal": None if kind is None else kind.formal,
        "kind": kept.kind,
        "kind_name": kind_text,
        "kind_language": kind_language if kind_language != texts["language"] else None,
        "provider": kept.provider,
        "fetched_at": instant_text(kept.fetched_at) if kept.fetched_at else None,
    }
    if words is None:
        # That it exists and where it comes from is still hers to see.
        return Shown(**common)
    if common["status"] == "valid" and words["expires_on"] and words["expires_on"] <= today.isoformat():
        common["status"] = "expired"
    return Shown(**common, **words)


def _words(
    kept: Kept,
    texts: Mapping[str, Any],
    languages: Sequence[str],
    known: MutableMapping[bytes, Words | None] | None,
) -> Words | None:
    """What it says; None where that can't be read. Most of a page's time goes into reading."""
    digest = sha256(kept.artefact.encode()) if kept.artefact is not None and known is not None else b""
    if known is not None and digest in known:
        return known[digest]
    words = _in_words(read(kept), texts, languages)
    if known is not None and digest:
        known[digest] = words
    return words


def _in_words(credential: Credential | None, texts: Mapping[str, Any], languages: Sequence[str]) -> Words | None:
    return None if credential is None else {**_said(credential, texts, languages), **_recognised(credential)}


def read(kept: Kept) -> Credential | None:
    """What a credential says; None where it is not here, does not decrypt, or is of another type or a newer version."""
    whole = read_whole(kept)
    return None if whole is None else whole.credential


def read_whole(kept: Kept) -> sd_jwt_vc.Presentation | None:
    """The same with what can be withheld of it."""
    if kept.artefact is None:
        return None
    try:
        return sd_jwt_vc.parse(kept.artefact)
    except InvalidArgument:
        return None


def named_kind(kind: str, texts: Mapping[str, Any], languages: Sequence[str]) -> tuple[str | None, str]:
    """A kind of credential in words, and before that their language: the page's words, else those of the national
    rules, else its term, which is in none.
    """
    if (own := texts["kinds"].get(kind)) is not None:
        return texts["language"], own
    known = KINDS.get(kind)
    return best_text(known.name, languages) if known else (None, kind)


def kind_name(kind: str, texts: Mapping[str, Any], languages: Sequence[str]) -> str:
    """The words of :func:`named_kind`."""
    return named_kind(kind, texts, languages)[1]


def unequal_to(kind: str, texts: Mapping[str, Any], languages: Sequence[str]) -> tuple[str, ...]:
    """The kinds, in words, that a kind is never shown as the same as, though they may share a level."""
    known = KINDS.get(kind)
    return tuple(kind_name(other, texts, languages) for other in sorted(known.not_equal_to)) if known else ()


def _recognised(credential: Credential) -> dict[str, Any]:
    act = credential.recognition
    if act is None:
        return {}
    whole = counts_whole(act)
    return {
        "recognised_for": purpose_of(act).value,
        "counts_as": act.achievement_id if whole else None,
        "counts_as_version": act.achievement_version if whole else None,
    }


def _said(credential: Credential, texts: Mapping[str, Any], languages: Sequence[str]) -> dict[str, Any]:
    achievement, body = credential.achievement, credential.awarding_body
    titles = {text.language: text.text for text in achievement.title}
    title_language, title = best_text(titles, languages)
    provider_language, provider_name = best_text(body.name, languages)
    workload = achievement.workload
    placed = achievement.HasField("level")
    return {
        "id": str(credential.id),
        "title": title,
        "title_language": title_language,
        "provider_name": provider_name,
        "provider_language": provider_language,
        "country": body.country,
        "country_name": texts["countries"].get(body.country, body.country),
        "points": workload.points or None,
        "unit": workload.unit or None,
        "hours": workload.hours or None,
        "size": size_text(workload.points, workload.unit, workload.hours, texts),
        "level_framework": achievement.level.framework if placed else None,
        "level": achievement.level.level if placed else None,
        "awarded_on": credential.awarded_on.isoformat(),
        "expires_on": credential.expires_on.isoformat() if credential.expires_on else None,
        "grade": credential.grade,
        "achievement": achievement.id,
        "achievement_version": achievement.version,
        "unequal_to": unequal_to(achievement.kind, texts, languages) if placed else (),
        "accreditation": str(credential.decision.accreditation_id),
    }


def size_text(points: str, unit: str, hours: str, texts: Mapping[str, Any]) -> str | None:
    """Credits in their unit, and hours, in words; None where neither is stated."""
    parts = []
    if points:
        parts.append(f"{decimal_text(points, texts)} {unit_name(unit, points, texts)}")
    if hours:
        parts.append(texts["one_hour"] if hours == ONE else texts["hours"].format(count=decimal_text(hours, texts)))
    return ", ".join(parts) or None


def unit_name(unit: str, number: str, texts: Mapping[str, Any]) -> str:
    """What a unit is called after a number of it; one that the texts don't know is called as it is written."""
    name = unit.lower()
    called: str = (number == ONE and texts["units_one"].get(name)) or texts["units"].get(name, unit)
    return called


def decimal_text(number: str, texts: Mapping[str, Any]) -> str:
    """A decimal as the language writes it."""
    return number if texts["language"] == "en" else number.replace(".", ",")


def day_text(day: str | None, texts: Mapping[str, Any]) -> str | None:
    """A calendar date (ISO 8601) as the language writes it."""
    if not day:
        return None
    style: str = texts["date_format"]
    written = date.fromisoformat(day).strftime(style)
    # 2 May, and 02.05.
    return written.lstrip("0") if "%B" in style else written
