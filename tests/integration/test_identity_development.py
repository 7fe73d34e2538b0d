"""The development issuer as a process: Maskinporten's grant and ID-porten's log-in over loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from joserfc import jwt

from vitne.canonical import b64url, from_b64url, sha256
from vitne.clock import SystemClock
from vitne.dev.identity import Client, ClientCredentials, Configuration, Delegation, DevelopmentIdentity, SystemUser
from vitne.dev.identity.__main__ import main
from vitne.dev.identity.configuration import import_key, require_development
from vitne.dev.ports import free_port
from vitne.errors import FailedPrecondition, InvalidArgument, Unauthenticated, Unavailable
from vitne.identifiers import OrganisationId, synthetic_national_id
from vitne.runtime.identity import (
    CLIENT_ASSERTION,
    HIGH,
    JWT_BEARER,
    LOW,
    SUBSTANTIAL,
    ClientKey,
    IdTokenVerifier,
    TokenSource,
    TokenVerifier,
)

AUDIENCE = "https://vitne.example"
OSLO, UCL, VENDOR, HUB = "0192:971035854", "0184:30859480", "0192:991825827", "0192:919477822"
REDIRECT = "http://127.0.0.1:9/callback"
CLOCK = SystemClock()
#: Seconds in which a process starts on a machine that has other work to do.
PATIENCE = 90.0


def pid_of(day: int) -> str:
    return next(pid for serial in range(20) if (pid := synthetic_national_id(date(1990, 4, day), serial)))


KARI, WEAK = pid_of(5), pid_of(6)


@dataclass(frozen=True)
class Running:
    url: str
    clients: dict[str, ClientCredentials]

    def key(self, client_id: str) -> ClientKey:
        return ClientKey.read(client_id, self.clients[client_id].key_file)

    def source(self, client_id: str, *scopes: str, consumer: str = "", subject: str = "") -> TokenSource:
        return TokenSource(
            self.url, self.key(client_id), scopes, CLOCK, resource=AUDIENCE, consumer=consumer, subject=subject
        )


@pytest.fixture(scope="module")
async def identity(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("identity")
    setup = DevelopmentIdentity(folder, url)
    clients = [
        setup.make_client("oslo", OSLO, ["vitne:credentials.issue", "vitne:credentials.read"]),
        setup.make_client("ucl", UCL, ["vitne:credentials.issue"], officers=["officer-1"]),
        setup.make_client(
            "vendor",
            VENDOR,
            ["vitne:credentials.issue"],
            delegations=[Delegation(consumer=OSLO, scopes=("vitne:credentials.issue",))],
            system_users=[SystemUser(organisation=OSLO, system_id="991825827_studies", user_ids=("user-1",))],
        ),
        setup.make_client("portal", HUB, ["vitne:hub.fetch"], redirect_uris=[REDIRECT]),
    ]
    setup.add_learner(KARI, "Kari", "Nordmann <b>")
    setup.add_learner(WEAK, "Ola", "Nordmann", LOW)
    config = setup.write()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vitne.dev.identity", "--config", str(config), "--listen", f"127.0.0.1:{port}"
    )
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with session.get(f"{url}/jwks") as response:
                        assert response.status == 200
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
    yield Running(url, {client.client_id: client for client in clients})
    process.terminate()
    assert await process.wait() in {0, -15}


async def verify(identity: Running, token: str) -> Any:
    return await TokenVerifier(identity.url, AUDIENCE, CLOCK).verify(token)


async def test_an_institution_gets_a_token_for_itself(identity: Running) -> None:
    source = identity.source("oslo", "vitne:credentials.issue", "vitne:credentials.read")
    token = await source.token()
    caller = await verify(identity, token)
    assert caller.organisation == OrganisationId.parse(OSLO)
    assert caller.scopes == {"vitne:credentials.issue", "vitne:credentials.read"}
    assert (caller.client_id, caller.supplier) == ("oslo", None)
    claims = json.loads(from_b64url(token.split(".")[1]))
    assert claims["consumer"] == {"authority": "iso6523-actorid-upis", "ID": OSLO}
    assert (claims["token_type"], claims["client_amr"]) == ("Bearer", "private_key_jwt")
    assert claims["exp"] - claims["iat"] == 120


async def test_a_neighbour_s_institution_does_too(identity: Running) -> None:
    caller = await verify(identity, await identity.source("ucl", "vitne:credentials.issue").token())
    assert caller.organisation == OrganisationId.parse(UCL)


async def test_a_client_acts_by_officers_of_its_own_organisation_only(identity: Running) -> None:
    token = await identity.source("ucl", "vitne:credentials.issue", subject="officer-1").token()
    assert (await verify(identity, token)).subject == "officer-1"
    with pytest.raises(Unauthenticated, match="invalid_grant"):
        await identity.source("ucl", "vitne:credentials.issue", subject="officer-2").token()


async def test_a_supplier_gets_a_delegated_token_for_who_delegated_only(identity: Running) -> None:
    token = await identity.source("vendor", "vitne:credentials.issue", consumer="971035854").token()
    caller = await verify(identity, token)
    assert (str(caller.organisation), str(caller.supplier)) == (OSLO, VENDOR)
    with pytest.raises(Unauthenticated, match="invalid_scope"):
        await identity.source("vendor", "vitne:credentials.read", consumer="971035854").token()
    with pytest.raises(Unauthenticated, match="invalid_scope"):
        await identity.source("vendor", "vitne:credentials.issue", consumer=UCL).token()


async def test_a_token_is_kept_and_concurrent_callers_share_it(identity: Running) -> None:
    source = identity.source("oslo", "vitne:credentials.issue")
    tokens = await asyncio.gather(*(source.token() for _ in range(10)))
    assert len({*tokens, await source.token()}) == 1


async def test_a_scope_that_is_not_the_client_s_is_refused(identity: Running) -> None:
    with pytest.raises(Unauthenticated, match=r"CLIENT_REFUSED.*invalid_scope"):
        await identity.source("oslo", "vitne:registry.operate").token()


async def test_an_issuer_that_is_away_is_unavailable(identity: Running) -> None:
    source = TokenSource(f"http://127.0.0.1:{free_port()}", identity.key("oslo"), ["vitne:x"], CLOCK, resource=AUDIENCE)
    with pytest.raises(Unavailable, match="IDENTITY_ISSUER_UNREACHABLE"):
        await source.token()


async def post(identity: Running, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.post(f"{identity.url}/token", data=form) as response:
        return response.status, await response.json()


async def grant(identity: Running, client_id: str, audience: str = "", **claims: object) -> tuple[int, dict[str, Any]]:
    full = {"scope": "vitne:credentials.issue", "resource": AUDIENCE, **claims}
    assertion = identity.key(client_id).assertion(audience or identity.url, CLOCK, **full)
    return await post(identity, {"grant_type": JWT_BEARER, "assertion": assertion})


async def test_a_system_user_s_token_acts_for_the_customer(identity: Running) -> None:
    customer = {"authority": "iso6523-actorid-upis", "ID": OSLO}
    details = [{"type": "urn:altinn:systemuser", "systemuser_org": customer}]
    status, answer = await grant(identity, "vendor", authorization_details=details)
    assert status == 200
    caller = await verify(identity, answer["access_token"])
    assert (str(caller.organisation), str(caller.supplier)) == (OSLO, VENDOR)
    status, answer = await grant(identity, "oslo", authorization_details=details)
    assert (status, answer["error"]) == (400, "invalid_authorization_details")


async def test_a_grant_must_be_fresh_addressed_and_new(identity: Running) -> None:
    now = int(CLOCK.now().timestamp())
    for bad in (
        {"iat": now, "exp": now + 121},
        {"iat": now - 300, "exp": now - 180},
        {"iat": now + 600, "exp": now + 630},
        {"jti": ""},
        {"iss": "nobody"},
        {"iss": "ucl"},
    ):
        status, answer = await grant(identity, "oslo", **bad)
        assert (status, answer["error"]) == (400, "invalid_grant"), bad
    status, answer = await grant(identity, "oslo", audience=f"{identity.url}/token")
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert (await grant(identity, "oslo", jti="once"))[0] == 200
    assert (await grant(identity, "oslo", jti="once"))[0] == 400
    status, answer = await grant(identity, "oslo", scope="")
    assert answer["error"] == "invalid_scope"


async def test_an_unsigned_grant_is_refused(identity: Running) -> None:
    header, claims, _ = identity.key("oslo").assertion(identity.url, CLOCK, scope="vitne:x").split(".")
    none = b64url(b'{"alg":"none"}')
    for assertion in (f"{none}.{claims}.", f"{header}.{claims}.", "x", ""):
        status, answer = await post(identity, {"grant_type": JWT_BEARER, "assertion": assertion})
        assert (status, answer["error"]) == (400, "invalid_grant")
    status, answer = await post(identity, {"grant_type": "password"})
    assert answer["error"] == "unsupported_grant_type"


class Visit:
    """One learner's browser at the issuer, and the client that she came from."""

    def __init__(self, identity: Running, session: aiohttp.ClientSession) -> None:
        self.identity = identity
        self.session = session
        self.verifier = "v" * 43

    def address(self, **changes: str) -> str:
        query = {
            "client_id": "portal",
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "scope": "openid",
            "state": "s-1",
            "nonce": "n-1",
            "acr_values": SUBSTANTIAL,
            "code_challenge": b64url(sha256(self.verifier.encode())),
            "code_challenge_method": "S256",
            **changes,
        }
        return f"{self.identity.url}/authorize?{urlencode({name: value for name, value in query.items() if value})}"

    async def ask(self, **changes: str) -> tuple[int, str, dict[str, str]]:
        """Status, page, and the parameters of the redirect."""
        async with self.session.get(self.address(**changes), allow_redirects=False) as response:
            return response.status, await response.text(), returned(response)

    async def choose(self, pid: str, **changes: str) -> dict[str, str]:
        _, page, _ = await self.ask(**changes)
        transaction = re.search(r'name="transaction" value="([^"]+)"', page)
        assert transaction is not None
        form = {"transaction": transaction[1], "learner": pid}
        async with self.session.post(f"{self.identity.url}/authorize", data=form, allow_redirects=False) as response:
            assert response.status == 303, await response.text()
            return returned(response)

    async def redeem(self, code: str, client_id: str = "portal", **changes: str) -> tuple[int, dict[str, Any]]:
        assertion = self.identity.key(client_id).assertion(self.identity.url, CLOCK, sub=client_id)
        return await post(
            self.identity,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": REDIRECT,
                "code_verifier": self.verifier,
                "client_assertion_type": CLIENT_ASSERTION,
                "client_assertion": assertion,
                **changes,
            },
        )


def returned(response: aiohttp.ClientResponse) -> dict[str, str]:
    location = response.headers.get("Location", "")
    assert not location or location.startswith(REDIRECT)
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


@pytest.fixture
async def visit(identity: Running) -> AsyncIterator[Visit]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Visit(identity, session)


async def test_a_learner_logs_in(identity: Running, visit: Visit) -> None:
    status, page, _ = await visit.ask()
    assert status == 200
    assert "Nordmann &lt;b&gt;" in page  # names are text, never markup
    answer = await visit.choose(KARI)
    assert (answer["state"], answer["iss"]) == ("s-1", identity.url)
    status, tokens = await visit.redeem(answer["code"])
    assert status == 200
    learner = await IdTokenVerifier(identity.url, CLOCK).verify(tokens["id_token"], audience="portal", nonce="n-1")
    assert (learner.value, learner.acr) == (KARI, SUBSTANTIAL)
    claims = json.loads(from_b64url(tokens["id_token"].split(".")[1]))
    assert {"sid", "amr", "auth_time", "at_hash"} <= claims.keys()
    assert KARI not in claims["sub"]


async def test_a_learner_who_is_logged_in_is_not_asked_again_unless_the_client_wants_it(visit: Visit) -> None:
    assert (await visit.ask(prompt="none"))[2]["error"] == "login_required"
    await visit.choose(KARI)
    status, _, answer = await visit.ask(prompt="none")
    assert status == 303
    assert "code" in answer
    assert (await visit.ask(prompt="login"))[0] == 200
    async with visit.session.get(f"{visit.identity.url}/logout") as response:
        assert response.status == 200
    assert (await visit.ask())[0] == 200


async def test_a_code_counts_once_for_its_client_with_its_verifier(visit: Visit) -> None:
    for client_id, changes, error in (
        ("portal", {"code_verifier": "w" * 43}, "invalid_grant"),
        ("portal", {"redirect_uri": "http://127.0.0.1:9/other"}, "invalid_grant"),
        ("portal", {"client_assertion_type": "none"}, "invalid_client"),
        ("portal", {"client_assertion": "x.y.z"}, "invalid_client"),
        ("oslo", {}, "invalid_grant"),
    ):
        code = (await visit.choose(KARI, prompt="login"))["code"]
        _, answer = await visit.redeem(code, client_id, **changes)
        assert answer["error"] == error, changes
    code = (await visit.choose(KARI, prompt="login"))["code"]
    assert (await visit.redeem(code))[0] == 200
    assert (await visit.redeem(code))[1]["error"] == "invalid_grant"


async def test_authentication_requests_are_checked(visit: Visit) -> None:
    for changes, error in (
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"nonce": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"acr_values": "Level4"}, "invalid_request"),
    ):
        status, _, answer = await visit.ask(**changes)
        assert (status, answer["error"]) == (303, error), changes
    for changes in ({"redirect_uri": "https://evil.example/"}, {"client_id": "nobody"}, {"client_id": "oslo"}):
        status, _, answer = await visit.ask(**changes)
        assert (status, answer) == (400, {}), changes


async def test_a_learner_can_t_claim_a_stronger_log_in_than_she_has(visit: Visit) -> None:
    assert (await visit.choose(WEAK, acr_values=HIGH))["error"] == "access_denied"
    assert "code" in await visit.choose(WEAK, acr_values=LOW, prompt="login")


def test_it_refuses_production_and_real_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = DevelopmentIdentity(tmp_path, "http://127.0.0.1:1")
    setup.add_learner(KARI, "Kari", "Nordmann")
    path = setup.write()
    monkeypatch.setitem(os.environ, "VITNE_ENVIRONMENT", "production")
    assert main(["--config", str(path)]) == 2
    assert "NOT_IN_PRODUCTION" in capsys.readouterr().err
    # Well formed without the 80 (serial 000 is given to nobody).
    real = "01019000083"
    setup.add_learner(real, "Real", "Person")
    with pytest.raises(InvalidArgument) as refusal:
        setup.write()
    assert refusal.value.reason == "NOT_SYNTHETIC"
    assert real not in str(refusal.value)


def test_a_configuration_with_a_private_or_misspelt_part_is_refused(tmp_path: Path) -> None:
    setup = DevelopmentIdentity(tmp_path, "http://127.0.0.1:1")
    credentials = setup.make_client("oslo", OSLO)
    path = setup.write()
    assert path.stat().st_mode & 0o077 == 0
    assert credentials.key_file.stat().st_mode & 0o077 == 0
    document = json.loads(path.read_bytes())
    assert "d" not in document["clients"][0]["public_jwk"]
    document["clients"][0]["organization"] = OSLO
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidArgument, match="BAD_CONFIGURATION"):
        Configuration.read(path)
    private = json.loads(credentials.key_file.read_bytes())
    client = Client(client_id="x", organisation=OSLO, public_jwk=private)
    with pytest.raises(InvalidArgument, match="must be public"):
        Configuration(issuer="http://127.0.0.1:1", signing_key=private, clients=(client,)).check()


def test_keys_survive_a_second_run(tmp_path: Path) -> None:
    first = DevelopmentIdentity(tmp_path, "http://127.0.0.1:1").make_client("oslo", OSLO).key_file.read_bytes()
    again = DevelopmentIdentity(tmp_path, "http://127.0.0.1:1").make_client("oslo", OSLO).key_file.read_bytes()
    assert first == again
    token = ClientKey("oslo", json.loads(again)).assertion("aud", CLOCK)
    assert jwt.decode(token, import_key(json.loads(first)), algorithms=["RS256"]).claims["iss"] == "oslo"


def test_production_is_refused_by_name_of_the_environment() -> None:
    require_development({})
    with pytest.raises(FailedPrecondition, match="NOT_IN_PRODUCTION"):
        require_development({"VITNE_ENVIRONMENT": "Production"})
