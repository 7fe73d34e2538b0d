"""Accreditations through their life: granted, amended, suspended, reinstated, withdrawn.

Each step is a new revision that says what holds from an instant on; nothing is
overwritten. Only a withdrawal reaches back in time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, TypeAlias

from services.registry.desk import TOLERANCE, Desk, check_base_revision, check_responsible, outside_remit
from services.registry.scopes import check_scope, overlap
from vitne.accreditation import Held, instant, timestamp
from vitne.canonical import instant_text
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from vitne.frameworks import AccreditationKind, Framework
from vitne_api.registry.v1 import facts_pb2, registry_pb2

_GRANTED: Final = facts_pb2.ACCREDITATION_STATE_GRANTED
_SUSPENDED: Final = facts_pb2.ACCREDITATION_STATE_SUSPENDED
_WITHDRAWN: Final = facts_pb2.ACCREDITATION_STATE_WITHDRAWN
#: After every end.
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

#: The requests that change an accreditation.
_Change: TypeAlias = (
    registry_pb2.AmendAccreditationRequest
    | registry_pb2.SuspendAccreditationRequest
    | registry_pb2.ReinstateAccreditationRequest
    | registry_pb2.WithdrawAccreditationRequest
)


def grant(desk: Desk, request: registry_pb2.GrantAccreditationRequest) -> facts_pb2.Fact:
    """Grant an accreditation within the calling authority's remit.

    It may begin in the past: authorities decided before they had this registry. That never makes up for what
    was issued under another accreditation that no longer counts: a credential rests on the one it names.

    Raises:
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``OUTSIDE_REMIT``.
        NotFound: ``PROVIDER_UNKNOWN``.
        FailedPrecondition: ``PROVIDER_CLOSED``, ``SCOPES_OVERLAP``.
        InvalidArgument: ``UNKNOWN_TERM``, ``KIND_NOT_HELD``, ``DATES_CONTRADICT``, ``END_REQUIRED``,
            ``GROUND_MISSING`` (it begins in the past), and as :func:`check_scope`.
    """
    provider = desk.open_provider(request.provider, field="provider")
    framework = _within_remit(desk, provider, request.kind)
    kind = framework.accreditation_kinds[request.kind]
    if provider.kind not in kind.held_by:
        raise InvalidArgument(
            "KIND_NOT_HELD",
            f"{provider.kind} can't hold {kind.id}",
            field="kind",
            rule=f"{kind.id} is held by {', '.join(sorted(kind.held_by))}",
            remedy="grant a kind of accreditation that this kind of provider can hold",
        )
    check_scope(framework, kind, provider.kind, request.scope)
    valid_from = instant(request.valid_from) if request.HasField("valid_from") else desk.now
    if valid_from < desk.now - TOLERANCE and not request.ground.strip():
        raise InvalidArgument(
            "GROUND_MISSING",
            "the accreditation would count for a time that has passed, and nothing says why",
            field="ground",
            rule="what is granted backwards in time states its ground",
            remedy="name the decision of that time: its case number, its passage; or leave valid_from out for now",
        )
    said = facts_pb2.Accreditation(
        id=str(desk.new_id()),
        revision=1,
        provider=provider.id,
        authority=desk.caller,
        kind=kind.id,
        scope=request.scope,
        valid_from=timestamp(valid_from),
        state=_GRANTED,
        effective_from=timestamp(valid_from),
        ground=request.ground,
    )
    _set_end(said, kind, request)
    _check_overlap(desk, said)
    return _fact(said)


def amend(desk: Desk, request: registry_pb2.AmendAccreditationRequest) -> facts_pb2.Fact:
    """Replace the scope and the end of validity.

    Raises:
        NotFound: ``ACCREDITATION_UNKNOWN``.
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``FOREIGN_ACCREDITATION``, ``OUTSIDE_REMIT``.
        Aborted: ``REVISION_MOVED``.
        FailedPrecondition: ``ACCREDITATION_WITHDRAWN``, ``PROVIDER_CLOSED``, ``SCOPES_OVERLAP``.
        InvalidArgument: ``EFFECTIVE_BACKWARDS``, ``DATES_CONTRADICT``, ``END_REQUIRED``, and as
            :func:`check_scope`.
    """
    known = _known(desk, request)
    provider = desk.open_provider(known.provider, field="accreditation_id")
    framework = _within_remit(desk, provider, known.kind)
    _not_withdrawn(known)
    kind = framework.accreditation_kinds[known.kind]
    check_scope(framework, kind, provider.kind, request.scope)
    said = _next(known, request, _from_now_on(desk, known, request), known.state)
    said.scope.CopyFrom(request.scope)
    said.ClearField("valid_until")
    _set_end(said, kind, request)
    _check_overlap(desk, said)
    return _fact(said)


def suspend(desk: Desk, request: registry_pb2.SuspendAccreditationRequest) -> facts_pb2.Fact:
    """Suspend what is granted.

    Raises:
        FailedPrecondition: ``NOT_GRANTED``, ``ACCREDITATION_WITHDRAWN``; the rest as :func:`amend`.
    """
    known = _known(desk, request)
    _require_state(known, _GRANTED, "NOT_GRANTED", "only what is granted can be suspended")
    return _fact(_next(known, request, _from_now_on(desk, known, request), _SUSPENDED))


def reinstate(desk: Desk, request: registry_pb2.ReinstateAccreditationRequest) -> facts_pb2.Fact:
    """End a suspension.

    Raises:
        FailedPrecondition: ``NOT_SUSPENDED``, ``ACCREDITATION_WITHDRAWN``; the rest as :func:`amend`.
    """
    known = _known(desk, request)
    _require_state(known, _SUSPENDED, "NOT_SUSPENDED", "only what is suspended can be reinstated")
    return _fact(_next(known, request, _from_now_on(desk, known, request), _GRANTED))


def withdraw(desk: Desk, request: registry_pb2.WithdrawAccreditationRequest) -> facts_pb2.Fact:
    """Withdraw from now on, from an instant to come, or backwards to an instant.

    What is withdrawn can only be withdrawn again from an earlier instant.

    Raises:
        FailedPrecondition: ``ACCREDITATION_WITHDRAWN``; the rest as :func:`amend`.
        InvalidArgument: ``DATES_CONTRADICT`` for an instant before the accreditation's validity.
    """
    known = _known(desk, request)
    effective = instant(request.effective_from) if request.HasField("effective_from") else desk.now
    starts = instant(known.valid_from)
    if not request.HasField("effective_from"):
        effective = max(effective, starts)
    if effective < starts:
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "the accreditation was not valid yet",
            field="effective_from",
            rule="a withdrawal takes effect within the accreditation's validity",
            remedy="name an instant not before " + instant_text(starts),
        )
    if known.state == _WITHDRAWN and effective >= instant(known.effective_from):
        _not_withdrawn(known)
    return _fact(_next(known, request, effective, _WITHDRAWN))


def _require_state(
    known: facts_pb2.Accreditation, state: facts_pb2.AccreditationState.ValueType, reason: str, rule: str
) -> None:
    _not_withdrawn(known)
    if known.state != state:
        raise FailedPrecondition(
            reason,
            f"the accreditation is {facts_pb2.AccreditationState.Name(known.state).rpartition('_')[2].lower()}",
            field="accreditation_id",
            rule=rule,
            remedy="read the accreditation's newest revision",
        )


def _known(desk: Desk, request: _Change) -> facts_pb2.Accreditation:
    """The newest revision of an accreditation that the caller granted, if the request is based on it."""
    desk.authority()
    held = desk.projection.accreditation(request.accreditation_id)
    if held is None:
        raise NotFound(
            "ACCREDITATION_UNKNOWN",
            "no such accreditation was granted",
            field="accreditation_id",
            rule="an accreditation keeps its id through all revisions",
            remedy="name the id that the grant answered",
        )
    if held.authority != desk.caller:
        raise PermissionDenied(
            "FOREIGN_ACCREDITATION",
            f"the accreditation was granted by {held.authority}",
            field="accreditation_id",
            rule="an authority changes only what it granted itself",
            remedy="let the authority that granted it change it",
        )
    newest = held.newest.fact.accreditation
    check_base_revision(newest.revision, request.base_revision, "accreditation")
    return newest


def _within_remit(desk: Desk, provider: facts_pb2.Provider, kind: str) -> Framework:
    """The rules of the provider's country, where the caller may grant a kind of accreditation to the provider."""
    remit = desk.authority().remit
    framework = desk.framework_of(provider.country, field="provider")
    framework.known(framework.accreditation_kinds, kind, "kind of accreditation", field="kind")
    check_responsible(desk, provider, country_field="provider", kind_field="provider")
    if kind not in remit.accreditation_kinds:
        raise outside_remit(f"{desk.caller} does not grant {kind}", field="kind")
    return framework


def _not_withdrawn(known: facts_pb2.Accreditation) -> None:
    if known.state == _WITHDRAWN:
        raise FailedPrecondition(
            "ACCREDITATION_WITHDRAWN",
            f"the accreditation was withdrawn from {instant_text(instant(known.effective_from))}",
            field="accreditation_id",
            rule="a withdrawal is final",
            remedy="grant a new accreditation",
        )


def _from_now_on(desk: Desk, known: facts_pb2.Accreditation, request: _Change) -> datetime:
    """From when a change holds that does not reach back."""
    earliest = instant(known.effective_from)
    if not request.HasField("effective_from"):
        # What was to take effect later is changed from then on.
        return max(desk.now, earliest)
    effective = instant(request.effective_from)
    if effective < desk.now - TOLERANCE:
        raise InvalidArgument(
            "EFFECTIVE_BACKWARDS",
            "the change would reach back in time",
            field="effective_from",
            rule="only a withdrawal reaches back",
            remedy="leave it out for now",
        )
    if effective < earliest:
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "the revision before takes effect later than this one would",
            field="effective_from",
            rule="revisions take effect in their order",
            remedy="name an instant not before " + instant_text(earliest),
        )
    return effective


def _next(
    known: facts_pb2.Accreditation,
    request: _Change,
    effective: datetime,
    state: facts_pb2.AccreditationState.ValueType,
) -> facts_pb2.Accreditation:
    said = facts_pb2.Accreditation()
    said.CopyFrom(known)
    said.revision += 1
    said.state = state
    said.effective_from.CopyFrom(timestamp(effective))
    said.ground = request.ground
    return said


def _set_end(
    said: facts_pb2.Accreditation,
    kind: AccreditationKind,
    request: registry_pb2.GrantAccreditationRequest | registry_pb2.AmendAccreditationRequest,
) -> None:
    """Take over the end that a request states; some kinds are given for a limited period only."""
    if not request.HasField("valid_until"):
        if kind.must_end:
            raise InvalidArgument(
                "END_REQUIRED",
                f"an accreditation of kind {kind.id} is given for a limited period",
                field="valid_until",
                rule=str(kind.basis),
                remedy="state when it ends",
            )
        return
    ends = instant(request.valid_until)
    if ends <= instant(said.valid_from):
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "the accreditation ends before it begins",
            field="valid_until",
            rule="valid_until is after valid_from",
            remedy="correct the dates",
        )
    said.valid_until.CopyFrom(timestamp(ends))


def _check_overlap(desk: Desk, said: facts_pb2.Accreditation) -> None:
    """Refuse what another accreditation of the same kind says something about already, at the same time.

    Two that overlap contradict each other sooner or later: the one would go on allowing what was amended,
    suspended or withdrawn in the other.
    """
    starts = instant(said.valid_from)
    ends = instant(said.valid_until) if said.HasField("valid_until") else _NEVER
    for held in desk.projection.accreditations_of(said.provider):
        if held.id == said.id or held.kind != said.kind:
            continue
        known = held.newest.fact.accreditation
        if instant(known.valid_from) < ends and starts < _end_of(held) and overlap(known.scope, said.scope):
            raise FailedPrecondition(
                "SCOPES_OVERLAP",
                f"the accreditation {held.id} of the same kind covers some of it at the same time",
                field="scope",
                rule="of one kind, one accreditation says what holds for a provider at a time",
                remedy=f"amend {held.id}, or leave out what it covers",
                metadata={"accreditation": held.id},
            )


def _end_of(held: Held) -> datetime:
    """The first instant from which an accreditation says nothing any more, as it stands."""
    known = held.newest.fact.accreditation
    ends = instant(known.valid_until) if known.HasField("valid_until") else _NEVER
    return min(ends, instant(known.effective_from)) if known.state == _WITHDRAWN else ends


def _fact(said: facts_pb2.Accreditation) -> facts_pb2.Fact:
    return facts_pb2.Fact(subject=said.provider, accreditation=said)
