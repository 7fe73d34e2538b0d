"""What is counted: credentials without their holders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum

from vitne.stacking.terms import Level
from vitne_api.credential.v1 import credential_pb2


class Standing(Enum):
    """Whether a credential counts at all."""

    VALID = "valid"
    #: Does not count now, may count again.
    SUSPENDED = "suspended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Held:
    """A credential, as far as counting asks for.

    What somebody recognised as another achievement is described as that achievement, with
    :attr:`by_recognition`; see :func:`vitne.stacking.recognition.recognised`.
    """

    #: What the caller calls it; unique among what is counted together.
    reference: str
    #: UUID of the achievement.
    achievement: str
    version: int
    #: Who awarded (or recognised) it.
    provider: str
    #: Kind of credential in the national rules.
    kind: str
    awarded_on: date
    #: Credit unit; empty without credits.
    unit: str = ""
    points: Decimal = Decimal(0)
    level: Level | None = None
    standing: Standing = Standing.VALID
    #: First day on which it no longer counts.
    expires_on: date | None = None
    #: By recognition of prior learning.
    by_recognition: bool = False


def held(
    achievement: credential_pb2.Achievement,
    reference: str,
    awarded_on: date,
    *,
    standing: Standing = Standing.VALID,
    expires_on: date | None = None,
) -> Held:
    """A credential for an achievement. One whose assessment is recognition of prior learning counts as recognised."""
    workload = achievement.workload
    return Held(
        reference=reference,
        achievement=achievement.id,
        version=achievement.version,
        provider=achievement.provider,
        kind=achievement.kind,
        awarded_on=awarded_on,
        unit=workload.unit,
        points=Decimal(workload.points) if workload.points else Decimal(0),
        level=(achievement.level.framework, achievement.level.level) if achievement.HasField("level") else None,
        standing=standing,
        expires_on=expires_on,
        by_recognition=achievement.assessment == credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING,
    )
