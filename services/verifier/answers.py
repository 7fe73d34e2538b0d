"""A verification in the forms in which it is told: message, JSON, text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from pydantic import BaseModel, Field

from services.verifier.checks.names import SKIPPED, Check
from services.verifier.verdict import name_of
from services.verifier.verification import Verification
from vitne.accreditation import timestamp
from vitne.canonical import instant_text
from vitne.credentials.model import Credential, Learner
from vitne_api.credential.v1 import credential_pb2
from vitne_api.verifier.v1 import verifier_pb2

_OUTCOME: Final = "OUTCOME_"
_ENCODER: Final = msgspec.json.Encoder()


class CheckAnswer(BaseModel):
    """One check."""

    name: str = Field(description="Stable name.", examples=["signature"])
    outcome: str = Field(description="passed, failed, note, not_determinable or skipped.", examples=["passed"])
    detail: str = Field(description="What was found, in one sentence.")
    evidence: str = Field(description="What it rests on: a rule, a key, a list, a checkpoint.")


class CredentialAnswer(BaseModel):
    """What a credential is, and whom it is about, in its issuer's words."""

    title: dict[str, str] = Field(description="Title of the achievement, by language.")
    issuer: dict[str, str] = Field(description="Name of the provider that issued it, by language.")
    issuer_id: str = Field(description="Its organisation's id.", examples=["0192:971035854"])
    issued_on: str = Field(description="Day on which it was issued, in UTC.", examples=["2026-11-21"])
    given_name: str | None = Field(description="Of the learner; null where it is withheld, or the format has none.")
    family_name: str | None = Field(description="Likewise.")
    birth_date: str | None = Field(description="Likewise.", examples=["2001-05-04"])


class VerifyAnswer(BaseModel):
    """What may be believed of a credential."""

    verdict: str = Field(
        description="valid, valid_with_notes, suspended, revoked, invalid or not_determinable.", examples=["valid"]
    )
    headline: str = Field(description="The verdict in one sentence.")
    checks: list[CheckAnswer] = Field(description="Every check, in order.")
    verified_at: str = Field(description="When it was verified: RFC 3339, UTC.", examples=["2026-11-21T10:05:00.214Z"])
    registry_revision: int = Field(description="Registry revision that was known.")
    credential: CredentialAnswer | None = Field(
        description="What it is and whom it is about; null unless a known issuer is known to have signed it."
    )


def verdict_word(verification: Verification) -> str:
    """The verdict as clients branch on it."""
    return name_of(verification.verdict)


@cache
def outcome_word(outcome: credential_pb2.Check.Outcome.ValueType) -> str:
    """An outcome as clients branch on it."""
    return credential_pb2.Check.Outcome.Name(outcome).removeprefix(_OUTCOME).lower()


def to_message(verification: Verification) -> verifier_pb2.VerifyResponse:
    """As the RPC answers."""
    return verifier_pb2.VerifyResponse(
        verdict=verification.verdict,
        headline=verification.headline,
        checks=[check.to_proto() for check in verification.checks],
        verified_at=timestamp(verification.verified_at),
        registry_revision=verification.registry_revision,
        credential=None if verification.credential is None else _message_of(verification.credential),
    )


def _message_of(credential: Credential) -> verifier_pb2.VerifiedCredential:
    learner = credential.learner
    return verifier_pb2.VerifiedCredential(
        title=credential.achievement.title,
        issuer=[
            credential_pb2.LocalisedText(language=language, text=name)
            for language, name in credential.awarding_body.name.items()
        ],
        issuer_id=str(credential.awarding_body.id),
        issued_on=f"{credential.issued_at:%Y-%m-%d}",
        given_name=learner.given_name or "",
        family_name=learner.family_name or "",
        birth_date=learner.birth_date.isoformat() if learner.birth_date else "",
    )


def _members_of(credential: Credential) -> dict[str, Any]:
    """:class:`CredentialAnswer` as a JSON object."""
    learner = credential.learner
    return {
        "title": {text.language: text.text for text in credential.achievement.title},
        "issuer": dict(credential.awarding_body.name),
        "issuer_id": str(credential.awarding_body.id),
        "issued_on": f"{credential.issued_at:%Y-%m-%d}",
        "given_name": learner.given_name,
        "family_name": learner.family_name,
        "birth_date": learner.birth_date.isoformat() if learner.birth_date else None,
    }


def to_json(verification: Verification) -> VerifyAnswer:
    """As ``POST /v1/verify`` answers."""
    credential = verification.credential
    return VerifyAnswer(
        verdict=verdict_word(verification),
        headline=verification.headline,
        checks=[
            CheckAnswer(
                name=check.name, outcome=outcome_word(check.outcome), detail=check.detail, evidence=check.evidence
            )
            for check in verification.checks
        ],
        verified_at=instant_text(verification.verified_at),
        registry_revision=verification.registry_revision,
        credential=None if credential is None else CredentialAnswer(**_members_of(credential)),
    )


def to_json_bytes(verification: Verification) -> bytes:
    """:func:`to_json` as the bytes that go over the wire, without building models that only we made."""
    return _ENCODER.encode(
        {
            "verdict": verdict_word(verification),
            "headline": verification.headline,
            "checks": [
                {
                    "name": check.name,
                    "outcome": outcome_word(check.outcome),
                    "detail": check.detail,
                    "evidence": check.evidence,
                }
                for check in verification.checks
            ],
            "verified_at": instant_text(verification.verified_at),
            "registry_revision": verification.registry_revision,
            "credential": None if verification.credential is None else _members_of(verification.credential),
        }
    )


def to_text(verification: Verification, *, verbose: bool = False) -> str:
    """As the command line prints: the verdict's line, whom it is about, then the checks as :func:`check_lines`."""
    about = [] if verification.credential is None else [f"  {'learner':<17}{_about(verification.credential.learner)}"]
    return "\n".join([verification.headline, *about, *check_lines(verification.checks, verbose=verbose)])


def _about(learner: Learner) -> str:
    name = " ".join(part for part in (learner.given_name, learner.family_name) if part)
    born = f"born {learner.birth_date.isoformat()}" if learner.birth_date else ""
    return ", ".join(part for part in (name, born) if part) or (
        "neither name nor date of birth is shown: ask its holder to present it with them"
    )


def check_lines(checks: Sequence[Check], *, verbose: bool) -> Iterator[str]:
    """Checks with outcome, detail and evidence.

    Args:
        checks: in their order.
        verbose: each in a line of its own; else those that were skipped for one reason share one that names them.
    """
    alike: dict[str, list[str]] = {}
    for check in checks:
        if check.outcome == SKIPPED and not verbose:
            alike.setdefault(check.detail, []).append(check.name)
    for check in checks:
        names = alike.pop(check.detail, []) if check.outcome == SKIPPED and not verbose else [check.name]
        if names:
            yield f"  {outcome_word(check.outcome):<17}{', '.join(names)}: {check.detail}"
        if names and check.evidence:
            yield f"  {'':<17}{check.evidence}"
