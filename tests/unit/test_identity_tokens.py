"""Access tokens and ID tokens in every bad form; keys that rotate; an issuer that is away."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from vitne.canonical import b64url
from vitne.clock import ManualClock, SystemClock
from vitne.errors import Unauthenticated, Unavailable
from vitne.identifiers import OrganisationId, synthetic_national_id
from vitne.runtime.identity import (
    LOW,
    SUBSTANTIAL,
    Caller,
    ClientKey,
    IdTokenVerifier,
    TokenSource,
    TokenVerifier,
    caller_context,
    current_caller,
)
from vitne.runtime.identity.issuer import is_protected

AUDIENCE = "https://vitne.example"
OSLO = OrganisationId("0192", "971035854")
VENDOR = OrganisationId("0192", "919477822")
PID = next(pid for serial in range(10) if (pid := synthetic_national_id(date(1990, 4, 5), serial)))
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
FOREIGN = RSAKey.generate_key(2048)
WEAK = {"kty": "RSA", "kid": "weak", "n": b64url(bytes([0xC5]) + b"\x11" * 127), "e": "AQAB"}


def upis(organisation: object) -> dict[str, str]:
    return {"authority": "iso6523-actorid-upis", "ID": str(organisation)}


class FakeIssuer:
    """An issuer's published documents, as this test wants them."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.requests = 0
        self.down = False
        self.hanging: asyncio.Event | None = None
        self.claimed_issuer = ""
        app = web.Application()
        app.router.add_get("/.well-known/{document}", self.metadata)
        app.router.add_get("/jwks", self.jwks)
        self.server = TestServer(app, host="127.0.0.1")
        self.publish("rsa", RSA)
        self.publish("ec", EC)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    def publish(self, kid: str, key: RSAKey | ECKey) -> None:
        self.keys.append({**key.as_dict(private=False), "kid": kid, "use": "sig"})

    async def metadata(self, request: web.Request) -> web.Response:
        if self.down:
            return web.Response(status=503)
        if self.hanging is not None:
            await self.hanging.wait()
        return web.json_response({"issuer": self.claimed_issuer or self.url, "jwks_uri": f"{self.url}/jwks"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.requests += 1
        return web.json_response({"keys": self.keys})


@pytest.fixture
async def issuer() -> AsyncIterator[FakeIssuer]:
    fake = FakeIssuer()
    await fake.server.start_server()
    yield fake
    await fake.server.close()


class Mint:
    """Makes tokens, good unless told otherwise."""

    def __init__(self, issuer: FakeIssuer, clock: ManualClock) -> None:
        self.issuer = issuer
        self.clock = clock

    def claims(self, **changes: object) -> dict[str, Any]:
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.issuer.url,
            "aud": AUDIENCE,
            "client_id": "oslo",
            "consumer": upis(OSLO),
            "scope": "vitne:credentials.issue vitne:credentials.read",
            "iat": now,
            "exp": now + 120,
            "jti": "one",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not ...}

    def token(self, key: RSAKey | ECKey = RSA, header: dict[str, Any] | None = None, **changes: object) -> str:
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        full = {"alg": algorithm, "kid": "rsa" if isinstance(key, RSAKey) else "ec", **(header or {})}
        return jwt.encode(full, self.claims(**changes), key, algorithms=[full["alg"]], default_type=None)

    def id_token(self, **changes: object) -> str:
        learner = {"aud": "portal", "sub": "pairwise", "pid": PID, "acr": SUBSTANTIAL, "nonce": "n-1"}
        return self.token(**{"client_id": ..., "consumer": ..., "scope": ..., **learner, **changes})  # type: ignore[arg-type]


@pytest.fixture
def mint(issuer: FakeIssuer, clock: ManualClock) -> Mint:
    return Mint(issuer, clock)


@pytest.fixture
def verifier(issuer: FakeIssuer, clock: ManualClock) -> TokenVerifier:
    return TokenVerifier(issuer.url, AUDIENCE, clock)


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS256", "ES256"])
@pytest.mark.parametrize("header", [{}, {"typ": "JWT"}, {"typ": "at+jwt"}], ids=["no typ", "JWT", "at+jwt"])
async def test_a_good_token_names_its_caller(
    verifier: TokenVerifier, mint: Mint, key: RSAKey | ECKey, header: dict[str, str]
) -> None:
    caller = await verifier.verify(mint.token(key, header))
    assert caller == Caller(OSLO, frozenset({"vitne:credentials.issue", "vitne:credentials.read"}), "oslo")


async def test_a_delegated_token_acts_for_the_consumer(verifier: TokenVerifier, mint: Mint) -> None:
    caller = await verifier.verify(mint.token(supplier=upis(VENDOR), delegation_source="https://altinn.example/"))
    assert (caller.organisation, caller.supplier) == (OSLO, VENDOR)


@pytest.mark.parametrize(("claims", "subject"), [({}, ""), ({"sub": "oslo"}, ""), ({"sub": "officer-1"}, "officer-1")])
async def test_a_token_names_the_person_who_acts_where_there_is_one(
    verifier: TokenVerifier, mint: Mint, claims: dict[str, Any], subject: str
) -> None:
    caller = await verifier.verify(mint.token(**claims))
    assert caller.subject == subject, "the client itself is nobody"
    assert not subject or subject not in repr(caller)


@pytest.mark.parametrize("member", ["ID", "id"])
async def test_a_system_user_token_acts_for_the_customer(verifier: TokenVerifier, mint: Mint, member: str) -> None:
    details = [
        {
            "type": "urn:altinn:systemuser",
            "systemuser_org": {"authority": "iso6523-actorid-upis", member: str(OSLO)},
            "systemuser_id": ["a545ca29-7fb8-4810-a2f2-0be171cb2a26"],
            "system_id": "919477822_studies",
        }
    ]
    caller = await verifier.verify(mint.token(consumer=upis(VENDOR), authorization_details=details))
    assert (caller.organisation, caller.supplier) == (OSLO, VENDOR)


BAD_CLAIMS: dict[str, tuple[str, dict[str, object]]] = {
    "another issuer": ("TOKEN_FOREIGN_ISSUER", {"iss": "https://evil.example"}),
    "issuer with a slash more": ("TOKEN_FOREIGN_ISSUER", {"iss": "http://127.0.0.1/"}),
    "no issuer": ("TOKEN_FOREIGN_ISSUER", {"iss": ...}),
    "another audience": ("TOKEN_AUDIENCE", {"aud": "https://other.example"}),
    "no audience": ("TOKEN_AUDIENCE", {"aud": ...}),
    "audience that is an object": ("TOKEN_AUDIENCE", {"aud": {AUDIENCE: True}}),
    "no expiry": ("TOKEN_MALFORMED", {"exp": ...}),
    "expiry as text": ("TOKEN_MALFORMED", {"exp": "1800000000"}),
    "expiry true": ("TOKEN_MALFORMED", {"exp": True}),
    "expiry in the year 3e300": ("TOKEN_MALFORMED", {"exp": 10**300}),
    "expiry beyond numbers": ("TOKEN_MALFORMED", {"exp": 10**400}),
    "expired": ("TOKEN_EXPIRED", {"exp": 1_600_000_000}),
    "not yet": ("TOKEN_NOT_YET_VALID", {"nbf": 4_000_000_000}),
    "issued in the future": ("TOKEN_NOT_YET_VALID", {"iat": 4_000_000_000}),
    "no consumer": ("TOKEN_NO_CONSUMER", {"consumer": ...}),
    "consumer as text": ("TOKEN_NO_CONSUMER", {"consumer": str(OSLO)}),
    "consumer of another authority": ("TOKEN_NO_CONSUMER", {"consumer": {"authority": "x", "ID": str(OSLO)}}),
    "consumer with a wrong check digit": ("TOKEN_NO_CONSUMER", {"consumer": upis("0192:971035855")}),
    "a person with an endless name": ("TOKEN_MALFORMED", {"sub": "o" * 256}),
    "no client": ("TOKEN_NO_CLIENT", {"client_id": ...}),
    "supplier without a delegation": ("TOKEN_DELEGATION", {"supplier": upis(VENDOR)}),
    "delegation without a supplier": ("TOKEN_DELEGATION", {"delegation_source": "https://altinn.example/"}),
    "unknown authorization details": ("TOKEN_DELEGATION", {"authorization_details": [{"type": "urn:other"}]}),
    "empty authorization details": ("TOKEN_DELEGATION", {"authorization_details": []}),
    "authorization details that are no list": ("TOKEN_DELEGATION", {"authorization_details": "all"}),
    "two system users": (
        "TOKEN_DELEGATION",
        {"authorization_details": [{"type": "urn:altinn:systemuser", "systemuser_org": upis(OSLO)}] * 2},
    ),
    "system user of nobody": ("TOKEN_DELEGATION", {"authorization_details": [{"type": "urn:altinn:systemuser"}]}),
}


@pytest.mark.parametrize(("reason", "changes"), BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_bad_claims_are_refused(
    verifier: TokenVerifier, mint: Mint, reason: str, changes: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        await verifier.verify(mint.token(**changes))  # type: ignore[arg-type]
    assert refusal.value.reason == reason


def encoded(header: object, claims: object, signature: bytes = b"") -> str:
    return ".".join(b64url(part) for part in (json.dumps(header).encode(), json.dumps(claims).encode(), signature))


def hmac_with_public_key(mint: Mint) -> str:
    """The old confusion of algorithms: the public key, which everybody has, as an HMAC secret."""
    signed = encoded({"alg": "HS256", "kid": "rsa"}, mint.claims()).rpartition(".")[0]
    return f"{signed}.{b64url(hmac.digest(RSA.as_pem(private=False), signed.encode(), hashlib.sha256))}"


def tampered(mint: Mint) -> str:
    header, _, signature = mint.token().split(".")
    return f"{header}.{b64url(json.dumps(mint.claims(scope='vitne:registry.operate')).encode())}.{signature}"


BAD_FORMS: dict[str, tuple[str, Callable[[Mint], str]]] = {
    "empty": ("TOKEN_MALFORMED", lambda mint: ""),
    "one part": ("TOKEN_MALFORMED", lambda mint: "abc"),
    "four parts": ("TOKEN_MALFORMED", lambda mint: mint.token() + ".x"),
    "too long": ("TOKEN_MALFORMED", lambda mint: mint.token(padding="x" * 20_000)),
    "not ASCII": ("TOKEN_MALFORMED", lambda mint: "æ.ø.å"),
    "not JSON": ("TOKEN_MALFORMED", lambda mint: f"{b64url(b'{')}.{b64url(b'{}')}.x"),
    "a list": ("TOKEN_MALFORMED", lambda mint: encoded([], [])),
    "padding": ("TOKEN_MALFORMED", lambda mint: base64.urlsafe_b64encode(b'{"a":1}').decode() + ".e30.x"),
    "deep": ("TOKEN_MALFORMED", lambda mint: f"{b64url(b'[' * 5000)}.e30.x"),
    "alg none": ("TOKEN_ALGORITHM", lambda mint: encoded({"alg": "none", "kid": "rsa"}, mint.claims())),
    "alg nOnE": ("TOKEN_ALGORITHM", lambda mint: encoded({"alg": "nOnE", "kid": "rsa"}, mint.claims())),
    "no alg": ("TOKEN_ALGORITHM", lambda mint: encoded({"kid": "rsa"}, mint.claims())),
    "alg as a list": ("TOKEN_ALGORITHM", lambda mint: encoded({"alg": ["RS256"], "kid": "rsa"}, mint.claims())),
    "HMAC with the public key": ("TOKEN_ALGORITHM", hmac_with_public_key),
    "PS256": ("TOKEN_ALGORITHM", lambda mint: mint.token(header={"alg": "PS256"})),
    "of another type": ("TOKEN_TYPE", lambda mint: mint.token(header={"typ": "logout+jwt"})),
    "critical header": (
        "TOKEN_TYPE",
        lambda mint: encoded({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": False}, mint.claims(), b"x"),
    ),
    "unsigned": (
        "TOKEN_BAD_SIGNATURE",
        lambda mint: encoded({"alg": "RS256", "kid": "rsa"}, mint.claims()),
    ),
    "tampered": ("TOKEN_BAD_SIGNATURE", tampered),
    "truncated": ("TOKEN_BAD_SIGNATURE", lambda mint: mint.token()[:-12]),
    "signed by a foreign key": ("TOKEN_BAD_SIGNATURE", lambda mint: mint.token(FOREIGN)),
    "unknown key": ("TOKEN_UNKNOWN_KEY", lambda mint: mint.token(FOREIGN, {"kid": "foreign"})),
    "no key id": ("TOKEN_UNKNOWN_KEY", lambda mint: encoded({"alg": "RS256"}, mint.claims(), b"x")),
    "key of another algorithm": ("TOKEN_UNKNOWN_KEY", lambda mint: mint.token(RSA, {"kid": "ec"})),
    "key in its own header": (
        "TOKEN_BAD_SIGNATURE",
        lambda mint: mint.token(FOREIGN, {"jwk": FOREIGN.as_dict(private=False)}),
    ),
    "weak key": ("TOKEN_UNKNOWN_KEY", lambda mint: encoded({"alg": "RS256", "kid": "weak"}, mint.claims(), b"x")),
}


@pytest.mark.parametrize(("reason", "make"), BAD_FORMS.values(), ids=BAD_FORMS.keys())
async def test_bad_forms_are_refused(
    verifier: TokenVerifier, mint: Mint, reason: str, make: Callable[[Mint], str]
) -> None:
    mint.issuer.keys.append(WEAK)
    with pytest.raises(Unauthenticated) as refusal:
        await verifier.verify(make(mint))
    assert refusal.value.reason == reason


@given(garbage=st.text(alphabet="abcAB_-.=æ{}", max_size=60))
def test_garbage_is_refused(garbage: str) -> None:
    verifier = TokenVerifier("https://issuer.example", AUDIENCE, SystemClock())
    with pytest.raises(Unauthenticated) as refusal:
        # Refused before anything is awaited, so that no loop is needed.
        verifier.verify(garbage).send(None)
    assert refusal.value.reason in {"TOKEN_MALFORMED", "TOKEN_ALGORITHM"}


async def test_a_refusal_never_repeats_the_token(verifier: TokenVerifier, mint: Mint) -> None:
    marker = "0192:987654321"
    with pytest.raises(Unauthenticated) as refusal:
        await verifier.verify(mint.token(consumer=upis(marker)))
    assert "987654321" not in str(refusal.value)
    assert refusal.value.__cause__ is None


async def test_time_is_held_against_the_clock_also_for_remembered_tokens(
    verifier: TokenVerifier, mint: Mint, clock: ManualClock
) -> None:
    token = mint.token()
    await verifier.verify(token)
    clock.advance(timedelta(seconds=129))
    await verifier.verify(token)  # within the leeway of ten seconds
    clock.advance(timedelta(seconds=1))
    with pytest.raises(Unauthenticated, match="TOKEN_EXPIRED"):
        await verifier.verify(token)


async def test_a_new_key_is_found_and_made_up_ones_cost_one_request_in_ten_seconds(
    verifier: TokenVerifier, mint: Mint, issuer: FakeIssuer, clock: ManualClock
) -> None:
    await verifier.verify(mint.token())
    assert issuer.requests == 1
    clock.advance(timedelta(seconds=11))
    for attempt in range(20):
        with pytest.raises(Unauthenticated, match="TOKEN_UNKNOWN_KEY"):
            await verifier.verify(mint.token(FOREIGN, {"kid": f"made-up-{attempt}"}))
    assert issuer.requests == 2
    issuer.publish("new", FOREIGN)
    clock.advance(timedelta(seconds=11))
    assert (await verifier.verify(mint.token(FOREIGN, {"kid": "new"}))).organisation == OSLO


async def test_a_withdrawn_key_stops_counting(
    verifier: TokenVerifier, mint: Mint, issuer: FakeIssuer, clock: ManualClock
) -> None:
    await verifier.verify(mint.token())
    issuer.keys = [key for key in issuer.keys if key["kid"] != "rsa"]
    clock.advance(timedelta(hours=1))
    with pytest.raises(Unauthenticated, match="TOKEN_UNKNOWN_KEY"):
        await verifier.verify(mint.token())


async def test_an_issuer_that_is_away_is_no_refusal_and_known_keys_go_on(
    verifier: TokenVerifier, mint: Mint, issuer: FakeIssuer, clock: ManualClock
) -> None:
    issuer.down = True
    with pytest.raises(Unavailable, match="IDENTITY_ISSUER_UNREACHABLE"):
        await verifier.verify(mint.token())
    issuer.down = False
    clock.advance(timedelta(seconds=2))
    await verifier.verify(mint.token())
    issuer.down = True
    clock.advance(timedelta(hours=23))
    await verifier.verify(mint.token())
    clock.advance(timedelta(hours=2))
    with pytest.raises(Unavailable, match="IDENTITY_ISSUER_UNREACHABLE"):
        await verifier.verify(mint.token())


async def test_an_issuer_that_hangs_delays_one_call_and_no_others(
    verifier: TokenVerifier, mint: Mint, issuer: FakeIssuer, clock: ManualClock
) -> None:
    await verifier.verify(mint.token())
    clock.advance(timedelta(hours=2))
    issuer.hanging = asyncio.Event()
    first = asyncio.create_task(verifier.verify(mint.token(jti="first")))
    await asyncio.sleep(0.05)
    for number in range(3):
        async with asyncio.timeout(60):
            await verifier.verify(mint.token(jti=f"other-{number}"))
    assert not first.done()
    issuer.hanging.set()
    assert (await first).organisation == OSLO


async def test_a_new_key_is_found_by_all_who_need_it_at_once(
    verifier: TokenVerifier, mint: Mint, issuer: FakeIssuer, clock: ManualClock
) -> None:
    await verifier.verify(mint.token())
    clock.advance(timedelta(seconds=11))
    issuer.publish("new", FOREIGN)
    tokens = [mint.token(FOREIGN, {"kid": "new"}, jti=str(number)) for number in range(5)]
    callers = await asyncio.gather(*(verifier.verify(token) for token in tokens))
    assert {caller.organisation for caller in callers} == {OSLO}
    assert issuer.requests == 2


async def test_metadata_of_another_issuer_is_not_believed(
    verifier: TokenVerifier, mint: Mint, issuer: FakeIssuer
) -> None:
    issuer.claimed_issuer = "https://evil.example"
    with pytest.raises(Unavailable, match="IDENTITY_ISSUER_UNREACHABLE"):
        await verifier.verify(mint.token())


@pytest.mark.parametrize(
    ("url", "protected"),
    [
        ("https://maskinporten.no/", True),
        ("http://127.0.0.1:7100", True),
        ("http://[::1]:7100", True),
        ("http://localhost:7100", True),
        ("http://maskinporten.no/", False),
        ("http://127.0.0.1.evil.example", False),
        ("ftp://127.0.0.1", False),
        ("https://", False),
        ("", False),
    ],
)
def test_plain_http_stays_on_this_machine(url: str, protected: bool, clock: ManualClock) -> None:
    assert is_protected(url) is protected
    if not protected:
        with pytest.raises(ValueError, match="https"):
            TokenVerifier(url, AUDIENCE, clock)


@pytest.fixture
def learners(issuer: FakeIssuer, clock: ManualClock) -> IdTokenVerifier:
    return IdTokenVerifier(issuer.url, clock)


async def test_a_good_id_token_names_its_learner(learners: IdTokenVerifier, mint: Mint) -> None:
    identity = await learners.verify(mint.id_token(), audience="portal", nonce="n-1")
    assert (identity.scheme, identity.value, identity.acr) == ("no.national_id", PID, SUBSTANTIAL)
    assert identity.learner.value == PID
    assert PID not in repr(identity)
    assert "pairwise" not in repr(identity)


BAD_ID_TOKENS: dict[str, tuple[str, dict[str, object]]] = {
    "for another client": ("TOKEN_AUDIENCE", {"aud": "another"}),
    "for two clients, and used by the other": ("TOKEN_AUDIENCE", {"aud": ["portal", "another"], "azp": "another"}),
    "for two clients, and used by nobody": ("TOKEN_AUDIENCE", {"aud": ["portal", "another"]}),
    "of another log-in": ("TOKEN_NONCE", {"nonce": "n-2"}),
    "without nonce": ("TOKEN_NONCE", {"nonce": ...}),
    "too weak": ("TOKEN_ASSURANCE", {"acr": LOW}),
    "unknown strength": ("TOKEN_ASSURANCE", {"acr": "Level4"}),
    "no strength": ("TOKEN_ASSURANCE", {"acr": ...}),
    "no number": ("TOKEN_NO_LEARNER", {"pid": ...}),
    "bad number": ("TOKEN_NO_LEARNER", {"pid": PID[:-1] + str((int(PID[-1]) + 1) % 10)}),
    "no subject": ("TOKEN_NO_LEARNER", {"sub": ...}),
    "expired": ("TOKEN_EXPIRED", {"exp": 1_600_000_000}),
    "foreign": ("TOKEN_FOREIGN_ISSUER", {"iss": "https://evil.example"}),
}


@pytest.mark.parametrize(("reason", "changes"), BAD_ID_TOKENS.values(), ids=BAD_ID_TOKENS.keys())
async def test_bad_id_tokens_are_refused(
    learners: IdTokenVerifier, mint: Mint, reason: str, changes: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        await learners.verify(mint.id_token(**changes), audience="portal", nonce="n-1")
    assert refusal.value.reason == reason


async def test_one_kind_of_token_is_not_taken_for_the_other(
    verifier: TokenVerifier, learners: IdTokenVerifier, mint: Mint
) -> None:
    with pytest.raises(Unauthenticated, match="TOKEN_AUDIENCE"):
        await verifier.verify(mint.id_token())
    with pytest.raises(Unauthenticated, match="TOKEN_AUDIENCE"):
        await learners.verify(mint.token(), audience="portal")
    with pytest.raises(Unauthenticated, match="TOKEN_TYPE"):
        await learners.verify(mint.token(header={"typ": "at+jwt"}, aud="portal"), audience="portal")


async def test_the_caller_belongs_to_one_call() -> None:
    with pytest.raises(Unauthenticated, match="NO_CALLER"):
        current_caller()
    caller = Caller(OSLO, frozenset(), "oslo")
    token = caller_context.set(caller)
    assert current_caller() is caller
    caller_context.reset(token)


class TokenEndpoint:
    """A token endpoint that hands out tokens of two minutes, and counts them."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.status = 200
        self.answer: object = None
        app = web.Application()
        app.router.add_get("/.well-known/{document}", self.metadata)
        app.router.add_get("/jwks", self.jwks)
        app.router.add_post("/token", self.token)
        self.server = TestServer(app, host="127.0.0.1")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    async def metadata(self, request: web.Request) -> web.Response:
        body = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", "token_endpoint": f"{self.url}/token"}
        return web.json_response(body)

    async def jwks(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": []})

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked.append({name: str(value) for name, value in form.items()})
        answer = self.answer or {"access_token": f"token-{len(self.asked)}", "expires_in": 120}
        return web.json_response(answer, status=self.status)


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    await endpoint.server.start_server()
    yield endpoint
    await endpoint.server.close()


@pytest.fixture
def source(endpoint: TokenEndpoint, clock: ManualClock) -> TokenSource:
    key = ClientKey("portal", {**EC.as_dict(private=True), "kid": "k-1"})
    return TokenSource(endpoint.url, key, ["vitne:hub.fetch"], clock, resource=AUDIENCE, consumer="971035854")


async def test_a_grant_says_what_maskinporten_asks_for(
    source: TokenSource, endpoint: TokenEndpoint, clock: ManualClock
) -> None:
    assert await source.token() == "token-1"
    (form,) = endpoint.asked
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    grant = jwt.decode(form["assertion"], EC, algorithms=["ES256"])
    now = int(clock.now().timestamp())
    assert grant.header["kid"] == "k-1"
    assert grant.claims.pop("jti")
    assert grant.claims == {
        "iss": "portal",
        "aud": endpoint.url,
        "iat": now,
        "exp": now + 60,
        "scope": "vitne:hub.fetch",
        "resource": AUDIENCE,
        "consumer_org": "971035854",
    }


async def test_a_token_is_renewed_before_it_ends_and_outlives_an_outage(
    source: TokenSource, endpoint: TokenEndpoint, clock: ManualClock
) -> None:
    assert await source.token() == "token-1"
    clock.advance(timedelta(seconds=89))
    assert await source.token() == "token-1"
    clock.advance(timedelta(seconds=1))
    endpoint.status = 503
    assert await source.token() == "token-1"  # thirty seconds are left, and the endpoint is away
    clock.advance(timedelta(seconds=30))
    with pytest.raises(Unavailable, match="TOKEN_ENDPOINT_UNREACHABLE"):
        await source.token()
    endpoint.status = 200
    assert await source.token() == f"token-{len(endpoint.asked)}"


async def test_a_refusal_is_told_with_its_code(source: TokenSource, endpoint: TokenEndpoint) -> None:
    endpoint.status, endpoint.answer = 400, {"error": "invalid_scope", "error_description": "no"}
    with pytest.raises(Unauthenticated) as refusal:
        await source.token()
    assert (refusal.value.reason, refusal.value.rule) == ("CLIENT_REFUSED", "invalid_scope")


@pytest.mark.parametrize("answer", [["a"], {"access_token": "t"}, {"access_token": 1, "expires_in": 1}])
async def test_an_answer_that_says_nothing_is_no_token(
    source: TokenSource, endpoint: TokenEndpoint, answer: object
) -> None:
    endpoint.answer = answer
    with pytest.raises(Unavailable, match="TOKEN_ENDPOINT_UNREACHABLE"):
        await source.token()


def test_a_client_needs_a_private_key() -> None:
    with pytest.raises(ValueError, match="private"):
        ClientKey("portal", {**EC.as_dict(private=False), "kid": "k-1"})
