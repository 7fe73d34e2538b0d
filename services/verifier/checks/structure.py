"""Is it a credential that can be read: of a type and format that we know, whole, with one meaning?"""

from __future__ import annotations

from collections.abc import Mapping

from services.verifier import presented
from services.verifier.checks.names import FAILED, PASSED, STRUCTURE, Check, told
from services.verifier.presented import Presented
from vitne.credentials.model import by_language
from vitne.credentials.w3c import baking
from vitne.errors import VitneError


def check_structure(shown: str | bytes) -> tuple[Check, Presented | None]:
    """Read a presentation, or an image with one in it; None beside a failed check."""
    try:
        presentation = presented.read(baking.extract(shown) if isinstance(shown, bytes) else shown.strip())
    except VitneError as error:
        return Check(STRUCTURE, FAILED, f"it can't be read: {told(error)}", error.field or error.rule), None
    return Check(STRUCTURE, PASSED, presentation.described, presentation.type), presentation


def summary(presentation: Presented) -> str:
    """What a credential is, in words, without its learner; in English where it says so in English."""
    credential = presentation.credential
    title = _english(by_language(credential.achievement.title, "title"))
    name = _english(credential.awarding_body.name)
    return f"“{title}”, issued by {name} on {credential.issued_at:%Y-%m-%d}"


def _english(texts: Mapping[str, str]) -> str:
    return texts.get("en") or next(iter(texts.values()))
