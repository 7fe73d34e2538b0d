"""The end of a provider, which two officers decide: nothing is issued after it, and what was issued stands."""

from __future__ import annotations

from datetime import datetime

from services.registry.desk import TOLERANCE, Desk, check_base_revision, check_responsible
from vitne.accreditation import instant, timestamp
from vitne.errors import InvalidArgument
from vitne_api.registry.v1 import facts_pb2, registry_pb2


def propose(desk: Desk, request: registry_pb2.CloseProviderRequest) -> facts_pb2.Fact:
    """Propose to close a provider of a kind within the calling authority's remit, as :func:`closed` does it.

    Each proposal is a case of its own: a provider has no accreditation that all of them would be about.

    Raises:
        PermissionDenied: ``OFFICER_MISSING``.
        VitneError: what :func:`closed` is refused with.
    """
    entry = facts_pb2.Provider(
        id=request.provider,
        revision=request.base_revision + 1,
        closed_at=request.closed_at if request.HasField("closed_at") else None,
        succeeded_by=request.succeeded_by,
        ground=request.ground,
    )
    closed(desk, entry, desk.now)
    step = facts_pb2.CaseStep(
        id=str(desk.new_id()),
        revision=1,
        provider=request.provider,
        authority=desk.caller,
        kind=facts_pb2.CASE_STEP_KIND_PROPOSED,
        decision=facts_pb2.CASE_DECISION_CLOSE,
        closing=entry,
        statement=request.ground,
    )
    return facts_pb2.Fact(subject=request.provider, officer=desk.require_officer(), case_step=step)


def closed(desk: Desk, entry: facts_pb2.Provider, since: datetime) -> facts_pb2.Provider:
    """A provider's entry with its end, from now or an instant to come.

    An end that is to come may be moved; what has closed stays closed.

    Args:
        desk: where it is decided.
        entry: the provider, its revision to be, its end, ground and successor.
        since: when it was proposed: an end that has passed meanwhile counts from now.

    Raises:
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``OUTSIDE_REMIT``.
        NotFound: ``PROVIDER_UNKNOWN``.
        Aborted: ``REVISION_MOVED``.
        FailedPrecondition: ``PROVIDER_CLOSED``, also of who is to take over.
        InvalidArgument: ``CLOSED_BACKWARDS``, ``OWN_SUCCESSOR``, ``CIRCULAR_SUCCESSION``.
    """
    desk.authority()
    known = desk.open_provider(entry.id, field="provider")
    check_responsible(desk, known, country_field="provider", kind_field="provider")
    check_base_revision(known.revision, entry.revision - 1, "provider's entry")
    closed_at = instant(entry.closed_at) if entry.HasField("closed_at") else desk.now
    if closed_at < since - TOLERANCE:
        raise InvalidArgument(
            "CLOSED_BACKWARDS",
            "the provider would have closed before now, and what it issued since would not count",
            field="closed_at",
            rule="only the withdrawal of an accreditation reaches back",
            remedy="leave it out for now, and withdraw what shall not have counted",
        )
    if entry.succeeded_by:
        _check_successor(desk, known.id, entry.succeeded_by)
    said = facts_pb2.Provider()
    said.CopyFrom(known)
    said.revision += 1
    said.succeeded_by = entry.succeeded_by
    # The way of the request, and of its confirmation, does not make it reach back.
    said.closed_at.CopyFrom(timestamp(max(closed_at, desk.now)))
    said.ground = entry.ground
    return said


def _check_successor(desk: Desk, provider: str, successor: str) -> None:
    """Refuse who can't take over.

    Raises:
        NotFound: ``PROVIDER_UNKNOWN``.
        FailedPrecondition: ``PROVIDER_CLOSED``.
        InvalidArgument: ``OWN_SUCCESSOR``, ``CIRCULAR_SUCCESSION``.
    """
    if successor == provider:
        raise InvalidArgument(
            "OWN_SUCCESSOR",
            "a provider can't take over from itself",
            field="succeeded_by",
            rule="who takes over is another provider",
            remedy="name the provider that takes over, or nobody",
        )
    taking_over = desk.open_provider(successor, field="succeeded_by")
    # Each was open when it was named, but may close later into another: nobody is to be left who took over.
    seen = {successor}
    while taking_over.succeeded_by and taking_over.succeeded_by not in seen:
        if taking_over.succeeded_by == provider:
            raise InvalidArgument(
                "CIRCULAR_SUCCESSION",
                f"{successor} is to close too, and {provider} would in the end take over from it",
                field="succeeded_by",
                rule="who takes over from a provider never ends with that provider",
                remedy="name a provider that stays open, or nobody",
            )
        seen.add(taking_over.succeeded_by)
        following = desk.projection.provider(taking_over.succeeded_by)
        if following is None:
            return
        taking_over = following
