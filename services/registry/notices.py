"""What is told without anybody asking: what is due soon, once for each lead time; and that an accreditation lapsed.

A command does it each morning (``due --record``): events reach whoever follows the
registry's facts, and "nobody had renewed it" is a fact with an instant of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.registry.accreditations import lapsed
from services.registry.decisions import next_step
from services.registry.desk import Desk
from vitne.accreditation import Case, Held, Projection, case_of, instant, timestamp
from vitne_api.registry.v1 import facts_pb2

_ENDED: Final = frozenset({facts_pb2.ACCREDITATION_STATE_WITHDRAWN, facts_pb2.ACCREDITATION_STATE_LAPSED})


class Deadline(NamedTuple):
    """Something that is due at an instant."""

    kind: facts_pb2.DueKind.ValueType
    at: datetime


def deadlines(said: facts_pb2.Accreditation) -> Iterator[Deadline]:
    """What is due by the newest revision of an accreditation; of what has ended, nothing."""
    if said.state in _ENDED:
        return
    if said.HasField("valid_until"):
        yield Deadline(facts_pb2.DUE_KIND_END, instant(said.valid_until))
    if said.HasField("review_at"):
        yield Deadline(facts_pb2.DUE_KIND_REVIEW, instant(said.review_at))
    for moment in sorted({instant(each.due_at) for each in said.conditions if each.HasField("due_at")}):
        yield Deadline(facts_pb2.DUE_KIND_CONDITION, moment)


def notices(desk: Desk, lead_days: Collection[int], providers: Iterable[str] | None = None) -> Iterator[facts_pb2.Fact]:
    """Facts about what is due within a lead time and was not told for it, and about what has lapsed.

    Where several lead times have passed, what is due is told once, for the shortest. While a proposal waits for its
    second officer, nothing lapses: that would take the ground from under it.

    Args:
        desk: what is known, and when.
        lead_days: lead times.
        providers: whose accreditations are looked at; None: everybody's.
    """
    for held in standing(desk.projection, desk.now, providers):
        said = held.newest.fact.accreditation
        if said.HasField("valid_until") and instant(said.valid_until) <= desk.now:
            case = case_of(desk.projection, held.id)
            in_order = said.effective_from.ToNanoseconds() <= said.valid_until.ToNanoseconds()
            if case is not None and case.pending is None and in_order:
                yield facts_pb2.Fact(subject=said.provider, accreditation=lapsed(said))
        else:
            yield from _due(desk, held, lead_days)


def _due(desk: Desk, held: Held, lead_days: Collection[int]) -> Iterator[facts_pb2.Fact]:
    soon = []
    for deadline in deadlines(held.newest.fact.accreditation):
        lead = min((days for days in lead_days if desk.now >= deadline.at - timedelta(days=days)), default=None)
        if lead is not None and deadline.at > desk.now:
            soon.append((deadline, lead))
    case = case_of(desk.projection, held.id) if soon else None
    if case is None:
        return
    news = [(deadline, lead) for deadline, lead in soon if not _told(case, deadline, lead)]
    for number, (deadline, lead) in enumerate(news):
        fact = next_step(desk, case, facts_pb2.CASE_STEP_KIND_DUE, "")
        fact.case_step.revision += number
        fact.case_step.due = deadline.kind
        fact.case_step.due_at.CopyFrom(timestamp(deadline.at))
        fact.case_step.lead_days = lead
        yield fact


def standing(projection: Projection, now: datetime, providers: Iterable[str] | None = None) -> Iterator[Held]:
    """Accreditations that were not ended, of providers that are open, by provider and id.

    Args:
        projection: what is known.
        now: decides who is open.
        providers: only theirs; None: everybody's.
    """
    for provider_id in projection.provider_ids() if providers is None else providers:
        provider = projection.provider(provider_id)
        if provider is None or (provider.HasField("closed_at") and instant(provider.closed_at) <= now):
            continue
        yield from (held for held in projection.accreditations_of(provider_id) if held.newest.state not in _ENDED)


def _told(case: Case, deadline: Deadline, lead: int) -> bool:
    """Whether a deadline was told for this lead time, or a shorter one."""
    return any(
        (fact.case_step.due, instant(fact.case_step.due_at)) == deadline and fact.case_step.lead_days <= lead
        for fact in case.steps
        if fact.case_step.kind == facts_pb2.CASE_STEP_KIND_DUE
    )
