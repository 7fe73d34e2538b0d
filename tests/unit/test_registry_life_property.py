"""Whatever officers do in whatever order: nobody issues outside what was valid, and two decided what was decided."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry import accreditations, closing, decisions
from services.registry.desk import Desk
from services.registry.notices import notices
from tests.unit.accreditation_samples import ALL, DAI, NOW, OPERATOR, UCL, Chronicle, achievement, scope, text, uuid
from tests.unit.test_registry_changes import remit
from vitne.accreditation import Projection, case_of, decide, instant, timestamp
from vitne.accreditation.facts import fact_from_json, fact_json
from vitne.clock import ManualClock
from vitne.errors import VitneError
from vitne.identifiers import UuidFactory
from vitne_api.registry.v1 import facts_pb2, registry_pb2

DAY = timedelta(days=1)
OFFERED = uuid(0xC001)
#: What is offered is 1 ECTS at level 5: the first two scopes cover it, the third does not.
SCOPES = tuple(
    scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", **sizes)
    for sizes in ({}, {"max_points": "5"}, {"min_points": "2"})
)
#: Days from now; None: not stated.
DAYS = st.sampled_from([None, -20, -6, -1, 1, 6, 20])

FORWARD = st.sampled_from([None, None, 1, 6])
ENDS = st.sampled_from([None, 6, 20, 40])
OPERATIONS = st.one_of(
    st.tuples(st.just("grant"), st.integers(0, 2), DAYS, ENDS),
    st.tuples(st.just("amend"), st.integers(0, 2), FORWARD, ENDS),
    st.tuples(st.just("renew"), ENDS),
    st.tuples(st.just("withdraw"), DAYS),
    st.tuples(st.just("suspend"), FORWARD),
    st.tuples(st.just("reinstate"), FORWARD),
    st.tuples(st.just("tell")),
    st.tuples(st.just("confirm")),
    st.tuples(st.just("decline")),
)
#: By which officer, of two: mostly by the one whose turn it is.
OUT_OF_TURN = st.sampled_from([False, False, False, True])
#: Hours from one thing to the next.
HOURS = st.integers(0, 72)
#: What is done, by whom, about which of the cases, and how much later; and how much later it is confirmed, if it is.
STEPS = st.lists(
    st.tuples(OPERATIONS, OUT_OF_TURN, st.integers(0, 2), HOURS, st.one_of(HOURS, HOURS, st.none())),
    min_size=4,
    max_size=20,
)
#: Before which step the provider closes; mostly never.
CLOSING = st.one_of(st.none(), st.none(), st.integers(4, 19))


@dataclass(frozen=True)
class Segment:
    """What a model says of an accreditation from an instant on."""

    starts: datetime
    allows: bool
    valid_from: datetime
    valid_until: datetime | None


@dataclass
class Model:
    """What is valid when, kept by cutting what a later word replaces: nothing of how projections look it up."""

    held: dict[str, list[Segment]] = field(default_factory=dict)
    closed_at: datetime | None = None

    def hear(self, fact: facts_pb2.Fact) -> None:
        if fact.HasField("provider") and fact.provider.HasField("closed_at"):
            self.closed_at = instant(fact.provider.closed_at)
        if fact.HasField("accreditation"):
            said = fact.accreditation
            covers = said.state == facts_pb2.ACCREDITATION_STATE_GRANTED and said.scope.min_points != "2"
            starts = instant(said.effective_from)
            until = instant(said.valid_until) if said.HasField("valid_until") else None
            stays = [each for each in self.held.get(said.id, []) if each.starts < starts]
            self.held[said.id] = [*stays, Segment(starts, covers, instant(said.valid_from), until)]

    def allows(self, at: datetime) -> bool:
        if self.closed_at is not None and at >= self.closed_at:
            return False
        for segments in self.held.values():
            spoken = [each for each in segments if each.starts <= at]
            last = spoken[-1] if spoken else None
            if last and last.allows and last.valid_from <= at and (last.valid_until is None or at < last.valid_until):
                return True
        return False


class Office:
    """A registry at work, with a model that hears what it records."""

    def __init__(self) -> None:
        self.chronicle = Chronicle()
        self.projection = Projection()
        self.model = Model()
        #: The model as it was at each registry revision.
        self.known: list[Model] = [copy.deepcopy(self.model)]
        self.now = NOW
        self.new_id = UuidFactory(ManualClock(NOW))
        self.refusals: list[VitneError] = []
        authority = facts_pb2.Authority(id=DAI, name=[text("DAI")], remit=remit(DAI), revision=1)
        self.chronicle.record(DAI, actor=OPERATOR, authority=authority)
        self.chronicle.provider(UCL)
        self.chronicle.publish(
            achievement(UCL, "dk.micro_credential", workload=("ects", "1"), level=("dk.nqf", "5"), id=OFFERED)
        )
        for fact in self.chronicle.facts:
            self._learn(fact)
        self.attempt(("grant", 0, None, None))
        self.attempt(("confirm",))

    def _learn(self, fact: facts_pb2.Fact) -> None:
        self.projection.fold(fact)
        self.model.hear(fact)
        self.known.append(copy.deepcopy(self.model))

    def record(self, draft: facts_pb2.Fact, actor: str) -> None:
        content = draft.WhichOneof("content")
        assert content is not None
        said = {content: getattr(draft, content)}
        fact = self.chronicle.record(draft.subject, actor=actor, officer=draft.officer, **said)
        fact.recorded_at.CopyFrom(timestamp(self.now))
        self._learn(fact)

    def desk(self, caller: str, officer: str) -> Desk:
        return Desk(self.projection, ALL, OPERATOR, caller, self.now, self.new_id, officer)

    def attempt(self, operation: tuple[Any, ...], out_of_turn: bool = False, which: int = 0) -> None:
        """Do it, or be refused."""
        name, *values = operation
        officer = "two" if name.startswith("confirm") != out_of_turn else "one"
        try:
            if name == "tell":
                for fact in list(notices(self.desk(OPERATOR, ""), (30, 7))):
                    self.record(fact, OPERATOR)
            else:
                act, request = self._request(name, values, which)
                self.record(act(self.desk(DAI, officer), request), DAI)
        except VitneError as refusal:
            self.refusals.append(refusal)

    def _at(self, days: int | None) -> Any:
        return None if days is None else timestamp(self.now + days * DAY)

    def _request(self, name: str, values: list[Any], which: int) -> tuple[Any, Any]:
        every = [(each, case_of(self.projection, each)) for each in self.projection.case_ids(DAI)]
        closures = [each for each, case in every if case and case.steps[0].case_step.HasField("closing")]
        if name == "confirm_closing":
            return decisions.confirm, registry_pb2.ConfirmDecisionRequest(
                accreditation_id=closures[-1] if closures else uuid(0xDEAD), base_revision=1
            )
        cases = [each for each, _ in every if each not in closures]
        id_ = cases[which % len(cases)] if cases else uuid(0xDEAD)
        case = case_of(self.projection, id_)
        base = case.held.newest.revision if case and case.held else 1
        about: dict[str, Any] = {"accreditation_id": id_, "base_revision": base}
        match name:
            case "grant":
                covered, starts, ends = values
                return decisions.grant, registry_pb2.GrantAccreditationRequest(
                    provider=UCL,
                    kind="dk.institution",
                    scope=SCOPES[covered],
                    valid_from=self._at(starts),
                    valid_until=self._at(ends),
                    ground="case",
                )
            case "amend":
                covered, starts, ends = values
                return decisions.amend, registry_pb2.AmendAccreditationRequest(
                    **about, scope=SCOPES[covered], effective_from=self._at(starts), valid_until=self._at(ends)
                )
            case "renew":
                return decisions.renew, registry_pb2.RenewAccreditationRequest(
                    **about, valid_until=self._at(values[0]), ground="g"
                )
            case "withdraw":
                return decisions.withdraw, registry_pb2.WithdrawAccreditationRequest(
                    **about, effective_from=self._at(values[0]), ground="g"
                )
            case "suspend":
                return accreditations.suspend, registry_pb2.SuspendAccreditationRequest(
                    **about, effective_from=self._at(values[0]), ground="g"
                )
            case "reinstate":
                return accreditations.reinstate, registry_pb2.ReinstateAccreditationRequest(
                    **about, effective_from=self._at(values[0]), ground="g"
                )
            case "close":
                entry = self.projection.provider(UCL)
                assert entry is not None
                return closing.propose, registry_pb2.CloseProviderRequest(
                    provider=UCL, base_revision=entry.revision, closed_at=self._at(values[0]), ground="g"
                )
        for waiting in filter(None, (case_of(self.projection, each) for each in cases)):
            if waiting.pending is not None:
                id_, case = waiting.id, waiting
        step: dict[str, Any] = {"accreditation_id": id_, "base_revision": case.revision if case else 1}
        if name == "confirm":
            return decisions.confirm, registry_pb2.ConfirmDecisionRequest(**step)
        return decisions.decline, registry_pb2.DeclineDecisionRequest(**step, statement="no")

    def allowed(self, projection: Projection, at: datetime, known_at: int) -> bool:
        return decide(projection, ALL, UCL, OFFERED, 1, at, known_at).allowed


@settings(max_examples=40)
@given(STEPS, CLOSING, st.randoms(use_true_random=False))
def test_whatever_is_done_nobody_issues_outside_what_was_valid(
    steps: list[Any], closes: int | None, chance: random.Random
) -> None:
    office = Office()
    moments = [office.now]
    for number, (operation, out_of_turn, which, hours, confirmed) in enumerate(steps):
        office.now += timedelta(hours=hours)
        if number == closes:
            office.attempt(("close", chance.choice((None, 1, 6))))
            # Sometimes by the officer who proposed it, and sometimes not at all.
            if chance.random() < 0.8:
                office.attempt(("confirm_closing",), out_of_turn)
        office.attempt(operation, out_of_turn, which)
        if confirmed is not None:
            office.now += timedelta(hours=confirmed)
            office.attempt(("confirm",), which=which)
        newest = office.projection.revision
        assert office.allowed(office.projection, office.now, newest) == office.model.allows(office.now)
        moments.append(office.now)
    facts = office.chronicle.facts
    # As of t, as known at u, for any pair: also of instants long past or to come, and of what was known long ago.
    pairs = [
        (chance.choice(moments) + chance.choice((-21, -5, 0, 0, 5, 21)) * DAY, chance.randint(3, len(facts)))
        for _ in range(20)
    ]
    answers = [office.allowed(office.projection, at, known_at) for at, known_at in pairs]
    assert answers == [office.known[known_at].allows(at) for at, known_at in pairs]
    # The events replayed, through their bytes and with subjects interleaved otherwise, give the same registry.
    again = Projection()
    for fact in sorted(facts, key=lambda fact: (fact.subject, fact.subject_revision)):
        again.fold(fact_from_json(fact_json(fact)))
    assert again.revision == office.projection.revision
    assert [office.allowed(again, at, known_at) for at, known_at in pairs] == answers
    assert [case_of(again, each) for each in again.case_ids(DAI)] == [
        case_of(office.projection, each) for each in office.projection.case_ids(DAI)
    ]
    two_officers_decided(facts)
    assert all(refusal.rule and refusal.remedy for refusal in office.refusals)


def two_officers_decided(facts: list[facts_pb2.Fact]) -> None:
    """Whatever gives an accreditation, more of it, or ends it was proposed by one officer and confirmed by another."""
    before: dict[str, facts_pb2.Accreditation] = {}
    for fact in facts:
        if fact.HasField("provider") and fact.provider.HasField("closed_at"):
            assert fact.officer
            assert fact.provider.closing_proposed_by not in ("", fact.officer)
        if not fact.HasField("accreditation"):
            continue
        said = fact.accreditation
        earlier = before.get(said.id)
        before[said.id] = said
        if said.case_revision:
            assert said.proposed_by
            assert fact.officer
            assert fact.officer != said.proposed_by
            continue
        # One officer suspends and ends suspensions; that something lapsed is nobody's decision. Neither gives more.
        assert earlier is not None
        assert said.state != facts_pb2.ACCREDITATION_STATE_WITHDRAWN
        assert (said.scope, said.valid_from, said.valid_until) == (
            earlier.scope,
            earlier.valid_from,
            earlier.valid_until,
        )
        if said.state == facts_pb2.ACCREDITATION_STATE_GRANTED:
            assert earlier.state == facts_pb2.ACCREDITATION_STATE_SUSPENDED
