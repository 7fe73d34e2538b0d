"""What an accreditation may become: granted, amended, renewed, suspended, reinstated, withdrawn, lapsed.

Each step is a new revision that says what holds from an instant on; nothing is
overwritten. Only a withdrawal reaches back in time.

What two officers decide together (:mod:`services.registry.decisions`) comes here
twice: when it is proposed, and again when it is confirmed, as everything stands then.
"""

from __future__ import annotations

from collections.abc import Iterator
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
_LAPSED: Final = facts_pb2.ACCREDITATION_STATE_LAPSED
#: After every end.
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

#: What says from when a change is to hold, and why.
_Change: TypeAlias = (
    facts_pb2.Accreditation | registry_pb2.SuspendAccreditationRequest | registry_pb2.ReinstateAccreditationRequest
)


def granted(desk: Desk, draft: facts_pb2.Accreditation, since: datetime) -> facts_pb2.Accreditation:
    """The first revision of an accreditation within the calling authority's remit.

    It may begin in the past: authorities decided before they had this registry. That never makes up for what
    was issued under another accreditation that no longer counts: a credential rests on the one it names.

    Args:
        desk: what it is decided on.
        draft: what is to be granted.
        since: when it was proposed.

    Raises:
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``OUTSIDE_REMIT``.
        NotFound: ``PROVIDER_UNKNOWN``.
        FailedPrecondition: ``PROVIDER_CLOSED``, ``SCOPES_OVERLAP``.
        InvalidArgument: ``UNKNOWN_TERM``, ``KIND_NOT_HELD``, ``DATES_CONTRADICT``, ``END_REQUIRED``,
            ``GROUND_MISSING`` (it begins in the past), ``REVIEW_TOO_LATE``, and as :func:`check_scope`.
    """
    provider = desk.open_provider(draft.provider, field="provider")
    framework = _within_remit(desk, provider, draft.kind)
    kind = framework.accreditation_kinds[draft.kind]
    check_holder(kind, provider)
    check_scope(framework, kind, provider.kind, draft.scope)
    valid_from = instant(draft.valid_from) if draft.HasField("valid_from") else desk.now
    if valid_from >= since - TOLERANCE:
        valid_from = _not_passed(desk, valid_from, since)
    elif not draft.ground.strip():
        raise InvalidArgument(
            "GROUND_MISSING",
            "the accreditation would count for a time that has passed, and nothing says why",
            field="ground",
            rule="what is granted backwards in time states its ground",
            remedy="name the decision of that time: its case number, its passage; or leave valid_from out for now",
        )
    said = _copy(draft)
    said.valid_from.CopyFrom(timestamp(valid_from))
    said.effective_from.CopyFrom(said.valid_from)
    said.state = _GRANTED
    _check_end(said, kind)
    _set_review(said, kind, valid_from, valid_from)
    for number, condition in enumerate(said.conditions):
        if condition.HasField("due_at") and instant(condition.due_at) <= valid_from:
            raise _dates_contradict(
                "the condition would have to be met before the accreditation begins",
                field=f"conditions[{number}].due_at",
                rule="what comes before the grant is no condition of it",
                remedy="name a later instant, or leave it out where it always holds",
            )
    _check_overlap(desk, said)
    return said


def amended(desk: Desk, draft: facts_pb2.Accreditation, since: datetime) -> facts_pb2.Accreditation:
    """Another scope, end, date of review and conditions.

    Raises:
        NotFound: ``ACCREDITATION_UNKNOWN``.
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``FOREIGN_ACCREDITATION``, ``OUTSIDE_REMIT``.
        Aborted: ``REVISION_MOVED``.
        FailedPrecondition: ``ACCREDITATION_WITHDRAWN``, ``ACCREDITATION_LAPSED``, ``PROVIDER_CLOSED``,
            ``SCOPES_OVERLAP``.
        InvalidArgument: ``EFFECTIVE_BACKWARDS``, ``DATES_CONTRADICT``, ``END_REQUIRED``, ``REVIEW_TOO_LATE``, and as
            :func:`check_scope`.
    """
    known, framework, kind, provider = _to_change(desk, draft)
    if known.state == _LAPSED:
        raise FailedPrecondition(
            "ACCREDITATION_LAPSED",
            f"the accreditation lapsed at {instant_text(instant(known.effective_from))}",
            field="accreditation_id",
            rule="what has lapsed is renewed before it is amended",
            remedy="renew it",
        )
    check_scope(framework, kind, provider.kind, draft.scope)
    effective = _from_now_on(desk, known, draft, since)
    said = _next(known, draft, effective, known.state)
    said.scope.CopyFrom(draft.scope)
    del said.conditions[:]
    said.conditions.extend(draft.conditions)
    _take_end(said, draft, kind)
    if draft.HasField("review_at"):
        said.review_at.CopyFrom(draft.review_at)
        _set_review(said, kind, effective, _looked_at(desk, known))
    _check_overlap(desk, said)
    return said


def renewed(desk: Desk, draft: facts_pb2.Accreditation, since: datetime) -> facts_pb2.Accreditation:
    """The same for longer, and the next date of review; what has lapsed is granted again, from then on.

    Raises:
        FailedPrecondition: ``RENEWAL_SHORTENS``; the rest as :func:`amended`.
    """
    known, framework, kind, provider = _to_change(desk, draft)
    check_scope(framework, kind, provider.kind, known.scope)
    effective = _from_now_on(desk, known, draft, since)
    said = _next(known, draft, effective, _GRANTED if known.state == _LAPSED else known.state)
    _take_end(said, draft, kind)
    if _end(said) < _end(known) or _end(said) <= effective:
        raise FailedPrecondition(
            "RENEWAL_SHORTENS",
            "the accreditation would not last longer than it does",
            field="valid_until",
            rule="a renewal ends no earlier than what it renews, and after it begins",
            remedy="state a later end, or amend the accreditation",
        )
    said.ClearField("review_at")
    if draft.HasField("review_at"):
        said.review_at.CopyFrom(draft.review_at)
    _set_review(said, kind, effective, effective)
    _check_overlap(desk, said)
    return said


def withdrawn(desk: Desk, draft: facts_pb2.Accreditation, since: datetime) -> facts_pb2.Accreditation:
    """Withdrawn from now on, from an instant to come, or backwards to an instant.

    What is withdrawn can only be withdrawn again from an earlier instant. An instant that the proposal names is what
    the second officer confirms, also when it has passed since.

    Raises:
        FailedPrecondition: ``ACCREDITATION_WITHDRAWN``; the rest as :func:`amended`.
        InvalidArgument: ``DATES_CONTRADICT`` for an instant before the accreditation's validity.
    """
    known = known_to(desk, draft.id, draft.revision - 1)
    starts = instant(known.valid_from)
    effective = instant(draft.effective_from) if draft.HasField("effective_from") else max(desk.now, starts)
    if effective < starts:
        raise _dates_contradict(
            "the accreditation was not valid yet",
            field="effective_from",
            rule="a withdrawal takes effect within the accreditation's validity",
            remedy="name an instant not before " + instant_text(starts),
        )
    if known.state == _WITHDRAWN and effective >= instant(known.effective_from):
        _not_withdrawn(known)
    return _next(known, draft, effective, _WITHDRAWN)


def suspend(desk: Desk, request: registry_pb2.SuspendAccreditationRequest) -> facts_pb2.Fact:
    """Suspend what is granted.

    Raises:
        PermissionDenied: ``OFFICER_MISSING``.
        FailedPrecondition: ``NOT_GRANTED``, ``ACCREDITATION_WITHDRAWN``; the rest as :func:`amended`.
    """
    known = known_to(desk, request.accreditation_id, request.base_revision)
    _require_state(known, _GRANTED, "NOT_GRANTED", "only what is granted can be suspended")
    said = _next(known, request, _from_now_on(desk, known, request, desk.now), _SUSPENDED)
    return facts_pb2.Fact(subject=said.provider, officer=desk.require_officer(), accreditation=said)


def reinstate(desk: Desk, request: registry_pb2.ReinstateAccreditationRequest) -> facts_pb2.Fact:
    """End a suspension, of what the authority could still grant: from then on it may be issued under it again.

    Raises:
        PermissionDenied: ``OFFICER_MISSING``, ``OUTSIDE_REMIT``.
        FailedPrecondition: ``NOT_SUSPENDED``, ``ACCREDITATION_WITHDRAWN``, ``PROVIDER_CLOSED``; the rest as
            :func:`amended`.
    """
    known = known_to(desk, request.accreditation_id, request.base_revision)
    _within_remit(desk, desk.open_provider(known.provider, field="accreditation_id"), known.kind)
    _require_state(known, _SUSPENDED, "NOT_SUSPENDED", "only what is suspended can be reinstated")
    said = _next(known, request, _from_now_on(desk, known, request, desk.now), _GRANTED)
    return facts_pb2.Fact(subject=said.provider, officer=desk.require_officer(), accreditation=said)


def lapsed(known: facts_pb2.Accreditation) -> facts_pb2.Accreditation:
    """The revision that says that an accreditation's validity ended."""
    said = _copy(known)
    said.revision += 1
    said.state = _LAPSED
    said.effective_from.CopyFrom(known.valid_until)
    said.ground = "its validity ended, and nobody had renewed it"
    _clear_officers(said)
    return said


def known_to(desk: Desk, accreditation_id: str, base_revision: int) -> facts_pb2.Accreditation:
    """The newest revision of an accreditation that the caller granted, if the change is based on it.

    Raises:
        NotFound: ``ACCREDITATION_UNKNOWN``.
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``FOREIGN_ACCREDITATION``.
        Aborted: ``REVISION_MOVED``.
    """
    desk.authority()
    held = desk.projection.accreditation(accreditation_id)
    if held is None:
        raise NotFound(
            "ACCREDITATION_UNKNOWN",
            "no such accreditation was granted",
            field="accreditation_id",
            rule="an accreditation keeps its id through all revisions",
            remedy="name the id that the grant answered",
        )
    if held.authority != desk.caller:
        raise foreign_accreditation(held.authority)
    newest = held.newest.fact.accreditation
    check_base_revision(newest.revision, base_revision, "accreditation")
    return newest


def foreign_accreditation(authority: str) -> PermissionDenied:
    """The refusal of what is another authority's to decide."""
    return PermissionDenied(
        "FOREIGN_ACCREDITATION",
        f"the accreditation is {authority}'s to decide",
        field="accreditation_id",
        rule="an authority changes only what it granted itself, and decides what was applied for with it",
        remedy="let the authority that is responsible decide",
    )


def check_holder(kind: AccreditationKind, provider: facts_pb2.Provider) -> None:
    """Refuse a kind of accreditation that a kind of provider can't hold.

    Raises:
        InvalidArgument: ``KIND_NOT_HELD``.
    """
    if provider.kind not in kind.held_by:
        raise InvalidArgument(
            "KIND_NOT_HELD",
            f"{provider.kind} can't hold {kind.id}",
            field="kind",
            rule=f"{kind.id} is held by {', '.join(sorted(kind.held_by))}",
            remedy="name a kind of accreditation that this kind of provider can hold",
        )


def _to_change(
    desk: Desk, draft: facts_pb2.Accreditation
) -> tuple[facts_pb2.Accreditation, Framework, AccreditationKind, facts_pb2.Provider]:
    """What is to be changed, and what it is held against."""
    known = known_to(desk, draft.id, draft.revision - 1)
    provider = desk.open_provider(known.provider, field="accreditation_id")
    framework = _within_remit(desk, provider, known.kind)
    _not_withdrawn(known)
    return known, framework, framework.accreditation_kinds[known.kind], provider


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


def _not_passed(desk: Desk, moment: datetime, since: datetime) -> datetime:
    """An instant as it was asked for; one that passed while it waited for the second officer is now."""
    return moment if since == desk.now else max(moment, desk.now)


def _from_now_on(desk: Desk, known: facts_pb2.Accreditation, change: _Change, since: datetime) -> datetime:
    """From when a change holds that does not reach back beyond when it was proposed."""
    earliest = instant(known.effective_from)
    if not change.HasField("effective_from"):
        # What was to take effect later is changed from then on.
        return max(desk.now, earliest)
    effective = instant(change.effective_from)
    if effective < since - TOLERANCE:
        raise InvalidArgument(
            "EFFECTIVE_BACKWARDS",
            "the change would reach back in time",
            field="effective_from",
            rule="only a withdrawal reaches back",
            remedy="leave it out for now",
        )
    effective = _not_passed(desk, effective, since)
    if effective < earliest:
        raise _dates_contradict(
            "the revision before takes effect later than this one would",
            field="effective_from",
            rule="revisions take effect in their order",
            remedy="name an instant not before " + instant_text(earliest),
        )
    return effective


def _next(
    known: facts_pb2.Accreditation,
    change: _Change,
    effective: datetime,
    state: facts_pb2.AccreditationState.ValueType,
) -> facts_pb2.Accreditation:
    said = _copy(known)
    said.revision += 1
    said.state = state
    said.effective_from.CopyFrom(timestamp(effective))
    said.ground = change.ground
    _clear_officers(said)
    return said


def _clear_officers(said: facts_pb2.Accreditation) -> None:
    """Who decided is said of one revision, never carried on to the next."""
    said.ClearField("case_revision")
    said.ClearField("proposed_by")


def _copy(said: facts_pb2.Accreditation) -> facts_pb2.Accreditation:
    copied = facts_pb2.Accreditation()
    copied.CopyFrom(said)
    return copied


def _take_end(said: facts_pb2.Accreditation, draft: facts_pb2.Accreditation, kind: AccreditationKind) -> None:
    said.ClearField("valid_until")
    if draft.HasField("valid_until"):
        said.valid_until.CopyFrom(draft.valid_until)
    _check_end(said, kind)


def _check_end(said: facts_pb2.Accreditation, kind: AccreditationKind) -> None:
    """Check the end of validity, in whole milliseconds; some kinds are given for a limited period only."""
    if not said.HasField("valid_until"):
        if kind.must_end:
            raise InvalidArgument(
                "END_REQUIRED",
                f"an accreditation of kind {kind.id} is given for a limited period",
                field="valid_until",
                rule=str(kind.basis),
                remedy="state when it ends",
            )
        return
    ends = instant(said.valid_until)
    if ends <= instant(said.valid_from):
        raise _dates_contradict(
            "the accreditation ends before it begins",
            field="valid_until",
            rule="valid_until is after valid_from",
            remedy="correct the dates",
        )
    said.valid_until.CopyFrom(timestamp(ends))


def _looked_at(desk: Desk, known: facts_pb2.Accreditation) -> datetime:
    """From when an accreditation's years until its review count: its last renewal, or its grant.

    An amendment is no review: with one now and then the review that the national rules foresee would never come.
    """
    held = desk.projection.accreditation(known.id)
    decided = {fact.case_step.revision: fact.case_step.decision for fact in desk.projection.case_steps(known.id)}
    for revision in reversed(held.revisions if held is not None else ()):
        said = revision.fact.accreditation
        if decided.get(said.case_revision) == facts_pb2.CASE_DECISION_RENEW:
            return instant(said.effective_from)
    return instant(known.valid_from)


def _set_review(
    said: facts_pb2.Accreditation, kind: AccreditationKind, effective: datetime, looked_at: datetime
) -> None:
    """Check the date of review; where the national rules foresee one and none is stated, the latest they allow."""
    latest = _years_after(looked_at, kind.review_after_years) if kind.review_after_years else None
    if not said.HasField("review_at"):
        if latest is not None:
            said.review_at.CopyFrom(timestamp(latest))
        return
    review = instant(said.review_at)
    if review <= effective:
        raise _dates_contradict(
            "the review would come before what it reviews",
            field="review_at",
            rule="review_at is after the change takes effect",
            remedy="name a later instant",
        )
    if latest is not None and review > latest:
        raise InvalidArgument(
            "REVIEW_TOO_LATE",
            f"an accreditation of kind {kind.id} is reviewed within {kind.review_after_years} years",
            field="review_at",
            rule=str(kind.basis),
            remedy="name an instant not after " + instant_text(latest),
        )
    said.review_at.CopyFrom(timestamp(review))


def _years_after(moment: datetime, years: int) -> datetime:
    """The same day so many years on; of 29 February, the 28th."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, day=28)


def _check_overlap(desk: Desk, said: facts_pb2.Accreditation) -> None:
    """Refuse what another accreditation of the same kind says something about already, at the same time.

    Two that overlap contradict each other sooner or later: the one would go on allowing what was amended,
    suspended or withdrawn in the other. What counts is when each revision holds: one that is to be narrower from
    a later day on covers until then what it does now, and a change says nothing of the time before it.
    """
    starts, ends = instant(said.effective_from), _end(said)
    for held in desk.projection.accreditations_of(said.provider):
        if held.id == said.id or held.kind != said.kind:
            continue
        if any(since < ends and starts < until and overlap(scope, said.scope) for since, until, scope in _holds(held)):
            raise FailedPrecondition(
                "SCOPES_OVERLAP",
                f"the accreditation {held.id} of the same kind covers some of it at the same time",
                field="scope",
                rule="of one kind, one accreditation says what holds for a provider at a time",
                remedy=f"amend {held.id}, or leave out what it covers",
                metadata={"accreditation": held.id},
            )


def _holds(held: Held) -> Iterator[tuple[datetime, datetime, facts_pb2.Scope]]:
    """From when to when an accreditation covers what, as it stands; suspended or not."""
    replaced = _NEVER
    for revision in reversed(held.revisions):
        known = revision.fact.accreditation
        since = instant(known.effective_from)
        until = min(_end(known), replaced)
        if since < until and known.state != _WITHDRAWN:
            yield since, until, known.scope
        replaced = min(replaced, since)


def _end(said: facts_pb2.Accreditation) -> datetime:
    return instant(said.valid_until) if said.HasField("valid_until") else _NEVER


def _dates_contradict(message: str, *, field: str, rule: str, remedy: str) -> InvalidArgument:
    return InvalidArgument("DATES_CONTRADICT", message, field=field, rule=rule, remedy=remedy)
