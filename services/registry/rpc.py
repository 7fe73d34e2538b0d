"""The RPCs of ``vitne.registry.v1.RegistryService``: messages in, messages out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

from services.registry import (
    accreditations,
    applications,
    catalogue,
    closing,
    decisions,
    keys,
    organisations,
    qualifications,
    store,
)
from services.registry.accreditation_credentials import AccreditationCredentials
from services.registry.desk import Desk
from services.registry.officers import Officer
from services.registry.paging import IdPageToken, PageToken
from services.registry.recorder import R, Recorder
from services.registry.stacking import StackingDesk
from vitne.accreditation import Case, case_of, decide, instant, record_of
from vitne.accreditation.cases import OPEN
from vitne.accreditation.facts import has_unknown_fields
from vitne.canonical import canonical_bytes
from vitne.clock import Clock
from vitne.errors import InvalidArgument, NotFound
from vitne.runtime.database import one_snapshot
from vitne.runtime.idempotency import RequestKey, body_digest
from vitne.runtime.identity import current_caller
from vitne_api.registry.v1 import facts_pb2, registry_pb2, registry_pb2_grpc, stacking_pb2

SERVICE: Final = "vitne.registry.v1.RegistryService"
#: Facts on a page where the request does not say.
DEFAULT_PAGE_SIZE: Final = 500
#: Qualifications on a page where the request does not say.
DEFAULT_QUALIFICATIONS: Final = 50
#: Cases on a page where the request does not say.
DEFAULT_CASES: Final = 50
#: Steps of a case in one page by default, and of each case in a list.
DEFAULT_STEPS: Final = 100
STEPS_IN_LIST: Final = 10
#: Cases that are looked at for a page: most of an authority's are decided, and others wait for the same loop.
CASES_LOOKED_AT: Final = 200
#: Cases in which somebody has to do something.
_WAITING: Final = OPEN | {registry_pb2.CASE_STATE_PROPOSED}
#: Largest registry revision: what PostgreSQL's integer holds.
_MAX_REVISION: Final = (1 << 31) - 1


Q = TypeVar(
    "Q",
    registry_pb2.RegisterAuthorityRequest,
    registry_pb2.AmendAuthorityRequest,
    registry_pb2.RegisterProviderRequest,
    registry_pb2.CloseProviderRequest,
    registry_pb2.RegisterKeyRequest,
    registry_pb2.RetireKeyRequest,
    registry_pb2.GrantAccreditationRequest,
    registry_pb2.AmendAccreditationRequest,
    registry_pb2.SuspendAccreditationRequest,
    registry_pb2.ReinstateAccreditationRequest,
    registry_pb2.WithdrawAccreditationRequest,
    registry_pb2.PublishAchievementRequest,
    registry_pb2.PublishQualificationRequest,
    registry_pb2.AmendProviderRequest,
    registry_pb2.ApplyForAccreditationRequest,
    registry_pb2.ReviewApplicationRequest,
    registry_pb2.RefuseApplicationRequest,
    registry_pb2.RenewAccreditationRequest,
    registry_pb2.OrderRevocationRequest,
    registry_pb2.ConfirmDecisionRequest,
    registry_pb2.DeclineDecisionRequest,
    registry_pb2.ReportChangeRequest,
)


class RegistryRpc(registry_pb2_grpc.RegistryServiceServicer):
    """Implements the contract; refusals are raised as :mod:`vitne.errors` and translated by the server.

    Args:
        recorder: makes changes and knows what is known.
        pool: the registry's database.
        clock: tells when.
        credentials: makes authorities' keys.
    """

    def __init__(self, recorder: Recorder, pool: Any, clock: Clock, credentials: AccreditationCredentials) -> None:
        self._recorder = recorder
        self._credentials = credentials
        self._pool = pool
        self._clock = clock
        self._stacking = StackingDesk(recorder.projection, recorder.frameworks)

    async def RegisterAuthority(  # noqa: N802 - the contract's name
        self, request: registry_pb2.RegisterAuthorityRequest, context: Any
    ) -> registry_pb2.RegisterAuthorityResponse:
        """Set up an authority; see :func:`organisations.register_authority`."""
        return await self._change(
            "RegisterAuthority", request, registry_pb2.RegisterAuthorityResponse, organisations.register_authority
        )

    async def AmendAuthority(  # noqa: N802
        self, request: registry_pb2.AmendAuthorityRequest, context: Any
    ) -> registry_pb2.AmendAuthorityResponse:
        """Amend an authority's name and remit; see :func:`organisations.amend_authority`."""
        return await self._change(
            "AmendAuthority", request, registry_pb2.AmendAuthorityResponse, organisations.amend_authority
        )

    async def RegisterProvider(  # noqa: N802
        self, request: registry_pb2.RegisterProviderRequest, context: Any
    ) -> registry_pb2.RegisterProviderResponse:
        """Enter a provider; see :func:`organisations.register_provider`."""
        return await self._change(
            "RegisterProvider", request, registry_pb2.RegisterProviderResponse, organisations.register_provider
        )

    async def CloseProvider(  # noqa: N802
        self, request: registry_pb2.CloseProviderRequest, context: Any
    ) -> registry_pb2.CloseProviderResponse:
        """Propose to close a provider; see :func:`closing.propose`."""
        return await self._change("CloseProvider", request, registry_pb2.CloseProviderResponse, closing.propose)

    async def RegisterKey(  # noqa: N802
        self, request: registry_pb2.RegisterKeyRequest, context: Any
    ) -> registry_pb2.RegisterKeyResponse:
        """Enter a key; see :func:`keys.register_key`."""
        return await self._change("RegisterKey", request, registry_pb2.RegisterKeyResponse, keys.register_key)

    async def CreateAccreditationKey(  # noqa: N802
        self, request: registry_pb2.CreateAccreditationKeyRequest, context: Any
    ) -> registry_pb2.CreateAccreditationKeyResponse:
        """Make a key for the calling authority's accreditations."""
        self._recorder.as_of()
        caller = current_caller().organisation
        self._recorder.desk(str(caller)).authority()
        signer = await self._credentials.create_key(caller, UUID(request.request_id))
        return registry_pb2.CreateAccreditationKeyResponse(
            key_id=signer.key_id, public_jwk=canonical_bytes(signer.public_jwk).decode()
        )

    async def RetireKey(  # noqa: N802
        self, request: registry_pb2.RetireKeyRequest, context: Any
    ) -> registry_pb2.RetireKeyResponse:
        """End a key; see :func:`keys.retire_key`."""
        return await self._change("RetireKey", request, registry_pb2.RetireKeyResponse, keys.retire_key)

    async def GrantAccreditation(  # noqa: N802
        self, request: registry_pb2.GrantAccreditationRequest, context: Any
    ) -> registry_pb2.GrantAccreditationResponse:
        """Propose to grant an accreditation; see :func:`decisions.grant`."""
        return await self._change(
            "GrantAccreditation", request, registry_pb2.GrantAccreditationResponse, decisions.grant
        )

    async def AmendAccreditation(  # noqa: N802
        self, request: registry_pb2.AmendAccreditationRequest, context: Any
    ) -> registry_pb2.AmendAccreditationResponse:
        """Propose to amend an accreditation; see :func:`decisions.amend`."""
        return await self._change(
            "AmendAccreditation", request, registry_pb2.AmendAccreditationResponse, decisions.amend
        )

    async def SuspendAccreditation(  # noqa: N802
        self, request: registry_pb2.SuspendAccreditationRequest, context: Any
    ) -> registry_pb2.SuspendAccreditationResponse:
        """Suspend an accreditation; see :func:`accreditations.suspend`."""
        return await self._change(
            "SuspendAccreditation", request, registry_pb2.SuspendAccreditationResponse, accreditations.suspend
        )

    async def ReinstateAccreditation(  # noqa: N802
        self, request: registry_pb2.ReinstateAccreditationRequest, context: Any
    ) -> registry_pb2.ReinstateAccreditationResponse:
        """End a suspension; see :func:`accreditations.reinstate`."""
        return await self._change(
            "ReinstateAccreditation", request, registry_pb2.ReinstateAccreditationResponse, accreditations.reinstate
        )

    async def WithdrawAccreditation(  # noqa: N802
        self, request: registry_pb2.WithdrawAccreditationRequest, context: Any
    ) -> registry_pb2.WithdrawAccreditationResponse:
        """Propose to withdraw an accreditation; see :func:`decisions.withdraw`."""
        return await self._change(
            "WithdrawAccreditation", request, registry_pb2.WithdrawAccreditationResponse, decisions.withdraw
        )

    async def RenewAccreditation(  # noqa: N802
        self, request: registry_pb2.RenewAccreditationRequest, context: Any
    ) -> registry_pb2.RenewAccreditationResponse:
        """Propose to prolong an accreditation; see :func:`decisions.renew`."""
        return await self._change(
            "RenewAccreditation", request, registry_pb2.RenewAccreditationResponse, decisions.renew
        )

    async def OrderRevocation(  # noqa: N802
        self, request: registry_pb2.OrderRevocationRequest, context: Any
    ) -> registry_pb2.OrderRevocationResponse:
        """Propose that what no longer counts is revoked; see :func:`decisions.order_revocation`."""
        return await self._change(
            "OrderRevocation", request, registry_pb2.OrderRevocationResponse, decisions.order_revocation
        )

    async def ConfirmDecision(  # noqa: N802
        self, request: registry_pb2.ConfirmDecisionRequest, context: Any
    ) -> registry_pb2.ConfirmDecisionResponse:
        """Make so what another officer proposed; see :func:`decisions.confirm`."""
        return await self._change("ConfirmDecision", request, registry_pb2.ConfirmDecisionResponse, decisions.confirm)

    async def DeclineDecision(  # noqa: N802
        self, request: registry_pb2.DeclineDecisionRequest, context: Any
    ) -> registry_pb2.DeclineDecisionResponse:
        """Decline what was proposed; see :func:`decisions.decline`."""
        return await self._change("DeclineDecision", request, registry_pb2.DeclineDecisionResponse, decisions.decline)

    async def ApplyForAccreditation(  # noqa: N802
        self, request: registry_pb2.ApplyForAccreditationRequest, context: Any
    ) -> registry_pb2.ApplyForAccreditationResponse:
        """Apply for an accreditation; see :func:`applications.apply`."""
        return await self._change(
            "ApplyForAccreditation", request, registry_pb2.ApplyForAccreditationResponse, applications.apply
        )

    async def ReviewApplication(  # noqa: N802
        self, request: registry_pb2.ReviewApplicationRequest, context: Any
    ) -> registry_pb2.ReviewApplicationResponse:
        """Review an application; see :func:`applications.review`."""
        return await self._change(
            "ReviewApplication", request, registry_pb2.ReviewApplicationResponse, applications.review
        )

    async def RefuseApplication(  # noqa: N802
        self, request: registry_pb2.RefuseApplicationRequest, context: Any
    ) -> registry_pb2.RefuseApplicationResponse:
        """Refuse an application; see :func:`applications.refuse`."""
        return await self._change(
            "RefuseApplication", request, registry_pb2.RefuseApplicationResponse, applications.refuse
        )

    async def ReportChange(  # noqa: N802
        self, request: registry_pb2.ReportChangeRequest, context: Any
    ) -> registry_pb2.ReportChangeResponse:
        """Report a change of the caller's own; see :func:`applications.report_change`."""
        return await self._change(
            "ReportChange", request, registry_pb2.ReportChangeResponse, applications.report_change
        )

    async def AmendProvider(  # noqa: N802
        self, request: registry_pb2.AmendProviderRequest, context: Any
    ) -> registry_pb2.AmendProviderResponse:
        """Give a provider another name; see :func:`organisations.amend_provider`."""
        return await self._change(
            "AmendProvider", request, registry_pb2.AmendProviderResponse, organisations.amend_provider
        )

    async def GetCase(  # noqa: N802
        self, request: registry_pb2.GetCaseRequest, context: Any
    ) -> registry_pb2.GetCaseResponse:
        """Answer a case with its steps, a page at a time."""
        self._recorder.as_of()
        case = case_of(self._recorder.projection, request.accreditation_id)
        if case is None:
            raise decisions.unknown_case()
        size = request.page_size or DEFAULT_STEPS
        token = PageToken.parse(request.page_token, case.id)
        # Step numbers have no gaps: the first of the page is the one after the last that was answered.
        steps = case.steps[token.after : token.after + size]
        last = token.after + len(steps)
        after = PageToken(last, case.id).to_text() if last < len(case.steps) else ""
        return registry_pb2.GetCaseResponse(case=_case(case, steps), next_page_token=after)

    async def ListOpenCases(  # noqa: N802
        self, request: registry_pb2.ListOpenCasesRequest, context: Any
    ) -> registry_pb2.ListOpenCasesResponse:
        """List the calling authority's cases that wait for somebody, a page at a time."""
        self._recorder.as_of()
        authority = str(current_caller().organisation)
        size = request.page_size or DEFAULT_CASES
        token = IdPageToken.parse(request.page_token, authority)
        projection = self._recorder.projection
        found: list[Case] = []
        last = ""
        ids = projection.case_ids(authority, str(token.after or ""))
        for last in islice(ids, CASES_LOOKED_AT):
            case = case_of(projection, last)
            if case is not None and case.state in _WAITING:
                found.append(case)
            if len(found) == size:
                break
        after = IdPageToken(UUID(last), authority).to_text() if next(ids, None) is not None else ""
        cases = [_case(case, case.steps[-STEPS_IN_LIST:]) for case in found]
        return registry_pb2.ListOpenCasesResponse(cases=cases, next_page_token=after)

    async def PublishAchievement(  # noqa: N802
        self, request: registry_pb2.PublishAchievementRequest, context: Any
    ) -> registry_pb2.PublishAchievementResponse:
        """Publish a version of an achievement; see :func:`catalogue.publish`."""
        return await self._change(
            "PublishAchievement", request, registry_pb2.PublishAchievementResponse, catalogue.publish
        )

    async def PublishQualification(  # noqa: N802
        self, request: registry_pb2.PublishQualificationRequest, context: Any
    ) -> registry_pb2.PublishQualificationResponse:
        """Publish a version of a qualification; see :func:`qualifications.publish`."""
        return await self._change(
            "PublishQualification", request, registry_pb2.PublishQualificationResponse, qualifications.publish
        )

    async def GetAchievement(  # noqa: N802
        self, request: registry_pb2.GetAchievementRequest, context: Any
    ) -> registry_pb2.GetAchievementResponse:
        """Answer a version of an achievement."""
        self._recorder.as_of()
        projection = self._recorder.projection
        if request.version:
            found = projection.achievement(request.id, request.version)
        else:
            found = projection.newest_achievement(request.id)
        if found is None:
            raise NotFound(
                "ACHIEVEMENT_UNKNOWN",
                "no such version of an achievement was published",
                field="version" if request.version else "id",
                rule="versions count from 1",
                remedy="take the id and the version from a credential, or from the catalogue",
            )
        return registry_pb2.GetAchievementResponse(achievement=found)

    async def GetQualification(  # noqa: N802
        self, request: registry_pb2.GetQualificationRequest, context: Any
    ) -> registry_pb2.GetQualificationResponse:
        """Answer a version of a qualification."""
        self._recorder.as_of()
        projection = self._recorder.projection
        if request.version:
            found = projection.qualification(request.id, request.version)
        else:
            found = projection.newest_qualification(request.id)
        if found is None:
            raise NotFound(
                "QUALIFICATION_UNKNOWN",
                "no such version of a qualification was published",
                field="version" if request.version else "id",
                rule="versions count from 1",
                remedy="take the id and the version from ListQualifications",
            )
        return registry_pb2.GetQualificationResponse(qualification=found)

    async def ListQualifications(  # noqa: N802
        self, request: registry_pb2.ListQualificationsRequest, context: Any
    ) -> registry_pb2.ListQualificationsResponse:
        """List the newest versions, a page at a time."""
        self._recorder.as_of()
        size = request.page_size or DEFAULT_QUALIFICATIONS
        token = IdPageToken.parse(request.page_token, request.provider)
        found = list(islice(self._recorder.projection.qualifications(request.provider, token.after), size + 1))
        after = IdPageToken(UUID(found[size - 1].id), request.provider).to_text() if len(found) > size else ""
        return registry_pb2.ListQualificationsResponse(qualifications=found[:size], next_page_token=after)

    async def EvaluateStacking(  # noqa: N802
        self, request: stacking_pb2.EvaluateStackingRequest, context: Any
    ) -> stacking_pb2.EvaluateStackingResponse:
        """Answer what credentials add up to; see :class:`StackingDesk`."""
        self._recorder.as_of()
        return self._stacking.evaluate(request, self._clock.now())

    async def Decide(  # noqa: N802
        self, request: registry_pb2.DecideRequest, context: Any
    ) -> registry_pb2.DecideResponse:
        """Answer whether, and why; a refusal is an answer, not an error."""
        self._recorder.as_of()
        at = instant(request.at) if request.HasField("at") else self._clock.now()
        outcome = decide(
            self._recorder.projection,
            self._recorder.frameworks,
            request.provider,
            request.achievement_id,
            request.achievement_version,
            at,
            request.known_at or None,
        )
        response = registry_pb2.DecideResponse(
            allowed=outcome.allowed,
            reason=outcome.reason or "",
            rule=outcome.rule,
            basis=outcome.basis,
            standing=outcome.standing or "",
            remedy=outcome.remedy,
            checks=[check.to_proto() for check in outcome.checks],
        )
        if outcome.allowed:
            response.decision.CopyFrom(record_of(outcome).to_proto())
        return response

    async def ListFacts(  # noqa: N802
        self, request: registry_pb2.ListFactsRequest, context: Any
    ) -> registry_pb2.ListFactsResponse:
        """List facts, a page at a time; straight from the table, so that it never lags behind it."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        token = PageToken.parse(request.page_token, request.subject)
        if token.after > _MAX_REVISION:
            raise InvalidArgument("BAD_PAGE_TOKEN", "not a page token of this list", field="page_token")
        async with self._pool.acquire() as conn, one_snapshot(conn):
            facts = await store.facts_after(conn, token.after, size + 1, request.subject)
            newest = await store.head(conn)
        more = len(facts) > size
        facts = facts[:size]
        after = PageToken(facts[-1].registry_revision, request.subject).to_text() if more else ""
        return registry_pb2.ListFactsResponse(facts=facts, next_page_token=after, registry_revision=newest)

    async def _change(
        self, method: str, request: Q, response: type[R], decide_on: Callable[[Desk, Q], facts_pb2.Fact]
    ) -> R:
        if has_unknown_fields(request):
            # They would be recorded for ever without having been understood.
            raise InvalidArgument(
                "UNKNOWN_FIELD",
                "the request holds fields that this version does not know",
                rule="a fact says only what is understood",
                remedy="call a newer version of the registry, or leave the fields out",
            )
        caller = current_caller()
        case = getattr(request, "accreditation_id", "")
        officer = Officer(str(caller.organisation), caller.subject, UUID(case) if case else None)
        key = RequestKey(officer.organisation, f"{SERVICE}/{method}", UUID(request.request_id), body_digest(request))
        return await self._recorder.change(key, response, lambda desk: decide_on(desk, request), officer)


def _case(case: Case, steps: Sequence[facts_pb2.Fact]) -> registry_pb2.Case:
    return registry_pb2.Case(
        id=case.id,
        provider=case.provider,
        authority=case.authority,
        state=case.state,
        revision=case.revision,
        accreditation_revision=case.held.newest.revision if case.held else 0,
        steps=steps,
    )
