"""The signed list: what it carries, and every way in which it may not be trusted."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.accreditation_samples import (
    ALL,
    NOW,
    OPERATOR_KEY,
    UCL,
    Chronicle,
    achievement,
    days,
    operator_key_fact,
    scope,
)
from vitne.accreditation import Projection, TrustList, judge, offer_of, read_trust_list, render, sign_trust_list
from vitne.accreditation.facts import fact_json
from vitne.accreditation.trust_list import LIFETIME, TYPE
from vitne.credentials.jose import LocalSigner, sign_jws
from vitne.errors import VitneError

ISSUER = "https://registry.vitne.example"
FOREIGN = LocalSigner(ec.derive_private_key(5, ec.SECP256R1()))


def chronicle() -> Chronicle:
    story = Chronicle()
    story.authority()
    operator_key_fact(story)
    story.provider(UCL)
    covered = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects")
    story.accredit(UCL, "dk.institution", covered)
    story.publish(achievement(UCL, "dk.micro_credential", workload=("ects", "1")))
    return story


def signed(story: Chronicle, *, at: datetime = NOW, signer: LocalSigner = OPERATOR_KEY) -> str:
    projection = story.projection()
    facts = map(render, projection.trusted_facts())
    return sign_trust_list(facts, projection.revision, issuer=ISSUER, at=at, signer=signer)


def read(token: str, *, pinned: Any = OPERATOR_KEY.public_key, issuer: str = ISSUER, now: datetime = NOW) -> TrustList:
    return read_trust_list(token, pinned=pinned, issuer=issuer, now=now)


def claims(**changes: Any) -> dict[str, Any]:
    facts = [fact_json(fact) for fact in chronicle().projection().trusted_facts()]
    issued = int(NOW.timestamp())
    whole = {"iss": ISSUER, "iat": issued, "exp": issued + 600, "registry_revision": 5, "facts": facts, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def forged(**changes: Any) -> str:
    """A list that the registry's own key signed, with other claims."""
    return sign_jws(claims(**changes), OPERATOR_KEY, typ=TYPE)


@pytest.mark.parametrize("pinned", [OPERATOR_KEY.public_key, OPERATOR_KEY.key_id])
def test_a_reader_knows_what_the_registry_knew_but_for_the_catalogue(pinned: Any) -> None:
    story = chronicle()
    listed = read(signed(story), pinned=pinned)
    assert [fact.registry_revision for fact in listed.facts] == [1, 2, 3, 4]
    assert (listed.registry_revision, listed.expires_at - listed.issued_at) == (5, LIFETIME)
    mirror = Projection()
    listed.fold_into(mirror)
    assert mirror.revision == 5
    assert mirror.staleness(NOW + timedelta(seconds=9)) == timedelta(seconds=9)
    offer = offer_of(story.facts[4].achievement)
    assert judge(mirror, ALL, UCL, offer, NOW).allowed
    assert judge(mirror, ALL, UCL, offer, NOW, 3).reason == "NO_ACCREDITATION"


def test_a_mirror_follows_from_list_to_list() -> None:
    story = chronicle()
    mirror = Projection()
    read(signed(story)).fold_into(mirror)
    story.accredit(UCL, "dk.institution", scope("dk.module"), accreditation=0xA002)
    read(signed(story)).fold_into(mirror)
    assert (mirror.revision, len(mirror.accreditations_of(UCL))) == (6, 2)


def test_a_list_ends() -> None:
    token = signed(chronicle())
    read(token, now=NOW + LIFETIME - timedelta(seconds=1))
    with pytest.raises(VitneError) as caught:
        read(token, now=NOW + LIFETIME)
    assert caught.value.reason == "TRUST_LIST_EXPIRED"
    with pytest.raises(VitneError) as caught:
        read(token, now=NOW - timedelta(seconds=61))
    assert caught.value.reason == "BAD_TRUST_LIST"


def tampered() -> str:
    head, body, tail = signed(chronicle()).split(".")
    return ".".join((head, body[:200] + ("A" if body[200] != "A" else "B") + body[201:], tail))


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (signed(chronicle(), signer=FOREIGN), "BAD_TRUST_LIST"),
        (tampered(), "BAD_TRUST_LIST|BAD_JSON"),
        (signed(chronicle())[:-4], "BAD_TRUST_LIST|BAD_BASE64URL"),
        (signed(chronicle()).rpartition(".")[0], "BAD_JWS"),
        (sign_jws(claims(), OPERATOR_KEY, typ="statuslist+jwt"), "WRONG_TYPE"),
        (forged(iss="https://elsewhere.example"), "BAD_TRUST_LIST"),
        (forged(exp=None), "BAD_TRUST_LIST"),
        (forged(exp=int(NOW.timestamp()) + 86_400), "BAD_TRUST_LIST"),
        (forged(exp=int(NOW.timestamp())), "BAD_TRUST_LIST"),
        (forged(iat=True), "BAD_TRUST_LIST"),
        (forged(registry_revision=3), "BAD_TRUST_LIST"),
        (forged(registry_revision="5"), "BAD_TRUST_LIST"),
        (forged(facts={}), "BAD_TRUST_LIST"),
        (forged(facts=["x"]), "BAD_TRUST_LIST"),
        (forged(facts=[{"nonsense": True}]), "BAD_FACT"),
        (forged(facts=[{"id": "x", "registry_revision": 1}]), "UNKNOWN_FACT"),
        (forged(facts=[fact_json(chronicle().facts[4])]), "BAD_TRUST_LIST"),
    ],
    # A token is no name for a test.
    ids=lambda value: value if len(value) < 40 else "list",
)
def test_what_is_not_to_be_trusted(token: str, reason: str) -> None:
    with pytest.raises(VitneError) as caught:
        read(token)
    assert caught.value.reason in reason.split("|")


def test_a_pinned_thumbprint_is_computed_and_never_believed() -> None:
    # The list names the pinned thumbprint, and holds another key under it.
    facts = claims()["facts"]
    assert facts[1]["key"]["id"] == OPERATOR_KEY.key_id
    facts[1]["key"]["public_jwk"] = json.dumps(FOREIGN.public_jwk)
    token = sign_jws(claims(facts=facts), _Posing(), typ=TYPE)
    for pinned in (OPERATOR_KEY.key_id, OPERATOR_KEY.public_key):
        with pytest.raises(VitneError) as caught:
            read(token, pinned=pinned)
        assert caught.value.reason == "BAD_TRUST_LIST"
    with pytest.raises(VitneError):
        read(forged(facts=facts[:1]), pinned=OPERATOR_KEY.key_id)


class _Posing:
    """Signs with a foreign key under the operator's thumbprint."""

    key_id = OPERATOR_KEY.key_id
    algorithm = FOREIGN.algorithm
    public_jwk = FOREIGN.public_jwk

    def sign(self, data: bytes) -> bytes:
        return FOREIGN.sign(data)


def test_a_list_that_rewrites_the_past_is_found_out() -> None:
    mirror = Projection()
    read(signed(chronicle())).fold_into(mirror)
    rewritten = Chronicle()
    rewritten.authority()
    operator_key_fact(rewritten)
    rewritten.provider(UCL)
    rewritten.accredit(UCL, "dk.institution", scope("dk.module"), valid_from=days(1))
    rewritten.publish(achievement(UCL, "dk.micro_credential"))
    with pytest.raises(VitneError) as caught:
        read(signed(rewritten)).fold_into(mirror)
    assert caught.value.reason == "FACT_CONTRADICTS"
