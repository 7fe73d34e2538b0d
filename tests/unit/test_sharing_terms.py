"""The terms of a share, what opens it, and what is not in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.portal.sharing import access, presenting, terms
from services.portal.sharing.terms import State, Terms
from tests.unit.credential_samples import ENTROPY, PROVIDER_KEY, sample_credential
from vitne.canonical import from_b64url
from vitne.credentials import sd_jwt_vc
from vitne.errors import InvalidArgument

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def made(**changes: object) -> Terms:
    values = {
        "id": uuid4(),
        "created_at": NOW - timedelta(days=1),
        "expires_at": NOW + timedelta(days=1),
        "withdrawn_at": None,
        "wrong_codes": 0,
        "items": 1,
        **changes,
    }
    return Terms(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.OPEN),
        ({"wrong_codes": 4}, State.OPEN),
        ({"wrong_codes": 5}, State.LOCKED),
        ({"expires_at": NOW}, State.EXPIRED),
        ({"expires_at": NOW, "wrong_codes": 5}, State.EXPIRED),
        ({"withdrawn_at": NOW}, State.WITHDRAWN),
        ({"withdrawn_at": NOW, "expires_at": NOW}, State.WITHDRAWN),
        ({"items": 0}, State.WITHDRAWN),
    ],
)
def test_the_state_follows_from_the_terms(changes: dict[str, object], state: State) -> None:
    assert made(**changes).state(NOW) is state


def test_what_does_not_open_says_why_and_not_what_it_was() -> None:
    reasons = {state: terms.refusal(state).reason for state in State if state is not State.OPEN}
    assert reasons == {
        State.LOCKED: "SHARE_LOCKED",
        State.EXPIRED: "SHARE_EXPIRED",
        State.WITHDRAWN: "SHARE_WITHDRAWN",
    }


@pytest.mark.parametrize("days", ["", "0", "-1", "8", "30 ", "9999999999", "en uke"])
def test_a_lifetime_is_one_of_those_offered(days: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_LIFETIME"):
        terms.lifetime(days)


async def test_a_code_opens_its_own_link_however_it_is_written() -> None:
    one, other = access.new_access(), access.new_access()
    assert len(one.token) == access.TOKEN_LENGTH
    kept = await one.code_hash()
    spaced = f" {one.code[:3].lower()}-{one.code[3:]} "
    assert await access.derived(one.token, one.code) == kept
    assert await access.derived(one.token, spaced) == kept
    assert await access.derived(other.token, one.code) != kept
    for wrong in ("", other.code, one.code[:-1], f"{one.code}2", "\ud800"):
        assert await access.derived(one.token, wrong) != kept
    assert one.code not in repr(one)
    assert one.token not in repr(one)


def test_what_was_made_is_a_code_and_what_can_not_be_made_is_none() -> None:
    one = access.new_access()
    assert access.is_code(one.code)
    assert access.is_code(f" {one.code[:3].lower()}-{one.code[3:]} ")
    for other in ("", "ÆØ!", one.code[:-1], f"{one.code}2", "00000O", "ＡＢＣＤＥＦ", "\ud800" * 6):
        assert not access.is_code(other)


def test_no_character_of_a_code_is_taken_for_another() -> None:
    assert not set(access.CODE_ALPHABET) & set("0O1ILU")
    assert len(set(access.CODE_ALPHABET)) == len(access.CODE_ALPHABET)
    assert len(access.CODE_ALPHABET) ** access.CODE_LENGTH > 100_000_000 * terms.MAX_WRONG_CODES


def artefact() -> str:
    prepared = sd_jwt_vc.prepare(sample_credential(), key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
    return prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))


WHOLE = artefact()
HAS = presenting.claims_of(WHOLE)


def test_a_form_shows_the_claims_that_are_there() -> None:
    assert set(HAS) <= set(sd_jwt_vc.DISCLOSABLE)
    assert {"given_name", "family_name", "grade"} <= set(HAS)


@given(st.sets(st.sampled_from(HAS)))
def test_what_is_not_chosen_is_not_in_what_is_shared(chosen: set[str]) -> None:
    shared = presenting.present(WHOLE, chosen)
    assert presenting.claims_of(shared) == tuple(name for name in HAS if name in chosen)
    assert sd_jwt_vc.parse(shared).sd_jwt.issuer_signed == sd_jwt_vc.parse(WHOLE).sd_jwt.issuer_signed
    disclosed = b"".join(from_b64url(text) for text in shared.split("~")[1:-1])
    values = sd_jwt_vc.parse(WHOLE).sd_jwt.unverified_claims
    for name in set(HAS) - chosen:
        assert name.encode() not in disclosed
        if isinstance(values[name], str):
            assert values[name].encode() not in disclosed


@pytest.mark.parametrize("claim", ["achievement", "iss", "_sd", "", "given_name "])
def test_only_what_may_be_withheld_is_chosen(claim: str) -> None:
    with pytest.raises(InvalidArgument, match="CLAIM_UNKNOWN"):
        presenting.present(WHOLE, {claim})


def test_a_claim_that_is_not_shared_can_not_be_shared_on() -> None:
    shared = presenting.present(WHOLE, {"grade"})
    with pytest.raises(InvalidArgument, match="CLAIM_UNKNOWN"):
        presenting.present(shared, {"family_name"})
