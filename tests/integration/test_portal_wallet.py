"""A credential taken over to a wallet: the learner's page, and OpenID4VCI as a wallet speaks it."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import asyncpg
import grpc
import pytest

from services.portal.holdings import OfferedToWallets
from services.portal.local_time import machine_time
from services.portal.reconcile import reconcile
from services.portal.texts import LANGUAGES, TEXTS
from services.portal.wallet.codes import OfferSecrets
from services.portal.wallet.permission import KEPT_SECONDS, SILENT_SECONDS
from services.portal.wallet.protocol import CONFIGURATION, PRE_AUTHORIZED
from services.portal.wallet.store import Offers
from services.portal.wallet.terms import A_DAY, MAX_OFFERS, MAX_TRIES, OFFER_LIFETIME, TOKEN_LIFETIME
from services.portal.wiring import MIGRATIONS
from tests.integration.portal_pages import NOW, URL, Learner, Portal, away
from tests.unit.asgi import Answer, call
from tests.unit.credential_samples import HOLDER_KEY, PROVIDER
from vitne.credentials import type_metadata
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import NotFound
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate
from vitne.runtime.rules import check_rules
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import registry_pb2

WORDS = TEXTS["nb"]["wallet"]


class Registry:
    """Says what providers offer."""

    def __init__(self) -> None:
        self.offers = True
        self.provider = PROVIDER
        self.down = False
        self.unknown = False
        self.asked = 0

    async def GetAchievement(self, request: Any, timeout: float) -> Any:  # noqa: N802 - the contract's name
        check_rules(request)
        assert timeout > 0
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise away()
        if self.unknown:
            raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(), "none")
        information = credential_pb2.CatalogueInformation(wallet_transfer=self.offers)
        achievement = credential_pb2.Achievement(id=request.id, provider=self.provider, catalogue=information)
        return registry_pb2.GetAchievementResponse(achievement=achievement)

    async def GetCase(self, request: Any, timeout: float) -> Any:  # noqa: N802
        raise away()


class Wallet:
    """Speaks OpenID4VCI 1.0 with whoever an offer names."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal

    async def get(self, address: str) -> Answer:
        assert address.startswith(f"{URL}/")
        return await call(self.portal.app, address.removeprefix(URL))

    async def document(self, address: str) -> dict[str, Any]:
        answer = await self.get(address)
        assert (answer.status, answer.header("Content-Type")) == (200, "application/json"), answer.text
        document: dict[str, Any] = json.loads(answer.text)
        return document

    async def token(self, form: Mapping[str, str] | list[tuple[str, str]], content_type: str = "") -> Answer:
        headers = {"Content-Type": content_type or "application/x-www-form-urlencoded"}
        return await call(self.portal.app, "/wallet/token", form=urlencode(form).encode(), headers=headers)

    async def credential(self, token: str | None, body: Any = None, content_type: str = "application/json") -> Answer:
        sent = body if isinstance(body, bytes) else json.dumps(body or {"credential_configuration_id": CONFIGURATION})
        headers = {"Content-Type": content_type} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        form = sent if isinstance(sent, bytes) else sent.encode()
        return await call(self.portal.app, "/wallet/credential", form=form, headers=headers)

    async def granted(self, offered: Offered) -> str:
        """The access token for an offer."""
        answer = await self.token(await self.codes(offered))
        assert answer.status == 200, answer.text
        token: str = json.loads(answer.text)["access_token"]
        return token

    async def codes(self, offered: Offered, tx_code: str = "") -> dict[str, str]:
        """What a token request for an offer says."""
        offer = await self.document(offered.address)
        code = offer["grants"][PRE_AUTHORIZED]["pre-authorized_code"]
        return {"grant_type": PRE_AUTHORIZED, "pre-authorized_code": code, "tx_code": tx_code or offered.tx_code}


@dataclass
class Offered:
    """What a learner's page shows."""

    link: str
    tx_code: str
    handle: str
    id: str

    @property
    def address(self) -> str:
        query = parse_qs(urlsplit(self.link).query)
        assert self.link.startswith("openid-credential-offer://?")
        assert list(query) == ["credential_offer_uri"]
        return query["credential_offer_uri"][0]

    @property
    def wrong(self) -> str:
        return f"{(int(self.tx_code) + 1) % 10**6:06}"


@pytest.fixture(scope="module")
async def place(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[asyncpg.Pool, Path]]:
    dsn = await postgres.create_database(f"wallet_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    yield pool, tmp_path_factory.mktemp("portal")
    pool.terminate()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def portal(place: tuple[asyncpg.Pool, Path], registry: Registry) -> Portal:
    portal = Portal(*place)
    portal.registry = registry
    portal.restart()
    return portal


@pytest.fixture
async def kari(portal: Portal) -> Learner:
    return await portal.learner()


@pytest.fixture
def wallet(portal: Portal) -> Wallet:
    return Wallet(portal)


def page_of(handle: str) -> str:
    return f"/me/credentials/{handle}/wallet"


async def offer(kari: Learner, handle: str) -> Offered:
    """Press the button; what the page then shows."""
    answer = await kari.press(page_of(handle))
    assert (answer.status, answer.header("Location")) == (303, page_of(handle)), answer.text
    page = (await kari.get(page_of(handle))).text
    link = re.search(r'id="link" href="([^"]+)"', page)
    code = re.search(r'id="code">(\d{6})<', page)
    id_ = re.search(r'action="/me/wallet/([\w-]+)/end"', page)
    assert link is not None, page
    assert code is not None
    assert id_ is not None
    return Offered(html.unescape(link[1]), code[1], handle, id_[1])


def refused(answer: Answer, error: str, status: int = 400) -> None:
    """An error as RFC 6749 and OpenID4VCI write it."""
    assert answer.status == status, answer.text
    assert answer.header("Cache-Control") == "no-store"
    body = json.loads(answer.text)
    assert body["error"] == error, body
    # Section 8.3.1.2: printable ASCII without quotation mark and backslash.
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", body["error_description"])


async def test_a_wallet_takes_the_credential(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    handle, other = await kari.hold("Truck & kran"), await kari.hold("Et annet")
    before = (await kari.get(page_of(handle))).text
    assert "Truck &amp; kran" in before
    for told in ("put", "whole", "unbound", "for_good", "none_taken"):
        assert WORDS[told] in before
    offered = await offer(kari, handle)
    assert "<svg" in (await kari.get(page_of(handle))).text
    asked = await wallet.document(offered.address)
    assert (asked["credential_issuer"], asked["credential_configuration_ids"]) == (URL, [CONFIGURATION])
    grant = asked["grants"][PRE_AUTHORIZED]
    assert (grant["tx_code"]["input_mode"], grant["tx_code"]["length"]) == ("numeric", 6)
    issuer = await wallet.document(f"{URL}/.well-known/openid-credential-issuer")
    # No half of CORS: a page of another origin could read the metadata, and then nothing that they name.
    metadata = await wallet.get(f"{URL}/.well-known/openid-credential-issuer")
    assert not metadata.header("Access-Control-Allow-Origin")
    assert issuer["credential_issuer"] == URL
    configuration = issuer["credential_configurations_supported"][CONFIGURATION]
    assert (configuration["format"], configuration["vct"]) == ("dc+sd-jwt", type_metadata.VCT)
    assert not {"cryptographic_binding_methods_supported", "proof_types_supported"} & set(configuration)
    server = await wallet.document(f"{URL}/.well-known/oauth-authorization-server")
    assert (server["issuer"], server["grant_types_supported"]) == (URL, [PRE_AUTHORIZED])
    assert server["pre-authorized_grant_anonymous_access_supported"] is True
    assert (server["token_endpoint"], issuer["credential_endpoint"]) == (
        f"{URL}/wallet/token",
        f"{URL}/wallet/credential",
    )
    answer = await wallet.token(await wallet.codes(offered))
    granted = json.loads(answer.text)
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", TOKEN_LIFETIME.seconds)
    assert answer.header("Cache-Control") == "no-store"
    assert WORDS["fetching"] in (await kari.get(page_of(handle))).text
    # Proofs bring no key into what was issued without one; a wallet that sends some is answered all the same.
    body = {"credential_configuration_id": CONFIGURATION, "proofs": {"jwt": ["e30.e30.e30"]}, "more": 1}
    answer = await wallet.credential(granted["access_token"], body)
    assert (answer.status, answer.header("Cache-Control")) == (200, "no-store")
    ((taken,),) = ([list(one.values()) for one in json.loads(answer.text)["credentials"]],)
    kept = await portal.store.credential(kari.lookup, handle)
    assert kept is not None
    assert taken == [kept.artefact], "as it was issued, with every disclosure"
    # She sees when; on the credential's own page, too; of the other one nothing.
    after = (await kari.get(page_of(handle))).text
    assert WORDS["none_taken"] not in after
    assert machine_time(NOW) in after
    assert TEXTS["nb"]["history_wallet"] in (await kari.get(f"/me/credentials/{handle}")).text
    assert TEXTS["nb"]["history_wallet"] not in (await kari.get(f"/me/credentials/{other}")).text
    (held,) = await OfferedToWallets(Offers(portal.pool)).held(kari.lookup)
    assert (held["credential"], held["taken_at"]) == (handle, NOW)


async def test_each_step_survives_another_process(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    offered = await offer(kari, await kari.hold())
    portal.restart()
    codes = await wallet.codes(offered)
    portal.restart()
    token = json.loads((await wallet.token(codes)).text)["access_token"]
    portal.restart()
    first = await wallet.credential(token)
    portal.restart()
    # The answer was lost: the same again, and no second entry in her history.
    assert (await wallet.credential(token)).text == first.text
    assert (await kari.get(page_of(offered.handle))).text.count("<time") == 1


async def test_nothing_that_opens_an_offer_is_in_the_database(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    offered = await offer(kari, await kari.hold())
    codes = await wallet.codes(offered)
    token = await wallet.granted(offered)
    rows = "".join([row[0] for row in await portal.pool.fetch("SELECT to_jsonb(o)::text FROM wallet_offer o")])
    for secret in (offered.address.rpartition("/")[2], codes["pre-authorized_code"], token):
        assert secret not in rows
        assert len(secret) == 43


@pytest.mark.refuses
async def test_an_offer_is_used_once(kari: Learner, wallet: Wallet) -> None:
    offered = await offer(kari, await kari.hold())
    codes = await wallet.codes(offered)
    at_once = await asyncio.gather(*(wallet.token(codes) for _ in range(4)))
    assert sorted(answer.status for answer in at_once) == [200, 400, 400, 400]
    refused(await wallet.token(codes), "invalid_grant")
    assert (await wallet.get(offered.address)).status == 404


@pytest.mark.refuses
async def test_five_wrong_transaction_codes_end_it(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    offered = await offer(kari, await kari.hold())
    wrong, right = await wallet.codes(offered, offered.wrong), await wallet.codes(offered)
    for answer in await asyncio.gather(*(wallet.token(wrong) for _ in range(MAX_TRIES))):
        refused(answer, "invalid_grant")
    refused(await wallet.token(right), "invalid_grant")
    assert (await wallet.get(offered.address)).status == 404
    assert WORDS["locked"] in (await kari.get(page_of(offered.handle))).text
    # What would have expired by itself is nothing to tell of any more.
    portal.clock.advance(OFFER_LIFETIME)
    assert WORDS["locked"] not in (await kari.get(page_of(offered.handle))).text
    # The right one counts until then, the fifth time as well; and a new offer is another one.
    again = await offer(kari, offered.handle)
    for _ in range(MAX_TRIES - 1):
        refused(await wallet.token(await wallet.codes(again, again.wrong)), "invalid_grant")
    assert await wallet.granted(again)


@pytest.mark.refuses
async def test_lifetimes(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    offered = await offer(kari, await kari.hold())
    codes = await wallet.codes(offered)
    token = await wallet.granted(await offer(kari, await kari.hold()))
    portal.clock.advance(TOKEN_LIFETIME)
    refused(await wallet.credential(token), "invalid_token", 401)
    portal.clock.advance(OFFER_LIFETIME - TOKEN_LIFETIME)
    refused(await wallet.token(codes), "invalid_grant")
    assert (await wallet.get(offered.address)).status == 404
    page = (await kari.get(page_of(offered.handle))).text
    assert WORDS["put"] in page
    assert "<svg" not in page


@pytest.mark.refuses
async def test_what_she_ends_is_over(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    handle = await kari.hold()
    first = await offer(kari, handle)
    codes = await wallet.codes(first)
    second = await offer(kari, handle)
    refused(await wallet.token(codes), "invalid_grant")
    token = await wallet.granted(second)
    stranger = await portal.learner()
    assert (await stranger.press(f"/me/wallet/{second.id}/end")).status == 404
    assert (await kari.press("/me/wallet/nothing/end")).status == 404
    for _ in range(2):
        ended = await kari.press(f"/me/wallet/{second.id}/end")
        assert (ended.status, ended.header("Location")) == (303, page_of(handle))
    refused(await wallet.credential(token), "invalid_token", 401)
    offered = await offer(kari, handle)
    third = await wallet.codes(offered)
    await reconcile(portal.pool, [], portal.clock.now(), keep_access=True)
    assert (await wallet.get(offered.address)).status == 200
    await reconcile(portal.pool, [], portal.clock.now(), keep_access=False)  # of a restored database
    refused(await wallet.token(third), "invalid_grant")


@pytest.mark.refuses
async def test_what_became_of_it_meanwhile_counts(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    handle, withdrawn = await kari.hold(), await kari.hold()
    token, other = await wallet.granted(await offer(kari, handle)), await wallet.granted(await offer(kari, withdrawn))
    await portal.pool.execute("UPDATE credential SET status = 'revoked' WHERE handle = $1", handle)
    async with portal.pool.acquire() as conn, conn.transaction():
        await portal.store.forget(conn, {withdrawn: portal.clock.now()})
    refused(await wallet.credential(token), "credential_request_denied")
    refused(await wallet.credential(other), "invalid_token", 401)
    assert await portal.pool.fetchval("SELECT count(*) FROM wallet_offer WHERE taken_at IS NOT NULL AND handle = $1",
                                      handle) == 0  # fmt: skip
    # Erased, withdrawn from here: her row goes, and with it all of hers.
    await portal.store.erase(kari.lookup)
    refused(await wallet.credential(token), "invalid_token", 401)
    assert await portal.pool.fetchval("SELECT count(*) FROM wallet_offer WHERE pseudonym = $1", kari.pseudonym) == 0


async def test_a_withdrawal_that_is_read_late_ends_what_was_offered_since(
    portal: Portal, kari: Learner, wallet: Wallet
) -> None:
    handle = await kari.hold()
    withdrawn = portal.clock.now()
    await portal.pool.execute("UPDATE credential SET happened = $2 WHERE handle = $1", handle, withdrawn - A_DAY)
    portal.clock.advance(timedelta(seconds=1))
    token = await wallet.granted(await offer(kari, handle))
    async with portal.pool.acquire() as conn, conn.transaction():
        await portal.store.forget(conn, {handle: withdrawn})
    refused(await wallet.credential(token), "invalid_token", 401)


async def test_what_is_withdrawn_meanwhile_is_not_offered(portal: Portal, kari: Learner) -> None:
    offers, handle = Offers(portal.pool), await kari.hold()
    async with portal.pool.acquire() as conn, conn.transaction():
        await portal.store.forget(conn, {handle: portal.clock.now()})
    await portal.store.register(kari.lookup, kari.pseudonym, portal.clock.now())
    with pytest.raises(NotFound, match="CREDENTIAL_UNKNOWN"):
        await offers.make(kari.lookup, uuid4(), handle, OfferSecrets.new(), portal.clock.now())
    assert await offers.of_learner(kari.lookup) == []


async def test_a_wallet_waits_for_what_is_being_fetched(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    handle = await kari.hold()
    token = await wallet.granted(await offer(kari, handle))
    await portal.pool.execute("UPDATE credential SET fetch_at = now() WHERE handle = $1", handle)
    later = await wallet.credential(token)
    assert (later.status, later.header("Cache-Control")) == (503, "no-store")
    assert timedelta() < timedelta(seconds=int(later.header("Retry-After"))) < TOKEN_LIFETIME
    await portal.pool.execute("UPDATE credential SET fetch_at = NULL WHERE handle = $1", handle)
    assert (await wallet.credential(token)).status == 200


async def test_a_wallet_waits_while_all_is_gathered_anew(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    handle = await kari.hold()
    token = await wallet.granted(await offer(kari, handle))
    row = await portal.pool.fetchval("SELECT to_jsonb(c)::text FROM credential c WHERE handle = $1", handle)
    # A rebuild empties the table, and reads again of a withdrawal from before she registered again.
    async with portal.pool.acquire() as conn, conn.transaction():
        await conn.execute("DELETE FROM credential WHERE handle = $1", handle)
        await portal.store.forget(conn, {handle: portal.clock.now() - A_DAY})
    later = await wallet.credential(token)
    assert (later.status, int(later.header("Retry-After")) > 0) == (503, True)
    gone = await kari.get(page_of(handle))
    assert (gone.status, TEXTS["nb"]["refused"]["NO_SUCH_CREDENTIAL"] in gone.text) == (404, True)
    await portal.pool.execute(
        "INSERT INTO credential SELECT * FROM jsonb_populate_record(NULL::credential, $1::jsonb)", row
    )
    assert (await wallet.credential(token)).status == 200


async def test_her_page_leads_to_a_wallet_only_where_that_is_offered(
    portal: Portal, registry: Registry, kari: Learner, wallet: Wallet
) -> None:
    handle = await kari.hold()
    leads = f'href="{page_of(handle)}">'
    page = f"/me/credentials/{handle}"
    assert f"{leads}{WORDS['put']}<" in (await kari.get(page)).text
    offered = await offer(kari, handle)
    registry.offers = False
    portal.clock.advance(timedelta(seconds=KEPT_SECONDS))
    # There is one to be ended still, and later its history.
    assert f"{leads}{WORDS['offered']}<" in (await kari.get(page)).text
    token = await wallet.granted(offered)
    assert f"{leads}{WORDS['offered']}<" in (await kari.get(page)).text
    assert (await wallet.credential(token)).status == 200
    assert f"{leads}{WORDS['taken']}<" in (await kari.get(page)).text
    other = await kari.hold()
    assert page_of(other) not in (await kari.get(f"/me/credentials/{other}")).text
    # An offer that nobody took, and that is over, leads to nothing.
    registry.offers = True
    portal.clock.advance(timedelta(seconds=KEPT_SECONDS))
    await offer(kari, other)
    registry.offers = False
    portal.clock.advance(OFFER_LIFETIME)
    assert page_of(other) not in (await kari.get(f"/me/credentials/{other}")).text
    # While nobody can say, the wallet's page says so.
    registry.down = True
    portal.clock.advance(timedelta(seconds=KEPT_SECONDS))
    assert page_of(other) in (await kari.get(f"/me/credentials/{other}")).text


async def test_a_registry_that_does_not_answer_is_waited_for_once(
    portal: Portal, registry: Registry, kari: Learner
) -> None:
    handle = await kari.hold()
    page = f"/me/credentials/{handle}"
    registry.down = True
    for _ in range(3):
        assert page_of(handle) in (await kari.get(page)).text
        assert WORDS["obstacles"]["not_known"] in (await kari.get(page_of(handle))).text
    assert registry.asked == 1
    registry.down = False
    portal.clock.advance(timedelta(seconds=SILENT_SECONDS))
    assert WORDS["lead"] in (await kari.get(page_of(handle))).text


async def test_it_expires_when_the_day_begins_in_norway(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    handle, other = await kari.hold(expires_on=date(2026, 11, 23)), await kari.hold(expires_on=date(2026, 11, 23))
    portal.clock.advance(datetime(2026, 11, 22, 22, 58, tzinfo=UTC) - NOW)
    token = await wallet.granted(await offer(kari, handle))
    assert (await wallet.credential(token)).status == 200
    portal.clock.advance(timedelta(minutes=3))  # 23:01 UTC: the next day in Norway
    refused(await wallet.credential(token), "credential_request_denied")
    assert WORDS["obstacles"]["not_valid"] in (await kari.get(page_of(other))).text
    assert (await kari.press(page_of(other))).status == 409


async def test_an_erasure_and_an_offer_at_once(portal: Portal, kari: Learner) -> None:
    """She offers something while she is being erased elsewhere: neither waits for the other for ever."""
    handle = await kari.hold()
    await offer(kari, handle)
    portal.clock.advance(OFFER_LIFETIME + A_DAY + timedelta(seconds=1))  # to be swept
    async with portal.pool.acquire() as erasing:
        transaction = erasing.transaction()
        await transaction.start()
        await erasing.execute("SELECT FROM subscriber WHERE lookup = $1 FOR UPDATE", kari.lookup)
        pressed = asyncio.create_task(kari.press(page_of(handle)))
        async with asyncio.timeout(60):
            while not await portal.pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                assert not pressed.done()
                await asyncio.sleep(0.01)
        await erasing.execute("DELETE FROM subscriber WHERE lookup = $1", kari.lookup)
        await transaction.commit()
    answer = await pressed
    assert (answer.status, "NOT_REGISTERED" in answer.text) == (409, True), answer.text
    assert await portal.pool.fetchval("SELECT count(*) FROM wallet_offer WHERE pseudonym = $1", kari.pseudonym) == 0


@pytest.mark.refuses
async def test_token_requests_that_are_wrong(kari: Learner, wallet: Wallet) -> None:
    codes = await wallet.codes(await offer(kari, await kari.hold()))
    for name in codes:
        refused(await wallet.token({one: value for one, value in codes.items() if one != name}), "invalid_request")
        refused(await wallet.token([*codes.items(), (name, codes[name])]), "invalid_request")
    refused(await wallet.token({**codes, "tx_code": ""}), "invalid_request")
    refused(await wallet.token(codes, "application/json"), "invalid_request")
    refused(await wallet.token({**codes, "grant_type": "authorization_code"}), "unsupported_grant_type")
    refused(await wallet.token({**codes, "pre-authorized_code": "æ" * 43}), "invalid_grant")
    refused(await wallet.token({**codes, "more": "x" * 5000}), "invalid_request", 413)
    assert (await wallet.token({**codes, "client_id": "whoever", "scope": "more"})).status == 200, "nothing was used up"


@pytest.mark.refuses
async def test_credential_requests_that_are_wrong(kari: Learner, wallet: Wallet) -> None:
    token = await wallet.granted(await offer(kari, await kari.hold()))
    unnamed = await wallet.credential(None)
    assert (unnamed.status, unnamed.header("WWW-Authenticate"), unnamed.body) == (401, "Bearer", b"")
    guessed = await wallet.credential("x" * 43)
    refused(guessed, "invalid_token", 401)
    assert guessed.header("WWW-Authenticate") == 'Bearer error="invalid_token"'
    named = {"credential_configuration_id": CONFIGURATION}
    for error, body in (
        ("invalid_credential_request", b"{"),
        ("invalid_credential_request", b"[]"),
        ("invalid_credential_request", b'{"credential_configuration_id":"a","credential_configuration_id":"a"}'),
        ("invalid_credential_request", {"format": "dc+sd-jwt"}),
        ("invalid_credential_request", {"credential_configuration_id": 7}),
        ("invalid_credential_request", {**named, "credential_identifier": "one"}),
        ("unknown_credential_configuration", {"credential_configuration_id": "UniversityDegree"}),
        ("unknown_credential_identifier", {"credential_identifier": "one"}),
        ("invalid_encryption_parameters", {**named, "credential_response_encryption": {"enc": "A128GCM"}}),
    ):
        refused(await wallet.credential(token, body), error)
    refused(await wallet.credential(token, named, "text/plain"), "invalid_credential_request")
    refused(await wallet.credential(token, b" " * 20_000), "invalid_request", 413)
    assert (await wallet.credential(token)).status == 200


@pytest.mark.refuses
@pytest.mark.parametrize("cause", ["not_offered", "another", "unknown", "not_known", "no_registry", "not_valid",
                                   "expired", "fetching", "unreadable", "bound"])  # fmt: skip
async def test_what_is_not_offered_says_so(portal: Portal, registry: Registry, kari: Learner, cause: str) -> None:
    changes: dict[str, Any] = {
        "expired": {"expires_on": date(2026, 11, 22)},
        "bound": {"holder": HOLDER_KEY.public_key},
    }
    handle = await kari.hold(**changes.get(cause, {}))
    registry.offers = cause != "not_offered"
    registry.provider = "0192:971035854" if cause == "another" else PROVIDER
    registry.unknown, registry.down = cause == "unknown", cause == "not_known"
    if cause == "no_registry":
        portal.registry = None
        portal.restart()
    for wanted, change in {
        "not_valid": "status = 'suspended'",
        "fetching": "fetch_at = now()",
        "unreadable": "content = '\\x00'",
    }.items():
        if cause == wanted:
            await portal.pool.execute(f"UPDATE credential SET {change} WHERE handle = $1", handle)
    told = {"another": "not_offered", "unknown": "not_offered", "no_registry": "not_known", "expired": "not_valid"}
    page = (await kari.get(page_of(handle))).text
    assert WORDS["obstacles"][told.get(cause, cause)] in page
    assert f'action="{page_of(handle)}"' not in page
    pressed = await kari.press(page_of(handle))
    assert pressed.status == 409
    assert TEXTS["nb"]["refused"]["NOT_TRANSFERABLE"] in pressed.text


async def test_a_provider_changes_its_mind(portal: Portal, registry: Registry, kari: Learner) -> None:
    handle = await kari.hold()
    registry.offers = False
    assert WORDS["obstacles"]["not_offered"] in (await kari.get(page_of(handle))).text
    registry.offers = True
    portal.clock.advance(timedelta(seconds=KEPT_SECONDS))
    assert WORDS["lead"] in (await kari.get(page_of(handle))).text


@pytest.mark.refuses
async def test_only_she_may_and_not_too_often(portal: Portal, kari: Learner) -> None:
    handle = await kari.hold()
    stranger = await portal.learner()
    assert (await stranger.get(page_of(handle))).status == 404
    assert (await stranger.press(page_of(handle))).status == 404
    assert (await kari.post(page_of(handle), {"csrf_token": "forged"})).status == 403
    del stranger.cookies[portal.cookie("vitne_session")]
    assert (await stranger.get(page_of(handle))).status == 303
    for _ in range(MAX_OFFERS):
        await offer(kari, handle)
    assert (await kari.press(page_of(handle))).status == 429
    portal.clock.advance(A_DAY + timedelta(seconds=1))
    await offer(kari, handle)


async def test_another_browser_of_hers_sees_no_codes(portal: Portal, kari: Learner) -> None:
    offered = await offer(kari, await kari.hold())
    secret = await portal.sessions.open(kari.lookup, "id-porten", portal.clock.now(), timedelta(hours=1))
    elsewhere = Learner(portal, kari.lookup, kari.pseudonym, secret)
    page = (await elsewhere.get(page_of(offered.handle))).text
    assert offered.tx_code not in page
    assert "openid-credential-offer" not in page
    # But that there is one, and its end.
    assert WORDS["elsewhere"] in page
    ended = await elsewhere.press(f"/me/wallet/{offered.id}/end")
    assert ended.status == 303
    assert WORDS["elsewhere"] not in (await elsewhere.get(page_of(offered.handle))).text


async def test_each_open_offer_can_be_ended(portal: Portal, kari: Learner, wallet: Wallet) -> None:
    first, second = await offer(kari, await kari.hold()), await offer(kari, await kari.hold())
    end = 'action="/me/wallet/{}/end"'
    page = (await kari.get(page_of(first.handle))).text
    assert end.format(first.id) in page
    assert "<svg" not in page
    # The browser keeps the codes of the second still.
    await kari.press(f"/me/wallet/{first.id}/end")
    assert (await wallet.get(first.address)).status == 404
    assert end.format(first.id) not in (await kari.get(page_of(first.handle))).text
    assert second.tx_code in (await kari.get(page_of(second.handle))).text
    # A wallet has given the codes: until it has fetched, that can be ended, too.
    token = await wallet.granted(second)
    assert end.format(second.id) in (await kari.get(page_of(second.handle))).text
    await kari.press(f"/me/wallet/{second.id}/end")
    assert not kari.cookies[portal.cookie("vitne_wallet_offer")].strip('"')
    refused(await wallet.credential(token), "invalid_token", 401)


async def test_every_language(kari: Learner, wallet: Wallet) -> None:
    handle = await kari.hold()
    offered = await offer(kari, handle)
    for language in LANGUAGES:
        words = TEXTS[language]["wallet"]
        assert html.escape(words["tx_code_lead"], quote=False) in html.unescape(
            (await kari.get(f"{page_of(handle)}?lang={language}")).text
        )
        described = json.loads((await call(wallet.portal.app, offered.address.removeprefix(URL),
                                           headers={"Accept-Language": language})).text)  # fmt: skip
        assert described["grants"][PRE_AUTHORIZED]["tx_code"]["description"] == words["tx_code_where"]
        assert len(words["tx_code_where"]) <= 300
