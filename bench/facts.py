"""A registry's facts, made up: providers by the thousand, each accredited, each with achievements."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID

from services.registry.officers import ALIAS_BYTES
from vitne.accreditation import timestamp
from vitne.canonical import b64url
from vitne.clock import ManualClock
from vitne.dev.cases import ISSUER_BASE, Cases, load_cases
from vitne.identifiers import UuidFactory
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

#: When everything was recorded: long before anything is asked.
RECORDED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: Which of the demonstration's cases providers, accreditations and achievements are made after.
_ACHIEVEMENT: Final = "minikvalifikasjon"
#: Of the check digit, modulo 11 (Brønnøysundregistrene).
_WEIGHTS: Final = (3, 2, 7, 6, 5, 4, 3, 2)
#: The same names of officers in every run, so that runs compare.
_SEED: Final = 24
#: First eight digits of the first of their organisation numbers.
_FIRST_NUMBER: Final = 80_000_000


class FactMaker:
    """Numbers facts as a registry does."""

    def __init__(self) -> None:
        self._cases: Cases = load_cases()
        self._case = self._cases.achievements[_ACHIEVEMENT]
        self._new_id = UuidFactory(ManualClock(RECORDED_AT))
        self._revisions: dict[str, int] = {}
        self._registry_revision = itertools.count(1)
        self._recorded = timestamp(RECORDED_AT)
        self._random = Random(_SEED)

    def country(
        self, providers: int, facts: int, achievements: int, *, cases: bool = False
    ) -> Iterator[facts_pb2.Fact]:
        """So many providers; as many facts about them in all; so many achievements beside those.

        Providers come first, then their accreditations in turns, then their achievements in turns.

        Args:
            providers: how many.
            facts: about them, with their entries.
            achievements: of theirs.
            cases: whether each accreditation comes after its proposal, which is a fact beside all those.
        """
        names = list(itertools.islice(_organisations(), providers))
        for name in names:
            yield self.provider(name)
        for number in range(facts - providers):
            said = self._accreditation(names[number % providers])
            if cases:
                yield self._proposal(said)
            yield self._fact(said.provider, officer=said.proposed_by and self._officer(), accreditation=said)
        for number in range(achievements):
            yield self.achievement(names[number % providers])

    def provider(self, name: str) -> facts_pb2.Fact:
        """A provider's entry, like that of the demonstration's."""
        entry = facts_pb2.Provider()
        entry.CopyFrom(self._cases.providers[self._case.provider].message)
        entry.id, entry.issuer_uri, entry.revision = name, ISSUER_BASE + name, 1
        return self._fact(name, provider=entry)

    def _proposal(self, said: facts_pb2.Accreditation) -> facts_pb2.Fact:
        """The step of its case by which an accreditation was proposed."""
        step = facts_pb2.CaseStep(
            id=said.id,
            revision=1,
            provider=said.provider,
            authority=said.authority,
            kind=facts_pb2.CASE_STEP_KIND_PROPOSED,
            draft=said,
            decision=facts_pb2.CASE_DECISION_GRANT,
        )
        said.case_revision, said.proposed_by = step.revision, self._officer()
        return self._fact(said.provider, officer=said.proposed_by, case_step=step)

    def _officer(self) -> str:
        return b64url(self._random.randbytes(ALIAS_BYTES))

    def _accreditation(self, provider: str) -> facts_pb2.Accreditation:
        """An accreditation of its own, as the demonstration's provider holds one."""
        held = next(case for case in self._cases.accreditations if case.provider == self._case.provider)
        return facts_pb2.Accreditation(
            id=str(self._new_id()),
            revision=1,
            provider=provider,
            authority=held.authority,
            kind=held.kind,
            scope=held.scope,
            valid_from=self._recorded,
            state=facts_pb2.ACCREDITATION_STATE_GRANTED,
            effective_from=self._recorded,
        )

    def achievement(self, provider: str) -> facts_pb2.Fact:
        """An achievement that differs from the others in its id and title."""
        published = credential_pb2.Achievement()
        published.CopyFrom(self._case.message)
        published.id, published.provider = str(self._new_id()), provider
        published.title[0].text += f" {published.id[-6:]}"
        return self._fact(provider, achievement=published)

    def _fact(
        self,
        subject: str,
        *,
        officer: str = "",
        provider: facts_pb2.Provider | None = None,
        accreditation: facts_pb2.Accreditation | None = None,
        achievement: credential_pb2.Achievement | None = None,
        case_step: facts_pb2.CaseStep | None = None,
    ) -> facts_pb2.Fact:
        revision = self._revisions[subject] = self._revisions.get(subject, 0) + 1
        return facts_pb2.Fact(
            id=str(self.new_id()),
            subject=subject,
            subject_revision=revision,
            registry_revision=next(self._registry_revision),
            recorded_at=self._recorded,
            actor=subject,
            officer=officer,
            provider=provider,
            accreditation=accreditation,
            achievement=achievement,
            case_step=case_step,
        )

    def new_id(self) -> UUID:
        """A fresh UUIDv7."""
        return self._new_id()


def _organisations() -> Iterator[str]:
    """Organisations with correct check digits."""
    for number in itertools.count(_FIRST_NUMBER):
        total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, str(number), strict=True))
        check = -total % 11
        if check < 10:  # else there is no such number
            yield f"0192:{number}{check}"


def later(number: int) -> datetime:
    """An instant after everything was recorded, another one for each number."""
    return RECORDED_AT + timedelta(days=30, milliseconds=number)
