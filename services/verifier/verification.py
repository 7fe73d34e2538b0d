"""One verification: which checks are made, in which order, and what each needs before it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from services.verifier.checks import names
from services.verifier.checks.accreditation import check_accreditation
from services.verifier.checks.catalogue import check_catalogue
from services.verifier.checks.decision import check_decision
from services.verifier.checks.issuer import check_issuer
from services.verifier.checks.issuer_key import IssuerKey, check_issuer_key
from services.verifier.checks.log_inclusion import check_log_inclusion, leaf_of
from services.verifier.checks.mandatory_elements import check_mandatory_elements
from services.verifier.checks.names import Check, skipped
from services.verifier.checks.registry import check_registry
from services.verifier.checks.signature import check_signature
from services.verifier.checks.status import check_status
from services.verifier.checks.structure import check_structure, summary
from services.verifier.checks.validity import check_validity
from services.verifier.evidence import LogSource, StatusSource
from services.verifier.knowledge import Knowledge
from services.verifier.verdict import ON_FAILURE, Verdict, headline, verdict_of
from vitne.clock import Clock
from vitne.credentials.sd_jwt_vc import Presentation
from vitne.errors import VitneError
from vitne_api.registry.v1 import facts_pb2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Verification:
    """What may be believed of a credential, and why."""

    verdict: Verdict
    #: One sentence.
    headline: str
    #: All of them, in the order in which they are told.
    checks: tuple[Check, ...]
    verified_at: datetime
    #: Registry revision that was known.
    registry_revision: int


class Verifier:
    """Verifies credentials.

    Args:
        knowledge: of the registry.
        statuses: where status lists come from.
        log: where proofs come from.
        clock: tells the present.
    """

    def __init__(self, knowledge: Knowledge, statuses: StatusSource, log: LogSource, clock: Clock) -> None:
        self._knowledge = knowledge
        self._statuses = statuses
        self._log = log
        self._clock = clock

    async def verify(self, credential: str) -> Verification:
        """Verify an SD-JWT VC in compact form. A bad credential is an answer, never an error."""
        now = self._clock.now()
        revision = self._knowledge.projection.revision
        structure, presentation = check_structure(credential.strip())
        made = [structure]
        about = ""
        if presentation is not None:
            made += await self._look_at(presentation, now)
            if any(check.name == names.SIGNATURE and check.outcome == names.PASSED for check in made):
                # What nobody is known to have signed is not repeated in the line that everybody reads.
                about = summary(presentation)
        checks = _in_order(made)
        verdict = verdict_of(checks)
        return Verification(verdict, headline(verdict, checks, about), checks, now, revision)

    async def _look_at(self, presentation: Presentation, now: datetime) -> list[Check]:
        credential, knowledge = presentation.credential, self._knowledge
        made = [
            check_validity(credential, now),
            check_mandatory_elements(credential, presentation.sd_jwt.withheld),
            check_registry(credential, knowledge, now),
        ]
        if made[-1].outcome != names.PASSED:
            return made
        made.append(check_issuer(credential, knowledge))
        key_check, key = check_issuer_key(presentation, knowledge, now)
        made.append(key_check)
        if key is None:
            return made
        made.append(check_signature(presentation, key.public))
        if any(check.outcome == names.FAILED for check in made[-3:]):
            # Nothing is fetched, and nothing more believed, on the word of who did not sign.
            return made
        *accreditation, then = check_accreditation(credential, knowledge, now)
        made += [check for check in accreditation if isinstance(check, Check)]
        made.append(check_decision(credential, then))
        made.append(check_catalogue(credential, knowledge))
        made += await self._fetch(presentation, key, now)
        return made

    async def _fetch(self, presentation: Presentation, key: IssuerKey, now: datetime) -> list[Check]:
        reference = presentation.credential.status
        found, proof = await asyncio.gather(
            _attempt(self._statuses.status_list(reference.list)),
            _attempt(self._log.inclusion(leaf_of(presentation))),
        )
        keys = self._knowledge.operator_keys(facts_pb2.KEY_USE_CHECKPOINT, now)
        return [
            *check_status(reference, found),
            check_log_inclusion(presentation, proof, keys.values(), now, compromised=key.compromised),
        ]


async def _attempt(call: Coroutine[Any, Any, _T]) -> _T | VitneError:
    try:
        return await call
    except VitneError as error:
        return error


def _in_order(made: list[Check]) -> tuple[Check, ...]:
    """The checks as they are told, with those that were not made."""
    by_name = {check.name: check for check in made}
    decided = next((check.name for check in made if check.outcome in {names.FAILED, names.NOT_DETERMINABLE}), "")
    return tuple(by_name.get(name) or skipped(name, f"{decided or 'an earlier check'} decided") for name in ON_FAILURE)
