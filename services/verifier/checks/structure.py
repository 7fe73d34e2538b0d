"""Is it a credential that can be read: of a type and format that we know, whole, with one meaning?"""

from __future__ import annotations

from collections.abc import Mapping

from services.verifier import presented
from services.verifier.checks.names import FAILED, PASSED, STRUCTURE, Check, told
from services.verifier.presented import NotACredential, Presented
from vitne.credentials.model import by_language
from vitne.credentials.w3c import baking
from vitne.errors import VitneError


def check_structure(shown: str | bytes) -> tuple[Check, Presented | VitneError]:
    """Read a presentation, or an image with one in it; beside a failed check, why it can't be read."""
    try:
        presentation = presented.read(baking.extract(shown) if isinstance(shown, bytes) else shown.strip())
    except VitneError as error:
        detail = f"it can't be read: {told(error)}"
        if isinstance(error, NotACredential):  # whoever gave something else can mend that, and nobody else
            detail = f"{detail}; remedy: {error.remedy}"
        return Check(STRUCTURE, FAILED, detail, error.field or error.rule), error
    return Check(STRUCTURE, PASSED, presentation.described, presentation.type), presentation


def summary(presentation: Presented) -> str:
    """What a credential is, in words, without its learner; in English where it says so in English."""
    credential = presentation.credential
    title = _english(by_language(credential.achievement.title, "title"))
    name = _english(credential.awarding_body.name)
    return f"“{title}”, issued by {name} on {credential.issued_at:%Y-%m-%d}"


def _english(texts: Mapping[str, str]) -> str:
    return texts.get("en") or next(iter(texts.values()))
