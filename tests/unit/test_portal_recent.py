"""What pages have said lately: read once, never shown to whom it is not hers any more, and gone soon."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from services.portal import presentation
from services.portal.presentation import show
from services.portal.recent import ANSWER_SECONDS, LIFETIME, RecentPages
from tests.unit.asgi import call
from tests.unit.credential_samples import sample_achievement, sample_credential, texts
from tests.unit.portal_site import LOGGED_IN, Registry, answer, learner_site
from tests.unit.test_portal_presentation import FETCHED_AT, TODAY, kept
from vitne.clock import ManualClock
from vitne_api.registry.v1 import stacking_pb2

QUESTION = stacking_pb2.EvaluateStackingRequest(
    credentials=[stacking_pb2.StackedCredential(reference="0", awarded_on="2026-01-01")]
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(FETCHED_AT)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was read of credentials, so far."""
    taken: list[Any] = []
    plain = presentation.read

    def counted(one: Any) -> Any:
        taken.append(one.handle)
        return plain(one)

    monkeypatch.setattr(presentation, "read", counted)
    return taken


def test_a_credential_is_read_once_and_how_it_stands_with_it_is_told_anew(clock: ManualClock, read: list[Any]) -> None:
    words = RecentPages(clock).of(b"kari", ["nb"]).words
    mine = kept(sample_credential(expires_on=date(2027, 1, 1)))
    later = kept(artefact=mine.artefact, status="revoked")
    first, second = (show([one], ["nb"], TODAY, words)[0] for one in (mine, later))
    (third,) = show([mine], ["nb"], date(2027, 1, 1), words)
    assert [one.status for one in (first, second, third)] == ["valid", "revoked", "expired"]
    assert len(read) == 1
    assert [first] == show([mine], ["nb"], TODAY), "as if it had been read anew"


def test_another_artefact_is_read_and_what_can_not_be_read_is_tried_once(clock: ManualClock, read: list[Any]) -> None:
    words = RecentPages(clock).of(b"kari", ["nb"]).words
    old, new = (
        kept(sample_credential(achievement=sample_achievement(title=texts(nb=title)))) for title in ("Før", "Etter")
    )
    assert [show([one], ["nb"], TODAY, words)[0].title for one in (old, new, old)] == ["Før", "Etter", "Før"]
    broken = kept(artefact="no.credential~")
    assert [show([broken], ["nb"], TODAY, words)[0].title for _ in range(2)] == [None, None]
    nothing = kept(artefact=None, unreadable=True)
    assert show([nothing], ["nb"], TODAY, words)[0].state == "unreadable"
    assert len(read) == 4
    assert len(words) == 3, "where nothing decrypts nothing is kept"


def test_neither_name_nor_number_is_in_it(clock: ManualClock) -> None:
    words = RecentPages(clock).of(b"kari", ["nb"]).words
    credential = sample_credential()
    show([kept(credential)], ["nb"], TODAY, words)
    learner, told = credential.learner, repr(words)
    assert learner.id is not None
    assert learner.birth_date is not None
    for said in (learner.id.value, learner.given_name, learner.family_name, learner.birth_date.isoformat()):
        assert said
        assert said not in told


def test_it_is_over_after_its_time_whether_she_looks_or_not(clock: ManualClock) -> None:
    pages = RecentPages(clock)
    words = pages.of(b"kari", ["nb"]).words
    clock.advance(timedelta(seconds=LIFETIME - 1))
    assert pages.of(b"kari", ["nb"]).words is words
    clock.advance(timedelta(seconds=1))
    pages.sweep()
    assert pages.of(b"kari", ["nb"]).words is not words, "looking did not make it last longer"


def test_it_is_hers_alone_in_her_languages_and_gone_when_she_leaves(clock: ManualClock) -> None:
    pages = RecentPages(clock)
    hers = pages.of(b"kari", ["nb", "en"]).words
    assert pages.of(b"ola", ["nb", "en"]).words is not hers
    assert pages.of(b"kari", ["nb", "en"]).words is hers
    pages.forget(b"kari")
    again = pages.of(b"kari", ["nb", "en"]).words
    assert again is not hers
    assert pages.of(b"kari", ["en"]).words is not again
    pages.forget(b"nobody")


def test_there_is_room_for_so_much_and_the_oldest_goes_first(clock: ManualClock) -> None:
    pages = RecentPages(clock, most=10)
    kept_words = {}
    for name in (b"a", b"b", b"c"):
        kept_words[name] = pages.of(name, ["nb"]).words
        kept_words[name].update({number.to_bytes(): None for number in range(3)})
    pages.sweep()
    assert pages.of(b"b", ["nb"]).words is kept_words[b"b"]
    assert pages.of(b"a", ["nb"]).words is not kept_words[b"a"]


def test_pages_that_are_filled_while_others_begin_count_as_well(clock: ManualClock) -> None:
    pages = RecentPages(clock, most=10)
    begun = {name: pages.of(name, ["nb"]) for name in (b"a", b"b", b"c")}
    for recent in begun.values():
        recent.words.update({number.to_bytes(): None for number in range(3)})
    pages.sweep()
    assert pages.of(b"c", ["nb"]) is begun[b"c"]
    assert pages.of(b"a", ["nb"]) is not begun[b"a"]


def test_an_answer_that_comes_after_another_page_began_counts_as_well(clock: ManualClock) -> None:
    pages = RecentPages(clock, most=10)
    first, _ = pages.of(b"a", ["nb"]), pages.of(b"b", ["nb"])
    long = stacking_pb2.EvaluateStackingResponse(not_asked_for=["x" * 10 * 2048])
    first.keep_answer(QUESTION, long, clock.monotonic())
    pages.sweep()
    assert pages.of(b"a", ["nb"]) is not first


def test_an_answer_holds_for_the_same_question_and_not_for_long(clock: ManualClock) -> None:
    recent, said = RecentPages(clock).of(b"kari", ["nb"]), answer()
    now = clock.monotonic()
    assert recent.answer_to(QUESTION, now) is None
    recent.keep_answer(QUESTION, said, now)
    assert recent.answer_to(QUESTION, now + ANSWER_SECONDS - 1) is said
    assert recent.answer_to(stacking_pb2.EvaluateStackingRequest(), now) is None
    assert recent.answer_to(QUESTION, now + ANSWER_SECONDS) is None


async def test_a_page_asks_the_registry_once_and_each_of_its_words_is_on_the_next(read: list[Any]) -> None:
    registry = Registry(answer())
    mine = [kept(sample_credential(), handle=f"h{number:042}") for number in range(2)]
    site = learner_site(mine, registry)
    first, second = [(await call(site, "/me", headers=LOGGED_IN)).text for _ in range(2)]
    assert first == second
    assert len(registry.asked) == 1
    # One artefact, as one credential: both rows are in one page, read once.
    assert len(read) == 1


async def test_an_outage_of_the_registry_is_not_remembered() -> None:
    registry = Registry(None)
    site = learner_site([kept(sample_credential())], registry)
    for _ in range(2):
        assert (await call(site, "/me", headers=LOGGED_IN)).status == 200
    assert len(registry.asked) == 2
