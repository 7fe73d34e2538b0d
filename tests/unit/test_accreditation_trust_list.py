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
from vitne.accreditation import (
    FactsReference,
    Projection,
    Statement,
    judge,
    offer_of,
    read_facts,
    read_statement,
    render,
    sign_statement,
)
from vitne.accreditation.facts import fact_json
from vitne.accreditation.trust_list import LIFETIME, MAX_FACTS_SIZE, TYPE
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


def body_of(story: Chronicle) -> bytes:
    return b"".join(map(render, story.projection().trusted_facts()))


def signed(story: Chronicle, *, at: datetime = NOW, signer: LocalSigner = OPERATOR_KEY) -> str:
    facts = FactsReference.of("trust-list/facts/4", body_of(story))
    return sign_statement(facts, story.projection().revision, issuer=ISSUER, at=at, signer=signer)


def read(token: str, *, pinned: Any = OPERATOR_KEY.public_key, issuer: str = ISSUER, now: datetime = NOW) -> Statement:
    return read_statement(token, pinned=pinned, issuer=issuer, now=now)


def fold(story: Chronicle, mirror: Projection) -> None:
    statement = read(signed(story))
    statement.fold_into(mirror, read_facts(statement, body_of(story)))


def claims(**changes: Any) -> dict[str, Any]:
    issued = int(NOW.timestamp())
    facts = FactsReference.of("trust-list/facts/4", body_of(chronicle()))
    whole = {
        "iss": ISSUER,
        "iat": issued,
        "exp": issued + 600,
        "registry_revision": 5,
        "facts": {"path": facts.path, "digest": facts.digest, "size": facts.size} | changes.pop("reference", {}),
        "key": OPERATOR_KEY.public_jwk,
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def forged(**changes: Any) -> str:
    """A statement that the registry's own key signed, with other claims."""
    return sign_jws(claims(**changes), OPERATOR_KEY, typ=TYPE)


@pytest.mark.parametrize("pinned", [OPERATOR_KEY.public_key, OPERATOR_KEY.key_id])
def test_a_reader_knows_what_the_registry_knew_but_for_the_catalogue(pinned: Any) -> None:
    story = chronicle()
    statement = read(signed(story), pinned=pinned)
    facts = read_facts(statement, body_of(story))
    assert [fact.registry_revision for fact in facts] == [1, 2, 3, 4]
    assert (statement.registry_revision, statement.expires_at - statement.issued_at) == (5, LIFETIME)
    assert (statement.facts.path, statement.facts.size) == ("trust-list/facts/4", len(body_of(story)))
    mirror = Projection()
    statement.fold_into(mirror, facts)
    assert mirror.revision == 5
    assert mirror.staleness(NOW + timedelta(seconds=9)) == timedelta(seconds=9)
    offer = offer_of(story.facts[4].achievement)
    assert judge(mirror, ALL, UCL, offer, NOW).allowed
    assert judge(mirror, ALL, UCL, offer, NOW, 3).reason == "NO_ACCREDITATION"


def test_a_mirror_follows_from_list_to_list_and_reads_only_what_is_new() -> None:
    story = chronicle()
    mirror = Projection()
    fold(story, mirror)
    known = body_of(story)
    story.accredit(UCL, "dk.institution", scope("dk.module"), accreditation=0xA002)
    statement = read(signed(story))
    facts = read_facts(statement, body_of(story), known=known)
    assert [fact.registry_revision for fact in facts] == [6]
    statement.fold_into(mirror, facts)
    assert (mirror.revision, len(mirror.accreditations_of(UCL))) == (6, 2)
    # What does not go on from what is known is read whole.
    assert len(read_facts(statement, body_of(story), known=known[1:])) == 5


def test_nothing_new_dates_anew_what_is_known() -> None:
    mirror = Projection()
    fold(chronicle(), mirror)
    later = NOW + timedelta(minutes=5)
    read(signed(chronicle(), at=later), now=later).fold_into(mirror)
    assert mirror.staleness(later) == timedelta(0)


def test_a_registry_whose_clock_runs_ahead_does_not_look_fresher() -> None:
    mirror = Projection()
    read(signed(chronicle(), at=NOW + timedelta(seconds=59))).fold_into(mirror)
    assert mirror.staleness(NOW + timedelta(seconds=59)) == timedelta(seconds=59)


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
        (forged(registry_revision="5"), "BAD_TRUST_LIST"),
        (forged(facts=None), "BAD_TRUST_LIST"),
        (forged(facts=[]), "BAD_TRUST_LIST"),
        (forged(reference={"size": -1}), "BAD_TRUST_LIST"),
        (forged(reference={"size": MAX_FACTS_SIZE + 1}), "BAD_TRUST_LIST"),
        (forged(reference={"digest": 7}), "BAD_TRUST_LIST"),
        *((forged(reference={"path": path}), "BAD_TRUST_LIST") for path in
          ("", "/facts", "//evil.example/f", "https://evil.example/f", "../facts", "a//b", "a?b", "a" * 201, 7)),
        (forged(padding="x" * 8192), "TOO_LARGE"),
    ],
    # A token is no name for a test.
    ids=lambda value: value if len(value) < 40 else "list",
)  # fmt: skip
def test_what_is_not_to_be_trusted(token: str, reason: str) -> None:
    with pytest.raises(VitneError) as caught:
        read(token)
    assert caught.value.reason in reason.split("|")


def line(record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]\n", "BAD_TRUST_LIST"),
        (b"{\n", "BAD_JSON"),
        (b"\n", "BAD_JSON"),
        (line({"nonsense": True}), "BAD_FACT"),
        (line(fact_json(chronicle().facts[2]) | {"more": 1}), "BAD_FACT"),
        (line({"id": "x", "registry_revision": 1}), "UNKNOWN_FACT"),
        (line(fact_json(chronicle().facts[4])), "BAD_TRUST_LIST"),
        (line(fact_json(chronicle().facts[0]) | {"registry_revision": 6}), "BAD_TRUST_LIST"),
        (line(fact_json(chronicle().facts[1])) + line(fact_json(chronicle().facts[0])), "BAD_TRUST_LIST"),
    ],
)
def test_facts_that_are_none_though_they_were_signed(body: bytes, reason: str) -> None:
    reference = FactsReference.of("facts/4", body)
    statement = read(sign_statement(reference, 5, issuer=ISSUER, at=NOW, signer=OPERATOR_KEY))
    with pytest.raises(VitneError) as caught:
        read_facts(statement, body)
    assert caught.value.reason == reason


def test_other_facts_than_those_that_were_signed_are_not_read() -> None:
    statement, body = read(signed(chronicle())), body_of(chronicle())
    for other in (body[:-1], body + body, body.replace(b"GRANTED", b"SUSPEND"), b""):
        with pytest.raises(VitneError) as caught:
            read_facts(statement, other)
        assert caught.value.reason == "BAD_TRUST_LIST"


def test_a_pinned_thumbprint_is_computed_and_never_believed() -> None:
    # Signed by another under the pinned thumbprint, with that other's key inside, or the pinned one.
    for key in (FOREIGN.public_jwk, OPERATOR_KEY.public_jwk, {}, None, "x"):
        token = sign_jws(claims(key=key), _Posing(), typ=TYPE)
        for pinned in (OPERATOR_KEY.key_id, OPERATOR_KEY.public_key):
            with pytest.raises(VitneError) as caught:
                read(token, pinned=pinned)
            assert caught.value.reason in {"BAD_TRUST_LIST", "BAD_JWK", "BAD_JSON"}
    # Who pinned the key itself needs none inside.
    read(forged(key=None))
    with pytest.raises(VitneError):
        read(forged(key=None), pinned=OPERATOR_KEY.key_id)


class _Posing:
    """Signs with a foreign key under the operator's thumbprint."""

    key_id = OPERATOR_KEY.key_id
    algorithm = FOREIGN.algorithm
    public_jwk = FOREIGN.public_jwk

    def sign(self, data: bytes) -> bytes:
        return FOREIGN.sign(data)


def test_a_list_that_rewrites_the_past_is_found_out() -> None:
    mirror = Projection()
    fold(chronicle(), mirror)
    rewritten = Chronicle()
    rewritten.authority()
    operator_key_fact(rewritten)
    rewritten.provider(UCL)
    rewritten.accredit(UCL, "dk.institution", scope("dk.module"), valid_from=days(1))
    rewritten.publish(achievement(UCL, "dk.micro_credential"))
    with pytest.raises(VitneError) as caught:
        fold(rewritten, mirror)
    assert caught.value.reason == "FACT_CONTRADICTS"
