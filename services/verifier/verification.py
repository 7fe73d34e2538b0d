"""One verification: which checks are made, in which order, and what each needs before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from services.verifier.aside import Aside
from services.verifier.checks import names
from services.verifier.checks.accreditation import check_accreditation
from services.verifier.checks.catalogue import check_catalogue
from services.verifier.checks.citation import check_citation
from services.verifier.checks.decision import check_decision
from services.verifier.checks.issuer import check_issuer
from services.verifier.checks.issuer_key import IssuerKey, check_issuer_key
from services.verifier.checks.log_inclusion import check_log_inclusion, leaf_of
from services.verifier.checks.mandatory_elements import check_mandatory_elements
from services.verifier.checks.names import NOT_DETERMINABLE, Check, skipped, told
from services.verifier.checks.recognition import check_recognised
from services.verifier.checks.registry import check_registry
from services.verifier.checks.registry_log import check_registry_log, facts_to_look_up
from services.verifier.checks.signature import check_signature
from services.verifier.checks.status import check_status
from services.verifier.checks.structure import check_structure, summary
from services.verifier.checks.validity import check_validity
from services.verifier.evidence import Inclusion, LogSource, StatusSource
from services.verifier.knowledge import Knowledge
from services.verifier.metrics import VERIFY_DURATION
from services.verifier.presented import Presented
from services.verifier.verdict import ON_FAILURE, UNTOLD, Verdict, headline, name_of, verdict_of
from vitne.clock import Clock
from vitne.credentials.model import Credential
from vitne.credentials.sd_jwt import MAX_LENGTH as MAX_SD_JWT
from vitne.errors import VitneError
from vitne.runtime.interceptors.errors import as_vitne_error

#: Longest credential that is read at once, in characters: an SD-JWT VC always is.
MAX_AT_ONCE: Final = MAX_SD_JWT

_T = TypeVar("_T")
_ACCREDITATION: Final = (names.ACCREDITATION_THEN, names.NOT_WITHDRAWN_BACKWARDS, names.ACCREDITATION_TODAY)
_STATUS: Final = (names.STATUS_LIST, names.NOT_REVOKED, names.NOT_SUSPENDED)


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
    #: What was verified; None where no known issuer is known to have signed it: it is repeated to nobody then.
    credential: Credential | None = field(default=None, repr=False)
    #: Why what was shown can't be read; None where it was.
    unread: VitneError | None = field(default=None, repr=False)


class Verifier:
    """Verifies credentials.

    Args:
        knowledge: of the registry.
        statuses: where status lists come from.
        log: tells what is in the log.
        clock: tells the present.
    """

    def __init__(self, knowledge: Knowledge, statuses: StatusSource, log: LogSource, clock: Clock) -> None:
        self._knowledge = knowledge
        self._statuses = statuses
        self._log = log
        self._clock = clock
        self._aside = Aside()

    async def verify(self, credential: str | bytes) -> Verification:
        """Verify a credential in any format that is accepted, or an image (bytes) that a badge was baked into.

        A bad credential is an answer, never an error.

        Nor is a check that fails in a way that nobody foresaw: it is *not determinable* then, under the id of an
        incident that is logged.

        Raises:
            ResourceExhausted: ``OVERLOADED``: too many that are large are being read.
        """
        began, now = self._clock.monotonic(), self._clock.now()
        revision = self._knowledge.projection.revision
        look = _Look()
        about, signed = "", None
        structure = await self._structure(credential, look)
        presentation = structure and structure[1]
        if isinstance(presentation, Presented):
            await self._look_at(presentation, look, now)
            if look.passed(names.ISSUER) and look.passed(names.SIGNATURE):
                # What nobody is known to have signed is not repeated in the line that everybody reads.
                about = look.at((), lambda: summary(presentation)) or ""
                signed = presentation.credential
        checks = look.in_order()
        verdict = verdict_of(checks)
        VERIFY_DURATION.record(self._clock.monotonic() - began, name_of(verdict))
        unread = presentation if isinstance(presentation, VitneError) else None
        return Verification(verdict, headline(verdict, checks, about), checks, now, revision, signed, unread)

    async def _structure(self, credential: str | bytes, look: _Look) -> tuple[Check, Presented | VitneError] | None:
        """Read it: beside the event loop where that may take long, since anybody may send anything."""

        def read() -> tuple[Check, Presented | VitneError] | None:
            return look.at((names.STRUCTURE,), lambda: check_structure(credential))

        small = isinstance(credential, str) and len(credential) <= MAX_AT_ONCE
        return read() if small else await self._aside.do(read)

    async def _look_at(self, presentation: Presented, look: _Look, now: datetime) -> None:
        credential, knowledge = presentation.credential, self._knowledge
        withheld = presentation.withheld
        look.at((names.VALIDITY,), lambda: check_validity(credential, now))
        look.at((names.MANDATORY_ELEMENTS,), lambda: check_mandatory_elements(credential, withheld))
        look.at((names.REGISTRY,), lambda: check_registry(credential, knowledge, now))
        if not look.passed(names.REGISTRY):
            return
        look.at((names.ISSUER,), lambda: check_issuer(credential, knowledge))
        found = look.at((names.ISSUER_KEY,), lambda: check_issuer_key(presentation, knowledge, now))
        key = found and found[1]
        if key is None:
            return
        look.at((names.SIGNATURE,), lambda: check_signature(presentation, key.public))
        if not (look.passed(names.ISSUER) and look.passed(names.SIGNATURE)):
            # Nothing is fetched, and nothing more believed, on the word of who is not known to have signed.
            return
        accreditation = look.at(_ACCREDITATION, lambda: check_accreditation(credential, knowledge, now))
        then = accreditation and accreditation[-1]
        look.at((names.DECISION,), lambda: check_decision(credential, then))
        look.at((names.ACCREDITATION_CITED,), lambda: check_citation(credential, knowledge))
        look.at((names.CATALOGUE,), lambda: check_catalogue(credential, knowledge))
        look.at((names.RECOGNITION,), lambda: check_recognised(credential, knowledge))
        await self._fetch(presentation, key, look, now)

    async def _fetch(self, presentation: Presented, key: IssuerKey, look: _Look, now: datetime) -> None:
        reference = presentation.credential.status
        facts = facts_to_look_up(presentation, self._knowledge)
        found, included, logged = await asyncio.gather(
            _attempt(self._statuses.status_list(reference.list)),
            _attempt(self._issuance(presentation, key)),
            asyncio.gather(*(_attempt(self._log.inclusion(fact.leaf_hash)) for fact in facts)),
        )
        # After the issuance was found: what the log does not have even then came later.
        told_at = None if key.told is None else await _attempt(self._log.inclusion(key.told))
        look.at(_STATUS, lambda: check_status(reference, found))
        look.at(
            (names.LOG_INCLUSION,),
            lambda: check_log_inclusion(
                presentation, included, now, compromised_from=key.compromised_from, told_at=told_at
            ),
        )
        look.at((names.REGISTRY_LOGGED,), lambda: check_registry_log(facts, logged, now))

    async def _issuance(self, presentation: Presented, key: IssuerKey) -> Inclusion:
        """Where the issuance is; under a key that others may know, by when it was seen there first."""
        leaf = leaf_of(presentation)
        return await (self._log.inclusion(leaf) if key.compromised_from is None else self._log.earliest(leaf))


class _Look:
    """The checks that were made of one credential."""

    def __init__(self) -> None:
        self._made: dict[str, Check] = {}

    def at(self, about: tuple[str, ...], look: Callable[[], _T]) -> _T | None:
        """Make the checks of these names; None where that failed."""
        try:
            answer = look()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was determined
            detail = f"the check itself failed: {told(as_vitne_error(error))}"
            self._made |= {name: Check(name, NOT_DETERMINABLE, detail, "") for name in about}
            return None
        parts = answer if isinstance(answer, tuple) and not isinstance(answer, Check) else (answer,)
        self._made |= {part.name: part for part in parts if isinstance(part, Check)}
        return answer

    def passed(self, name: str) -> bool:
        """Whether a check was made, and holds."""
        return name in self._made and self._made[name].outcome == names.PASSED

    def in_order(self) -> tuple[Check, ...]:
        """The checks as they are told, with those that were not made."""
        broken = {names.FAILED, names.NOT_DETERMINABLE}
        decided = next((check.name for check in self._made.values() if check.outcome in broken), "an earlier check")
        told_of = [name for name in ON_FAILURE if name in self._made or name not in UNTOLD]
        return tuple(self._made.get(name) or skipped(name, f"{decided} decided") for name in told_of)


async def _attempt(call: Coroutine[Any, Any, _T]) -> _T | VitneError:
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - as above
        return as_vitne_error(error)
