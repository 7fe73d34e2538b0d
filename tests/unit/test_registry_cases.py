"""A case from the application to its decisions: who may do what, in which order, and what is told ahead of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.registry import accreditations, applications, closing, decisions, organisations
from services.registry.notices import notices
from tests.unit.accreditation_samples import (
    DAI,
    FAGSKOLE,
    HKDIR,
    NOKUT,
    NOW,
    OPERATOR,
    PRIVATE,
    UCL,
    Chronicle,
    scope,
    text,
    uuid,
)
from tests.unit.test_registry_changes import ECTS5, MODULES, after, desk, refusal, world
from vitne.accreditation import Case, case_of, instant, timestamp
from vitne_api.registry.v1 import facts_pb2, registry_pb2

ACCREDITATION = uuid(0xA001)
DAY = timedelta(days=1)
LEADS = (180, 90, 30)


class Life:
    """A registry in which one thing happens after the other; each is recorded at its instant."""

    def __init__(self, chronicle: Chronicle | None = None) -> None:
        self.chronicle = chronicle or world()
        self.now = NOW

    def do(self, act: Any, caller: str, request: Any, officer: str = "") -> facts_pb2.Fact:
        return self.record(act(desk(caller, self.chronicle, self.now, officer), request), caller)

    def record(self, draft: facts_pb2.Fact, actor: str) -> facts_pb2.Fact:
        content = draft.WhichOneof("content")
        assert content is not None
        fact = self.chronicle.record(
            draft.subject, actor=actor, officer=draft.officer, **{content: getattr(draft, content)}
        )
        fact.recorded_at.CopyFrom(timestamp(self.now))
        return fact

    def refused(self, act: Any, caller: str, request: Any, officer: str = "") -> tuple[str, str]:
        return refusal(lambda: act(desk(caller, self.chronicle, self.now, officer), request))

    def confirm(self, proposal: facts_pb2.Fact, officer: str = "two") -> facts_pb2.Fact:
        return self.do(decisions.confirm, proposal.actor, self.confirmation(proposal), officer)

    @staticmethod
    def confirmation(proposal: facts_pb2.Fact) -> registry_pb2.ConfirmDecisionRequest:
        step = proposal.case_step
        return registry_pb2.ConfirmDecisionRequest(accreditation_id=step.id, base_revision=step.revision)

    def case(self, case_id: str, known_at: int | None = None) -> Case:
        found = case_of(self.chronicle.projection(), case_id, known_at)
        assert found is not None
        return found

    def tell(self) -> list[facts_pb2.Fact]:
        """What the morning's command records."""
        told = list(notices(desk(OPERATOR, self.chronicle, self.now, ""), LEADS))
        return [self.record(fact, OPERATOR) for fact in told]


def application(**changes: Any) -> registry_pb2.ApplyForAccreditationRequest:
    fields: dict[str, Any] = {
        "authority": NOKUT,
        "kind": "no.fagskole.programme",
        "scope": MODULES,
        "documents": [facts_pb2.Document(title="Plan", digest="A" * 43)],
        "statement": "We apply.",
        **changes,
    }
    return registry_pb2.ApplyForAccreditationRequest(**fields)


def answer(case_id: str, **changes: Any) -> registry_pb2.GrantAccreditationRequest:
    fields: dict[str, Any] = {
        "accreditation_id": case_id,
        "provider": FAGSKOLE,
        "kind": "no.fagskole.programme",
        "scope": MODULES,
        **changes,
    }
    return registry_pb2.GrantAccreditationRequest(**fields)


def withdrawal(**changes: Any) -> registry_pb2.WithdrawAccreditationRequest:
    fields = {"accreditation_id": ACCREDITATION, "base_revision": 1, "ground": "case 4", **changes}
    return registry_pb2.WithdrawAccreditationRequest(**fields)


def test_an_application_is_reviewed_and_granted_with_conditions() -> None:
    life = Life()
    id_ = life.do(applications.apply, FAGSKOLE, application()).case_step.id
    assert life.case(id_).state == registry_pb2.CASE_STATE_APPLIED
    review = registry_pb2.ReviewApplicationRequest(accreditation_id=id_, base_revision=1, statement="Two assessors.")
    life.do(applications.review, NOKUT, review, "one")
    assert life.case(id_).state == registry_pb2.CASE_STATE_UNDER_REVIEW
    condition = facts_pb2.Condition(text="A second examiner.", due_at=timestamp(NOW + 60 * DAY))
    proposal = life.do(decisions.grant, NOKUT, answer(id_, conditions=[condition]), "one")
    assert life.case(id_).state == registry_pb2.CASE_STATE_PROPOSED
    life.now += DAY
    said = life.confirm(proposal).accreditation
    assert (said.id, said.revision, said.case_revision, said.proposed_by) == (id_, 1, 3, "one")
    assert instant(said.valid_from) == NOW + DAY, "from its confirmation on, not from its proposal"
    assert list(said.conditions) == [condition]
    case = life.case(id_)
    assert (case.state, case.revision, case.pending) == (registry_pb2.CASE_STATE_DECIDED, 3, None)
    # As it was known before each step.
    last = len(life.chronicle.facts)
    assert [life.case(id_, last - back).state for back in range(4)] == [
        registry_pb2.CASE_STATE_DECIDED,
        registry_pb2.CASE_STATE_PROPOSED,
        registry_pb2.CASE_STATE_UNDER_REVIEW,
        registry_pb2.CASE_STATE_APPLIED,
    ]


def test_an_application_is_refused_with_reasons_once() -> None:
    life = Life()
    id_ = life.do(applications.apply, FAGSKOLE, application()).case_step.id
    refuse = registry_pb2.RefuseApplicationRequest(accreditation_id=id_, base_revision=1, statement="No examiners.")
    assert life.refused(applications.refuse, NOKUT, refuse) == ("OFFICER_MISSING", "authorization")
    assert life.refused(applications.refuse, DAI, refuse, "one") == ("FOREIGN_ACCREDITATION", "accreditation_id")
    life.do(applications.refuse, NOKUT, refuse, "one")
    assert life.case(id_).state == registry_pb2.CASE_STATE_REFUSED
    refuse.base_revision = 2
    closed = ("APPLICATION_CLOSED", "accreditation_id")
    assert life.refused(applications.refuse, NOKUT, refuse, "two") == closed
    assert life.refused(decisions.grant, NOKUT, answer(id_), "two") == closed


@pytest.mark.parametrize(
    ("caller", "changes", "reason", "field"),
    [
        (NOKUT, {}, "PROVIDER_UNKNOWN", "provider"),
        (FAGSKOLE, {"authority": PRIVATE}, "AUTHORITY_UNKNOWN", "authority"),
        (FAGSKOLE, {"authority": HKDIR}, "AUTHORITY_NOT_RESPONSIBLE", "authority"),
        (FAGSKOLE, {"authority": DAI}, "AUTHORITY_NOT_RESPONSIBLE", "authority"),
        (FAGSKOLE, {"kind": "no.self_accrediting"}, "KIND_NOT_HELD", "kind"),
        (FAGSKOLE, {"kind": "no.such"}, "UNKNOWN_TERM", "kind"),
        (FAGSKOLE, {"scope": facts_pb2.Scope(credential_kinds=["no.kompetanseattest"])}, "KIND_NOT_ALLOWED",
         "scope.credential_kinds[0]"),
        (FAGSKOLE, {"valid_until": timestamp(NOW)}, "DATES_CONTRADICT", "valid_until"),
        (FAGSKOLE, {"documents": [facts_pb2.Document(title="Plan", digest="A" * 43)] * 2}, "DOCUMENT_REPEATED",
         "documents[1].digest"),
    ],
)  # fmt: skip
def test_applications_that_are_refused_at_once(caller: str, changes: dict[str, Any], reason: str, field: str) -> None:
    assert Life().refused(applications.apply, caller, application(**changes)) == (reason, field)


def test_what_one_officer_proposed_only_another_confirms() -> None:
    life = Life()
    assert life.refused(decisions.withdraw, DAI, withdrawal()) == ("OFFICER_MISSING", "authorization")
    proposal = life.do(decisions.withdraw, DAI, withdrawal(), "one")
    confirmation = life.confirmation(proposal)
    assert life.refused(decisions.confirm, DAI, confirmation, "one") == ("OWN_PROPOSAL", "accreditation_id")
    assert life.refused(decisions.confirm, DAI, confirmation) == ("OFFICER_MISSING", "authorization")
    assert life.refused(decisions.confirm, NOKUT, confirmation, "two") == ("FOREIGN_ACCREDITATION", "accreditation_id")
    again = life.refused(decisions.withdraw, DAI, withdrawal(), "two")
    assert again == ("DECISION_PENDING", "accreditation_id")
    stale = registry_pb2.ConfirmDecisionRequest(accreditation_id=ACCREDITATION, base_revision=9)
    assert life.refused(decisions.confirm, DAI, stale, "two") == ("REVISION_MOVED", "base_revision")
    life.confirm(proposal)
    # A third officer who was slower is told.
    assert life.refused(decisions.confirm, DAI, confirmation, "three") == ("NOTHING_PROPOSED", "accreditation_id")


def test_what_is_declined_changes_nothing_and_can_be_proposed_anew() -> None:
    life = Life()
    proposal = life.do(decisions.withdraw, DAI, withdrawal(), "one")
    decline = registry_pb2.DeclineDecisionRequest(accreditation_id=ACCREDITATION, base_revision=1, statement="No.")
    life.do(decisions.decline, DAI, decline, "one")
    assert life.case(ACCREDITATION).pending is None
    assert life.refused(decisions.confirm, DAI, life.confirmation(proposal), "two")[0] == "NOTHING_PROPOSED"
    anew = life.do(decisions.withdraw, DAI, withdrawal(), "two")
    other = life.refused(decisions.confirm, DAI, life.confirmation(proposal), "one")
    assert other == ("REVISION_MOVED", "base_revision"), "nobody confirms another proposal than the one they read"
    assert life.confirm(anew, "one").accreditation.revision == 2


def test_a_provider_that_reports_changes_does_not_hold_off_its_withdrawal() -> None:
    life = Life()
    proposal = life.do(decisions.withdraw, DAI, withdrawal(), "one")
    report = registry_pb2.ReportChangeRequest(
        accreditation_id=ACCREDITATION,
        change=facts_pb2.PROVIDER_CHANGE_NAME,
        changed_at=timestamp(NOW),
        statement="Another name.",
    )
    for _ in range(3):
        life.do(applications.report_change, UCL, report)
    assert life.case(ACCREDITATION).pending == proposal
    unread = registry_pb2.ConfirmDecisionRequest(accreditation_id=ACCREDITATION, base_revision=5)
    assert life.refused(decisions.confirm, DAI, unread, "two") == ("REVISION_MOVED", "base_revision")
    assert life.confirm(proposal).accreditation.state == facts_pb2.ACCREDITATION_STATE_WITHDRAWN
    assert life.case(ACCREDITATION).pending is None


def test_a_confirmation_decides_on_what_is_known_then() -> None:
    life = Life()
    proposal = life.do(decisions.withdraw, DAI, withdrawal(), "one")
    suspension = registry_pb2.SuspendAccreditationRequest(
        accreditation_id=ACCREDITATION, base_revision=1, ground="case 5"
    )
    life.do(accreditations.suspend, DAI, suspension, "three")
    assert life.refused(decisions.confirm, DAI, life.confirmation(proposal), "two")[0] == "REVISION_MOVED"


def test_a_withdrawal_from_now_on_counts_from_its_confirmation_and_one_backwards_from_where_it_says() -> None:
    for asked, expected in ((None, NOW + 5 * DAY), (NOW - 9 * DAY, NOW - 9 * DAY)):
        life = Life()
        request = withdrawal(effective_from=timestamp(asked)) if asked else withdrawal()
        proposal = life.do(decisions.withdraw, DAI, request, "one")
        life.now += 5 * DAY
        assert instant(life.confirm(proposal).accreditation.effective_from) == expected


def test_an_amendment_whose_instant_passed_while_it_waited_counts_from_its_confirmation() -> None:
    life = Life()
    request = registry_pb2.AmendAccreditationRequest(
        accreditation_id=ACCREDITATION, base_revision=1, scope=ECTS5, effective_from=timestamp(NOW + DAY)
    )
    proposal = life.do(decisions.amend, DAI, request, "one")
    life.now += 2 * DAY
    assert instant(life.confirm(proposal).accreditation.effective_from) == NOW + 2 * DAY


def test_revoking_is_ordered_by_two_officers_and_only_after_a_withdrawal() -> None:
    life = Life()
    order = registry_pb2.OrderRevocationRequest(accreditation_id=ACCREDITATION, base_revision=1, ground="case 6")
    assert life.refused(decisions.order_revocation, DAI, order, "one") == ("NOT_WITHDRAWN", "accreditation_id")
    life.confirm(life.do(decisions.withdraw, DAI, withdrawal(), "one"))
    order.base_revision = 2
    said = life.confirm(life.do(decisions.order_revocation, DAI, order, "one")).case_step
    assert (said.kind, said.draft.revision, said.proposed_by) == (
        facts_pb2.CASE_STEP_KIND_REVOCATION_ORDERED,
        2,
        "one",
    )
    assert life.case(ACCREDITATION).pending is None


def limited(**changes: Any) -> Life:
    """UCL's accreditation with an end and a review ahead."""
    life = Life()
    request = registry_pb2.AmendAccreditationRequest(
        accreditation_id=ACCREDITATION, base_revision=1, scope=ECTS5, **changes
    )
    life.confirm(life.do(decisions.amend, DAI, request, "one"))
    return life


def renewal(base: int, until: datetime | None) -> registry_pb2.RenewAccreditationRequest:
    return registry_pb2.RenewAccreditationRequest(
        accreditation_id=ACCREDITATION,
        base_revision=base,
        ground="case 7",
        valid_until=timestamp(until) if until else None,
    )


def test_what_is_due_is_told_once_for_each_lead_time_and_what_lapsed_is_a_fact() -> None:
    life = limited(valid_until=timestamp(NOW + 200 * DAY), review_at=timestamp(NOW + 100 * DAY))
    assert life.tell()[0].case_step.due == facts_pb2.DUE_KIND_REVIEW
    assert life.tell() == [], "told once"
    told = []
    for day in range(0, 230, 5):
        life.now = NOW + day * DAY
        told += [
            (day, fact.case_step.due, fact.case_step.lead_days) for fact in life.tell() if fact.HasField("case_step")
        ]
    end, review = facts_pb2.DUE_KIND_END, facts_pb2.DUE_KIND_REVIEW
    assert told == [(10, review, 90), (20, end, 180), (70, review, 30), (110, end, 90), (170, end, 30)]
    lapse = life.chronicle.facts[-1].accreditation
    assert (lapse.state, lapse.revision) == (facts_pb2.ACCREDITATION_STATE_LAPSED, 3)
    assert instant(lapse.effective_from) == NOW + 200 * DAY
    assert not lapse.case_revision
    # Renewed, it is granted again from then on, and the gap stays.
    assert life.refused(decisions.renew, DAI, renewal(3, NOW + 220 * DAY), "one") == ("RENEWAL_SHORTENS", "valid_until")
    amendment = registry_pb2.AmendAccreditationRequest(accreditation_id=ACCREDITATION, base_revision=3, scope=ECTS5)
    assert life.refused(decisions.amend, DAI, amendment, "one") == ("ACCREDITATION_LAPSED", "accreditation_id")
    said = life.confirm(life.do(decisions.renew, DAI, renewal(3, NOW + 900 * DAY), "one")).accreditation
    assert (said.state, instant(said.effective_from)) == (facts_pb2.ACCREDITATION_STATE_GRANTED, life.now)
    held = life.case(ACCREDITATION).held
    assert held is not None
    gap = held.at(int((NOW + 210 * DAY).timestamp() * 1000))
    assert gap is not None
    assert gap.state == facts_pb2.ACCREDITATION_STATE_LAPSED


def test_nothing_lapses_while_its_renewal_waits_for_the_second_officer() -> None:
    life = limited(valid_until=timestamp(NOW + DAY))
    proposal = life.do(decisions.renew, DAI, renewal(2, NOW + 900 * DAY), "one")
    life.now += 2 * DAY
    assert life.tell() == []
    assert instant(life.confirm(proposal).accreditation.effective_from) == life.now


def test_a_review_comes_after_what_it_reviews() -> None:
    life = Life()
    request = registry_pb2.AmendAccreditationRequest(
        accreditation_id=ACCREDITATION, base_revision=1, scope=ECTS5, review_at=timestamp(NOW)
    )
    assert life.refused(decisions.amend, DAI, request, "one") == ("DATES_CONTRADICT", "review_at")


def test_a_placement_is_reviewed_within_ten_years_of_its_grant_or_renewal_however_often_it_is_amended() -> None:
    myh, industry, decade = "0007:2021999905", "0007:5599999918", 10
    remit = facts_pb2.Remit(
        country="SE", provider_kinds=["se.industry_body"], accreditation_kinds=["se.seqf_placement"]
    )
    chronicle = Chronicle()
    entry = facts_pb2.Authority(id=myh, name=[text("MYH")], remit=remit, revision=1)
    chronicle.record(myh, actor=OPERATOR, authority=entry)
    chronicle.provider(industry, country="SE", kind="se.industry_body")
    life = Life(chronicle)
    placed = scope("se.kvalifikationsbevis", levels=[("se.seqf", "4")], educations=["bransch.ventilation"])
    request = registry_pb2.GrantAccreditationRequest(provider=industry, kind="se.seqf_placement", scope=placed)
    said = life.confirm(life.do(decisions.grant, myh, request, "one")).accreditation
    latest = NOW.replace(year=NOW.year + decade)
    assert instant(said.review_at) == latest, "the latest that the national rules allow"
    life.now += 8 * 365 * DAY

    def amendment(base: int, review: datetime) -> registry_pb2.AmendAccreditationRequest:
        return registry_pb2.AmendAccreditationRequest(
            accreditation_id=said.id, base_revision=base, scope=placed, review_at=timestamp(review)
        )

    late = life.refused(decisions.amend, myh, amendment(1, latest + DAY), "one")
    assert late == ("REVIEW_TOO_LATE", "review_at"), "an amendment is no review"
    life.confirm(life.do(decisions.amend, myh, amendment(1, latest), "one"))
    renewal = registry_pb2.RenewAccreditationRequest(accreditation_id=said.id, base_revision=2, ground="reviewed")
    renewed = life.confirm(life.do(decisions.renew, myh, renewal, "one")).accreditation
    latest = life.now.replace(year=life.now.year + decade)
    assert instant(renewed.review_at) == latest
    assert life.refused(decisions.amend, myh, amendment(3, latest + DAY), "one") == ("REVIEW_TOO_LATE", "review_at")
    assert life.do(decisions.amend, myh, amendment(3, latest), "one").case_step.revision == 4


def test_a_condition_is_met_after_the_grant() -> None:
    life = Life(after((facts_pb2.ACCREDITATION_STATE_WITHDRAWN, NOW - DAY)))
    late = [facts_pb2.Condition(text="Examiners.", due_at=timestamp(NOW))]
    request = answer("", provider=UCL, kind="dk.institution", scope=ECTS5, conditions=late)
    assert life.refused(decisions.grant, DAI, request, "one") == ("DATES_CONTRADICT", "conditions[0].due_at")


def test_who_holds_an_accreditation_reports_changes_of_its_own() -> None:
    life = Life()
    request = registry_pb2.ReportChangeRequest(
        accreditation_id=ACCREDITATION,
        change=facts_pb2.PROVIDER_CHANGE_OWNERSHIP,
        changed_at=timestamp(NOW - DAY),
        statement="A foundation owns us.",
    )
    said = life.do(applications.report_change, UCL, request).case_step
    assert (said.kind, said.change, said.revision) == (
        facts_pb2.CASE_STEP_KIND_CHANGE_REPORTED,
        facts_pb2.PROVIDER_CHANGE_OWNERSHIP,
        1,
    )
    foreign = ("FOREIGN_ACCREDITATION", "accreditation_id")
    assert life.refused(applications.report_change, FAGSKOLE, request) == foreign
    for _ in range(applications.MAX_REPORTS - 1):
        life.do(applications.report_change, UCL, request)
    assert life.refused(applications.report_change, UCL, request) == ("TOO_MANY_REPORTS", "accreditation_id")
    life.now += DAY
    life.do(applications.report_change, UCL, request)
    request.accreditation_id = uuid(0xDEAD)
    assert life.refused(applications.report_change, UCL, request) == ("ACCREDITATION_UNKNOWN", "accreditation_id")


def test_a_provider_gets_another_name_and_closes_into_its_successor() -> None:
    life = Life()
    renamed = registry_pb2.AmendProviderRequest(provider=UCL, base_revision=1, ground="new name")
    renamed.name.add(language="da", text="UCL Ny")
    entry = life.do(organisations.amend_provider, DAI, renamed).provider
    assert (entry.revision, entry.name[0].text) == (2, "UCL Ny")
    assert life.refused(organisations.amend_provider, DAI, renamed) == ("REVISION_MOVED", "base_revision")
    known = life.chronicle.projection().provider(UCL, len(life.chronicle.facts) - 1)
    assert known is not None
    assert known.name[0].text == "Provider", "as known before"
    close: Callable[[str], registry_pb2.CloseProviderRequest] = lambda successor: registry_pb2.CloseProviderRequest(  # noqa: E731
        provider=UCL, base_revision=2, ground="merged", succeeded_by=successor
    )
    assert life.refused(closing.propose, DAI, close(UCL), "one") == ("OWN_SUCCESSOR", "succeeded_by")
    assert life.refused(closing.propose, DAI, close("0192:874789542"), "one") == ("PROVIDER_CLOSED", "succeeded_by")
    assert life.refused(closing.propose, DAI, close(FAGSKOLE)) == ("OFFICER_MISSING", "authorization")
    proposal = life.do(closing.propose, DAI, close(FAGSKOLE), "one")
    case_id = proposal.case_step.id
    assert life.case(case_id).state == registry_pb2.CASE_STATE_PROPOSED
    unchanged = life.chronicle.projection().provider(UCL)
    assert unchanged is not None
    assert not unchanged.HasField("closed_at"), "one officer is not enough"
    # It is the other officer's to confirm, of this authority; who proposed it can take it back.
    assert life.refused(decisions.confirm, DAI, life.confirmation(proposal), "one") == (
        "OWN_PROPOSAL",
        "accreditation_id",
    )
    assert life.refused(decisions.confirm, NOKUT, life.confirmation(proposal), "two") == (
        "FOREIGN_ACCREDITATION",
        "accreditation_id",
    )
    life.now += DAY
    fact = life.confirm(proposal)
    said = fact.provider
    assert (said.succeeded_by, instant(said.closed_at), said.ground) == (FAGSKOLE, life.now, "merged")
    assert (said.closing_case, said.closing_proposed_by, fact.officer) == (case_id, "one", "two")
    assert life.case(case_id).state == registry_pb2.CASE_STATE_DECIDED
    assert life.refused(decisions.confirm, DAI, life.confirmation(proposal), "three") == (
        "NOTHING_PROPOSED",
        "accreditation_id",
    )


def closure(provider: str, revision: int = 1, **changes: Any) -> registry_pb2.CloseProviderRequest:
    return registry_pb2.CloseProviderRequest(provider=provider, base_revision=revision, ground="merged", **changes)


def test_a_closure_that_is_declined_or_overtaken_does_not_happen() -> None:
    life = Life()
    declined, overtaken = (life.do(closing.propose, DAI, closure(UCL), "one") for _ in range(2))
    no = registry_pb2.DeclineDecisionRequest(accreditation_id=declined.case_step.id, base_revision=1, statement="no")
    life.do(decisions.decline, DAI, no, "two")
    assert life.case(declined.case_step.id).state == registry_pb2.CASE_STATE_REFUSED
    renamed = registry_pb2.AmendProviderRequest(provider=UCL, base_revision=1, ground="new name")
    renamed.name.add(language="da", text="UCL Ny")
    life.do(organisations.amend_provider, DAI, renamed)
    assert life.refused(decisions.confirm, DAI, life.confirmation(overtaken), "two") == (
        "REVISION_MOVED",
        "base_revision",
    )
    # An end that passes between proposal and confirmation counts from the confirmation.
    proposal = life.do(closing.propose, DAI, closure(UCL, 2, closed_at=timestamp(NOW + DAY)), "one")
    life.now += 2 * DAY
    assert instant(life.confirm(proposal).provider.closed_at) == life.now


def test_nobody_takes_over_from_itself_by_way_of_others() -> None:
    life = Life()
    soon = timestamp(NOW + 9 * DAY)
    life.confirm(life.do(closing.propose, NOKUT, closure(FAGSKOLE, closed_at=soon, succeeded_by=UCL), "one"))
    circle = closure(UCL, succeeded_by=FAGSKOLE)
    assert life.refused(closing.propose, DAI, circle, "one") == ("CIRCULAR_SUCCESSION", "succeeded_by")
    # Two proposals that are right by themselves: the second is refused when it is confirmed.
    life = Life()
    there = life.do(closing.propose, NOKUT, closure(FAGSKOLE, closed_at=soon, succeeded_by=UCL), "one")
    back = life.do(closing.propose, DAI, closure(UCL, closed_at=soon, succeeded_by=FAGSKOLE), "one")
    life.confirm(there)
    assert life.refused(decisions.confirm, DAI, life.confirmation(back), "two") == (
        "CIRCULAR_SUCCESSION",
        "succeeded_by",
    )


def test_a_decision_that_nobody_could_make_is_not_even_proposed() -> None:
    life = Life()
    early = withdrawal(effective_from=timestamp(NOW - 4000 * DAY))
    assert life.refused(decisions.withdraw, DAI, early, "one") == ("DATES_CONTRADICT", "effective_from")
