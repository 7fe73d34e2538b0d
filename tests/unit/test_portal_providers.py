"""What is believed of Feide's answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from services.portal import providers
from services.portal.providers import FEIDE_NUMBER_CLAIM, Feide, FeideClient
from vitne.clock import ManualClock
from vitne.errors import Unauthenticated
from vitne.identifiers import synthetic_national_id

PID = next(pid for serial in range(30) if (pid := synthetic_national_id(date(1990, 1, 1), serial)))
Answers = Callable[..., Feide]


@pytest.fixture
def feide(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Answers:
    """Makes Feide's side answer: ``claims`` of the ID token, and what ``userinfo`` tells."""

    def make(claims: dict[str, Any], told: dict[str, Any], **client: str) -> Feide:
        async def read_id_token(token: str, *_: object, audience: str, nonce: str) -> dict[str, Any]:
            assert (token, audience, nonce) == ("id", "portal", "n")
            return claims

        async def fetch_claims(endpoint: str, access_token: str) -> dict[str, Any]:
            assert (endpoint, access_token) == ("https://feide.test/userinfo", "access")
            return told

        async def endpoint(name: str) -> str:
            assert name == "userinfo_endpoint"
            return "https://feide.test/userinfo"

        monkeypatch.setattr(providers, "read_id_token", read_id_token)
        monkeypatch.setattr(providers, "fetch_claims", fetch_claims)
        made = Feide(FeideClient("https://feide.test", "portal", "secret", **client), clock, allow_http=False)
        monkeypatch.setattr(made.issuer, "endpoint", endpoint)
        return made

    return make


TOKENS = {"id_token": "id", "access_token": "access"}


async def test_the_number_is_where_feide_says_it(feide: Answers) -> None:
    found = await feide({"sub": "s"}, {"sub": "s", FEIDE_NUMBER_CLAIM: PID}).learner(TOKENS, "n")
    assert (found.scheme, found.value, found.subject, found.acr) == ("no.national_id", PID, "s", "")
    found = await feide({"sub": "s"}, {"sub": "s", "nin": PID}, number_claim="nin").learner(TOKENS, "n")
    assert found.value == PID


@pytest.mark.parametrize(
    ("claims", "told", "reason"),
    [
        ({"sub": "s"}, {"sub": "another", FEIDE_NUMBER_CLAIM: PID}, "TOKEN_NO_LEARNER"),
        ({}, {FEIDE_NUMBER_CLAIM: PID}, "TOKEN_NO_LEARNER"),
        ({"sub": ""}, {"sub": "", FEIDE_NUMBER_CLAIM: PID}, "TOKEN_NO_LEARNER"),
        ({"sub": "s"}, {"sub": "s"}, "NO_NATIONAL_NUMBER"),
        ({"sub": "s"}, {"sub": "s", FEIDE_NUMBER_CLAIM: "12345678901"}, "NO_NATIONAL_NUMBER"),
        ({"sub": "s"}, {"sub": "s", FEIDE_NUMBER_CLAIM: [PID]}, "NO_NATIONAL_NUMBER"),
        ({"sub": "s"}, {"sub": "s", "pid": PID}, "NO_NATIONAL_NUMBER"),
    ],
)
async def test_what_names_nobody_is_refused(
    feide: Answers, claims: dict[str, Any], told: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unauthenticated, match=reason) as caught:
        await feide(claims, told).learner(TOKENS, "n")
    assert PID not in str(caught.value)


@pytest.mark.parametrize(("acr", "holds"), [("high", True), ("low", False), ("", False)])
async def test_a_level_that_is_demanded_is_held_against_the_token(feide: Answers, acr: str, holds: bool) -> None:
    made = feide({"sub": "s", "acr": acr}, {"sub": "s", FEIDE_NUMBER_CLAIM: PID}, acr="high")
    assert made.asks() == {"scope": "openid userid-nin", "acr_values": "high"}
    if holds:
        assert (await made.learner(TOKENS, "n")).acr == "high"
    else:
        with pytest.raises(Unauthenticated, match="TOKEN_ASSURANCE"):
            await made.learner(TOKENS, "n")


def test_the_secret_is_never_shown() -> None:
    assert "secret" not in repr(FeideClient("https://feide.test", "portal", "secret"))
