"""What providers ask for and report, and how an authority handles it until two of its officers decide."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from services.registry.accreditations import check_holder
from services.registry.decisions import next_step, open_application
from services.registry.desk import Desk, check_base_revision
from services.registry.scopes import check_scope
from vitne.accreditation import case_of, instant, timestamp
from vitne.errors import InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from vitne_api.registry.v1 import facts_pb2, registry_pb2

#: Reports about one accreditation that are taken within a time: facts stay for ever, and who decides reads them all.
MAX_REPORTS: Final = 20
REPORTS_WITHIN: Final = timedelta(days=1)


def apply(desk: Desk, request: registry_pb2.ApplyForAccreditationRequest) -> facts_pb2.Fact:
    """Apply for an accreditation; the calling provider's own.

    Raises:
        NotFound: ``PROVIDER_UNKNOWN``, ``AUTHORITY_UNKNOWN``.
        FailedPrecondition: ``PROVIDER_CLOSED``.
        InvalidArgument: ``AUTHORITY_NOT_RESPONSIBLE``, ``UNKNOWN_TERM``, ``KIND_NOT_HELD``, ``DATES_CONTRADICT``,
            ``DOCUMENT_REPEATED``, and as :func:`check_scope`.
    """
    provider = desk.open_provider(desk.caller, field="provider")
    authority = desk.projection.authority(request.authority)
    if authority is None:
        raise NotFound(
            "AUTHORITY_UNKNOWN",
            f"{request.authority} is not an authority here",
            field="authority",
            rule="one applies with an authority that the operator set up",
            remedy="name the authority that is responsible",
        )
    framework = desk.framework_of(provider.country, field="provider")
    framework.known(framework.accreditation_kinds, request.kind, "kind of accreditation", field="kind")
    kind = framework.accreditation_kinds[request.kind]
    check_holder(kind, provider)
    remit = authority.remit
    if provider.kind not in remit.provider_kinds or kind.id not in remit.accreditation_kinds:
        raise InvalidArgument(
            "AUTHORITY_NOT_RESPONSIBLE",
            f"{authority.id} does not grant {kind.id} to {provider.kind}",
            field="authority",
            rule="an authority acts only within its remit: country, kinds of provider, kinds of accreditation",
            remedy="name the authority that is responsible",
        )
    check_scope(framework, kind, provider.kind, request.scope)
    draft = facts_pb2.Accreditation(
        id=str(desk.new_id()), provider=provider.id, authority=authority.id, kind=kind.id, scope=request.scope
    )
    for name in ("valid_from", "valid_until"):
        if request.HasField(name):
            getattr(draft, name).CopyFrom(timestamp(instant(getattr(request, name))))
    starts = instant(draft.valid_from) if draft.HasField("valid_from") else desk.now
    if draft.HasField("valid_until") and instant(draft.valid_until) <= starts:
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "the accreditation would end before it begins",
            field="valid_until",
            rule="valid_until is after valid_from",
            remedy="correct the dates",
        )
    step = facts_pb2.CaseStep(
        id=draft.id,
        revision=1,
        provider=provider.id,
        authority=authority.id,
        kind=facts_pb2.CASE_STEP_KIND_APPLIED,
        draft=draft,
        documents=_once(request.documents),
        statement=request.statement,
    )
    return facts_pb2.Fact(subject=provider.id, case_step=step)


def review(desk: Desk, request: registry_pb2.ReviewApplicationRequest) -> facts_pb2.Fact:
    """Put an application under review, or add what assessors say.

    Raises:
        NotFound: ``CASE_UNKNOWN``.
        PermissionDenied: ``NOT_AN_AUTHORITY``, ``FOREIGN_ACCREDITATION``, ``OFFICER_MISSING``.
        Aborted: ``REVISION_MOVED``.
        FailedPrecondition: ``APPLICATION_CLOSED``, ``DECISION_PENDING``.
        InvalidArgument: ``DOCUMENT_REPEATED``.
    """
    case = open_application(desk, request.accreditation_id)
    check_base_revision(case.revision, request.base_revision, "case")
    fact = next_step(desk, case, facts_pb2.CASE_STEP_KIND_REVIEWED, request.statement, officer=desk.require_officer())
    fact.case_step.documents.extend(_once(request.documents))
    return fact


def refuse(desk: Desk, request: registry_pb2.RefuseApplicationRequest) -> facts_pb2.Fact:
    """Refuse an application, with reasons.

    Raises:
        as :func:`review`.
    """
    case = open_application(desk, request.accreditation_id)
    check_base_revision(case.revision, request.base_revision, "case")
    return next_step(desk, case, facts_pb2.CASE_STEP_KIND_REFUSED, request.statement, officer=desk.require_officer())


def report_change(desk: Desk, request: registry_pb2.ReportChangeRequest) -> facts_pb2.Fact:
    """Report a change of the calling provider's own, about one of its accreditations.

    Raises:
        NotFound: ``ACCREDITATION_UNKNOWN``.
        PermissionDenied: ``FOREIGN_ACCREDITATION``.
        ResourceExhausted: ``TOO_MANY_REPORTS``.
        InvalidArgument: ``DOCUMENT_REPEATED``.
    """
    case = case_of(desk.projection, request.accreditation_id)
    if case is None or case.held is None:
        raise NotFound(
            "ACCREDITATION_UNKNOWN",
            "no such accreditation was granted",
            field="accreditation_id",
            rule="who holds an accreditation reports changes",
            remedy="name the accreditation that the change is about",
        )
    if case.provider != desk.caller:
        raise PermissionDenied(
            "FOREIGN_ACCREDITATION",
            f"the accreditation is {case.provider}'s",
            field="accreditation_id",
            rule="a provider reports changes of its own",
            remedy="let the provider that holds it report the change",
        )
    lately = [
        fact
        for fact in case.steps
        if fact.case_step.kind == facts_pb2.CASE_STEP_KIND_CHANGE_REPORTED
        and desk.now - instant(fact.recorded_at) < REPORTS_WITHIN
    ]
    if len(lately) >= MAX_REPORTS:
        raise ResourceExhausted(
            "TOO_MANY_REPORTS",
            f"{len(lately)} changes were reported within a day",
            field="accreditation_id",
            rule=f"at most {MAX_REPORTS} reports a day about one accreditation",
            remedy="put what changed into one report, tomorrow",
        )
    fact = next_step(desk, case, facts_pb2.CASE_STEP_KIND_CHANGE_REPORTED, request.statement)
    fact.case_step.change = request.change
    fact.case_step.changed_at.CopyFrom(timestamp(instant(request.changed_at)))
    fact.case_step.documents.extend(_once(request.documents))
    return fact


def _once(documents: Iterable[facts_pb2.Document]) -> list[facts_pb2.Document]:
    """The documents, each named once.

    Raises:
        InvalidArgument: ``DOCUMENT_REPEATED``.
    """
    seen: dict[str, facts_pb2.Document] = {}
    for number, document in enumerate(documents):
        if document.digest in seen:
            raise InvalidArgument(
                "DOCUMENT_REPEATED",
                "the same document is there twice",
                field=f"documents[{number}].digest",
                rule="a document is its digest",
                remedy="leave one of them out",
            )
        seen[document.digest] = document
    return list(seen.values())
