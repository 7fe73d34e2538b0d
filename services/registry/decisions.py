"""What two officers decide together: one proposes it, another confirms it, and only then is it so.

A proposal is checked as if it were made at once, recorded with its draft, and checked
again when it is confirmed, since others may have decided meanwhile. Who proposed it
can decline it, but not confirm it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

from services.registry.accreditations import (
    amended,
    foreign_accreditation,
    granted,
    known_to,
    renewed,
    withdrawn,
)
from services.registry.closing import closed
from services.registry.desk import Desk, check_base_revision
from vitne.accreditation import Case, case_of, instant
from vitne.accreditation.cases import OPEN
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from vitne_api.registry.v1 import facts_pb2, registry_pb2

Decision: TypeAlias = facts_pb2.CaseDecision.ValueType
Draft: TypeAlias = facts_pb2.Accreditation

_GRANT: Final = facts_pb2.CASE_DECISION_GRANT
_AMEND: Final = facts_pb2.CASE_DECISION_AMEND
_RENEW: Final = facts_pb2.CASE_DECISION_RENEW
_WITHDRAW: Final = facts_pb2.CASE_DECISION_WITHDRAW
_REVOKE: Final = facts_pb2.CASE_DECISION_REVOKE
_CLOSE: Final = facts_pb2.CASE_DECISION_CLOSE


def grant(desk: Desk, request: registry_pb2.GrantAccreditationRequest) -> facts_pb2.Fact:
    """Propose to grant an accreditation, on an application or without one.

    Raises:
        NotFound: ``APPLICATION_UNKNOWN``.
        FailedPrecondition: ``APPLICATION_CLOSED``.
        InvalidArgument: ``APPLICATION_CONTRADICTS``; the rest as :func:`propose` and
            :func:`~services.registry.accreditations.granted`.
    """
    draft = Draft(
        id=request.accreditation_id or str(desk.new_id()),
        revision=1,
        provider=request.provider,
        authority=desk.caller,
        kind=request.kind,
        scope=request.scope,
        ground=request.ground,
        conditions=request.conditions,
        valid_from=request.valid_from if request.HasField("valid_from") else None,
        valid_until=request.valid_until if request.HasField("valid_until") else None,
        review_at=request.review_at if request.HasField("review_at") else None,
    )
    if request.accreditation_id:
        case = open_application(desk, request.accreditation_id)
        applied = case.application
        if applied is None or (applied.provider, applied.draft.kind) != (request.provider, request.kind):
            raise InvalidArgument(
                "APPLICATION_CONTRADICTS",
                "the application is another provider's, or for another kind of accreditation",
                field="accreditation_id",
                rule="an application is decided for its provider and its kind of accreditation",
                remedy="name the application that is answered, or none",
            )
    return propose(desk, _GRANT, draft)


def amend(desk: Desk, request: registry_pb2.AmendAccreditationRequest) -> facts_pb2.Fact:
    """Propose another scope, end, date of review and conditions; see :func:`~.accreditations.amended`."""
    draft = _draft_of(desk, request)
    draft.scope.CopyFrom(request.scope)
    draft.conditions.extend(request.conditions)
    for name in ("valid_until", "effective_from", "review_at"):
        if request.HasField(name):
            getattr(draft, name).CopyFrom(getattr(request, name))
    return propose(desk, _AMEND, draft)


def renew(desk: Desk, request: registry_pb2.RenewAccreditationRequest) -> facts_pb2.Fact:
    """Propose to prolong an accreditation; see :func:`~.accreditations.renewed`."""
    draft = _draft_of(desk, request)
    for name in ("valid_until", "review_at"):
        if request.HasField(name):
            getattr(draft, name).CopyFrom(getattr(request, name))
    return propose(desk, _RENEW, draft)


def withdraw(desk: Desk, request: registry_pb2.WithdrawAccreditationRequest) -> facts_pb2.Fact:
    """Propose a withdrawal; see :func:`~.accreditations.withdrawn`."""
    draft = _draft_of(desk, request)
    if request.HasField("effective_from"):
        draft.effective_from.CopyFrom(request.effective_from)
    return propose(desk, _WITHDRAW, draft)


def order_revocation(desk: Desk, request: registry_pb2.OrderRevocationRequest) -> facts_pb2.Fact:
    """Propose that what was issued under a withdrawn accreditation, and no longer counts, is revoked.

    Raises:
        FailedPrecondition: ``NOT_WITHDRAWN``; the rest as :func:`propose`.
    """
    known = known_to(desk, request.accreditation_id, request.base_revision)
    draft = Draft()
    draft.CopyFrom(known)
    draft.ground = request.ground
    return propose(desk, _REVOKE, draft)


def propose(desk: Desk, decision: Decision, draft: Draft) -> facts_pb2.Fact:
    """Record what another officer is to confirm, if it could be made now.

    Raises:
        PermissionDenied: ``OFFICER_MISSING``.
        FailedPrecondition: ``DECISION_PENDING``.
        VitneError: what the decision itself is refused with.
    """
    _carry_out(desk, decision, draft, desk.now)
    officer = desk.require_officer()
    case = case_of(desk.projection, draft.id)
    if case is not None:
        require_nothing_pending(case)
    step = facts_pb2.CaseStep(
        id=draft.id,
        revision=case.revision + 1 if case else 1,
        provider=draft.provider,
        authority=draft.authority,
        kind=facts_pb2.CASE_STEP_KIND_PROPOSED,
        draft=draft,
        decision=decision,
        statement=draft.ground,
    )
    return facts_pb2.Fact(subject=draft.provider, officer=officer, case_step=step)


def confirm(desk: Desk, request: registry_pb2.ConfirmDecisionRequest) -> facts_pb2.Fact:
    """Make so what another officer of the same authority proposed.

    Raises:
        NotFound: ``CASE_UNKNOWN``.
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``FOREIGN_ACCREDITATION``, ``OFFICER_MISSING``, ``OWN_PROPOSAL``.
        Aborted: ``REVISION_MOVED``: another proposal than the one that was read, or the accreditation has changed
            since it was proposed.
        FailedPrecondition: ``NOTHING_PROPOSED``, also when a third officer was faster.
        VitneError: what the decision itself is refused with now.
    """
    case, proposal = _pending(desk, request.accreditation_id, request.base_revision)
    officer = desk.require_officer()
    if officer == proposal.officer:
        raise PermissionDenied(
            "OWN_PROPOSAL",
            "the officer who proposed it can't confirm it",
            field="accreditation_id",
            rule="two different officers decide",
            remedy="let another officer of the authority confirm it",
        )
    step = proposal.case_step
    if step.decision == _CLOSE:
        entry = closed(desk, step.closing, instant(proposal.recorded_at))
        entry.closing_case, entry.closing_proposed_by = case.id, proposal.officer
        return facts_pb2.Fact(subject=entry.id, officer=officer, provider=entry)
    said = _carry_out(desk, step.decision, step.draft, instant(proposal.recorded_at))
    if step.decision == _REVOKE:
        order = facts_pb2.CaseStep(
            id=case.id,
            revision=case.revision + 1,
            provider=case.provider,
            authority=case.authority,
            kind=facts_pb2.CASE_STEP_KIND_REVOCATION_ORDERED,
            draft=said,
            decision=_REVOKE,
            statement=step.statement,
            proposed_by=proposal.officer,
        )
        return facts_pb2.Fact(subject=case.provider, officer=officer, case_step=order)
    said.case_revision = step.revision
    said.proposed_by = proposal.officer
    return facts_pb2.Fact(subject=case.provider, officer=officer, accreditation=said)


def decline(desk: Desk, request: registry_pb2.DeclineDecisionRequest) -> facts_pb2.Fact:
    """Decline what was proposed; who proposed it takes it back.

    Raises:
        as :func:`confirm`, but for ``OWN_PROPOSAL``.
    """
    case, _ = _pending(desk, request.accreditation_id, request.base_revision)
    return next_step(desk, case, facts_pb2.CASE_STEP_KIND_DECLINED, request.statement, officer=desk.require_officer())


def case_before(desk: Desk, case_id: str) -> Case:
    """A case that the calling authority decides.

    Raises:
        NotFound: ``CASE_UNKNOWN``.
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``FOREIGN_ACCREDITATION``.
    """
    desk.authority()
    case = case_of(desk.projection, case_id)
    if case is None:
        raise unknown_case()
    if case.authority != desk.caller:
        raise foreign_accreditation(case.authority)
    return case


def unknown_case() -> NotFound:
    """The answer about an id that nobody knows."""
    return NotFound(
        "CASE_UNKNOWN",
        "nothing of this id was applied for, proposed or granted",
        field="accreditation_id",
        rule="a case has the id of its application and of its accreditation",
        remedy="name the id that the application or the proposal answered",
    )


def open_application(desk: Desk, case_id: str) -> Case:
    """A case of the calling authority's with an application that nobody has decided.

    Raises:
        FailedPrecondition: ``APPLICATION_CLOSED``, ``DECISION_PENDING``; the rest as :func:`case_before`.
    """
    case = case_before(desk, case_id)
    require_nothing_pending(case)
    if case.application is None or case.state not in OPEN:
        raise FailedPrecondition(
            "APPLICATION_CLOSED",
            "there is no application, or it was decided",
            field="accreditation_id",
            rule="an application is decided once",
            remedy="let the provider apply again",
        )
    return case


def require_nothing_pending(case: Case) -> None:
    """Return when no proposal waits.

    Raises:
        FailedPrecondition: ``DECISION_PENDING``.
    """
    if case.pending is not None:
        raise FailedPrecondition(
            "DECISION_PENDING",
            "another decision is proposed, and waits for a second officer",
            field="accreditation_id",
            rule="a case has one proposal at a time",
            remedy="confirm or decline the proposal first",
            metadata={"case_revision": str(case.pending.case_step.revision)},
        )


def next_step(
    desk: Desk, case: Case, kind: facts_pb2.CaseStepKind.ValueType, statement: str, *, officer: str = ""
) -> facts_pb2.Fact:
    """The next step of a case, in words."""
    step = facts_pb2.CaseStep(
        id=case.id,
        revision=case.revision + 1,
        provider=case.provider,
        authority=case.authority,
        kind=kind,
        statement=statement,
    )
    return facts_pb2.Fact(subject=case.provider, officer=officer, case_step=step)


def _pending(desk: Desk, case_id: str, base_revision: int) -> tuple[Case, facts_pb2.Fact]:
    """The case and its proposal, as the officer read it.

    What a provider reports, or the calendar tells, between reading and deciding does not stand in the way: else a
    provider could hold off its own withdrawal by reporting one change after the other.
    """
    case = case_before(desk, case_id)
    if case.pending is None:
        raise FailedPrecondition(
            "NOTHING_PROPOSED",
            "nothing waits for a decision: it was decided, or never proposed",
            field="accreditation_id",
            rule="what is proposed is decided once",
            remedy="read the case and its accreditation",
        )
    if not case.pending.case_step.revision <= base_revision <= case.revision:
        check_base_revision(case.pending.case_step.revision, base_revision, "case's proposal")
    return case, case.pending


def _draft_of(
    desk: Desk,
    request: registry_pb2.AmendAccreditationRequest
    | registry_pb2.RenewAccreditationRequest
    | registry_pb2.WithdrawAccreditationRequest,
) -> Draft:
    """What every change of an accreditation names, of the revision that it is based on."""
    known = known_to(desk, request.accreditation_id, request.base_revision)
    return Draft(
        id=known.id,
        revision=known.revision + 1,
        provider=known.provider,
        authority=known.authority,
        kind=known.kind,
        ground=request.ground,
    )


def _ordered(desk: Desk, draft: Draft, _since: datetime) -> Draft:
    known = known_to(desk, draft.id, draft.revision)
    if known.state != facts_pb2.ACCREDITATION_STATE_WITHDRAWN:
        raise FailedPrecondition(
            "NOT_WITHDRAWN",
            "what was issued under the accreditation counts",
            field="accreditation_id",
            rule="what is revoked for want of an accreditation was issued when it no longer held",
            remedy="withdraw the accreditation from the instant on from which it shall not have counted",
        )
    return draft


_CARRIED_OUT: Final[Mapping[Decision, Callable[[Desk, Draft, datetime], Draft]]] = {
    _GRANT: granted,
    _AMEND: amended,
    _RENEW: renewed,
    _WITHDRAW: withdrawn,
    _REVOKE: _ordered,
}


def _carry_out(desk: Desk, decision: Decision, draft: Draft, since: datetime) -> Draft:
    return _CARRIED_OUT[decision](desk, draft, since)
