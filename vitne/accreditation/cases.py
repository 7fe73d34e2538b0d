"""A case: what led to an accreditation and what happened about it, folded from its steps and revisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from vitne.accreditation.projection import Held, Projection
from vitne_api.registry.v1 import facts_pb2, registry_pb2

State: TypeAlias = registry_pb2.CaseState.ValueType

_PROPOSED: Final = facts_pb2.CASE_STEP_KIND_PROPOSED
#: Steps that leave nothing proposed.
_SETTLES: Final = frozenset({facts_pb2.CASE_STEP_KIND_DECLINED, facts_pb2.CASE_STEP_KIND_REVOCATION_ORDERED})
#: Where an application stands after each of its steps.
_APPLICATION: Final = {
    facts_pb2.CASE_STEP_KIND_APPLIED: registry_pb2.CASE_STATE_APPLIED,
    facts_pb2.CASE_STEP_KIND_REVIEWED: registry_pb2.CASE_STATE_UNDER_REVIEW,
    facts_pb2.CASE_STEP_KIND_REFUSED: registry_pb2.CASE_STATE_REFUSED,
}
#: An application that is neither decided nor refused.
OPEN: Final = frozenset({registry_pb2.CASE_STATE_APPLIED, registry_pb2.CASE_STATE_UNDER_REVIEW})


@dataclass(frozen=True, slots=True)
class Case:
    """A case with all its steps, oldest first; it has the id of its accreditation.

    Attributes:
        id: UUIDv7.
        provider: whom it is about.
        authority: who decides.
        steps: facts about it that are no revision of the accreditation.
        held: the accreditation; None: it was never granted.
        closed: the fact that closed the provider; None for a case that did not.
    """

    id: str
    provider: str
    authority: str
    steps: tuple[facts_pb2.Fact, ...]
    held: Held | None
    closed: facts_pb2.Fact | None = None

    @property
    def revision(self) -> int:
        """Of the newest step; zero without any."""
        return self.steps[-1].case_step.revision if self.steps else 0

    @property
    def application(self) -> facts_pb2.CaseStep | None:
        """What the provider applied with; None where the authority began the case."""
        if self.steps and self.steps[0].case_step.kind == facts_pb2.CASE_STEP_KIND_APPLIED:
            return self.steps[0].case_step
        return None

    @property
    def pending(self) -> facts_pb2.Fact | None:
        """The proposal that waits for another officer."""
        proposed: facts_pb2.Fact | None = None
        for fact in self.steps:
            if fact.case_step.kind == _PROPOSED:
                proposed = fact
            elif fact.case_step.kind in _SETTLES:
                proposed = None
        if self.closed is not None:
            return None
        if proposed is not None and self.held is not None:
            carried_out = {each.fact.accreditation.case_revision for each in self.held.revisions}
            if proposed.case_step.revision in carried_out:
                return None
        return proposed

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.pending is not None:
            return registry_pb2.CASE_STATE_PROPOSED
        if self.held is not None or self.closed is not None:
            return registry_pb2.CASE_STATE_DECIDED
        stood = [_APPLICATION[fact.case_step.kind] for fact in self.steps if fact.case_step.kind in _APPLICATION]
        # What an authority began by itself and declined has come to nothing, as what it refused.
        return stood[-1] if stood else registry_pb2.CASE_STATE_REFUSED


def case_of(projection: Projection, case_id: str, known_at: int | None = None) -> Case | None:
    """The case about an accreditation, or a provider's closure, as known at a registry revision.

    None for an id that nobody knows.
    """
    steps = tuple(projection.case_steps(case_id, known_at))
    held = projection.accreditation(case_id, known_at)
    if held is not None:
        return Case(case_id, held.provider, held.authority, steps, held)
    if not steps:
        return None
    said = steps[0].case_step
    closed = projection.closing_fact(said.provider, case_id, known_at)
    return Case(case_id, said.provider, said.authority, steps, None, closed)


def revocation_order(case: Case) -> facts_pb2.Fact | None:
    """The newest order to revoke what no longer counts, if the accreditation is still as it was when it was given."""
    if case.held is None:
        return None
    newest = case.held.newest.revision
    for fact in reversed(case.steps):
        if fact.case_step.kind == facts_pb2.CASE_STEP_KIND_REVOCATION_ORDERED:
            return fact if fact.case_step.draft.revision == newest else None
    return None
