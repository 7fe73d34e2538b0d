"""The portal's pages over a real database, without a process: who is logged in, a verifier and an issuer that obey."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import asyncpg
import grpc

from services.portal.employers.store import Employers
from services.portal.emrex.assembly import Emrex
from services.portal.holdings import Holdings
from services.portal.sealing import PortalKeys
from services.portal.sessions import Sessions
from services.portal.sharing.assembly import Sharing
from services.portal.store import Fetched, Store, Told
from services.portal.wallet.store import Offers
from services.portal.web.application import application
from services.portal.web.site import Parts, site
from tests.unit.asgi import Answer, call
from tests.unit.credential_samples import ENTROPY, PROVIDER, PROVIDER_KEY, sample_achievement, sample_credential, texts
from vitne.clock import ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId, OrganisationId
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.verifier.v1 import verifier_pb2

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
HUB = OrganisationId.parse("0192:919477822")
URL = "https://portal.example"
_CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')


def away() -> grpc.aio.AioRpcError:
    """What a call gets while the other side is not there."""
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "down")


class Verifier:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.verdict = verifier_pb2.VERDICT_VALID
        self.down = False
        self.asked: list[str] = []

    async def Verify(self, request: Any, timeout: float) -> Any:  # noqa: N802 - the contract's name
        self.asked.append(request.credential)
        await asyncio.sleep(0)
        if self.down:
            raise away()
        answer = verifier_pb2.VerifyResponse(verdict=self.verdict, headline="A headline.")
        answer.verified_at.FromDatetime(NOW)
        for name, outcome in (("signature", "PASSED"), ("not_revoked", "PASSED"), ("from_the_future", "NOTE")):
            answer.checks.add(
                name=name,
                outcome=credential_pb2.Check.Outcome.Value(f"OUTCOME_{outcome}"),
                detail=f"The {name} was looked at",
                evidence="a key",
            )
        return answer


class Issuer:
    """Answers credentials by handle, in formats too."""

    def __init__(self) -> None:
        self.answer: Any = issuer_pb2.FetchedCredential()
        self.down = False
        self.asked: list[Any] = []

    async def FetchCredentials(self, request: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        if self.down:
            raise away()
        return issuer_pb2.FetchCredentialsResponse(credentials=[self.answer])

    async def RegisterLearner(self, request: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        return issuer_pb2.RegisterLearnerResponse(pseudonym="p" * 43)


class OpenId:
    """No learner is sent anywhere; who comes back is for a test to say."""

    name = "id-porten"
    complete: Any = None

    async def origins(self) -> list[str]:
        return []


class Portal:
    """A portal over a database; :meth:`restart` is another process over the same one."""

    def __init__(self, pool: asyncpg.Pool, folder: Path, url: str = URL) -> None:
        self.pool = pool
        self.url = url
        self.folder = folder
        self.keys = PortalKeys.load(folder, create=True)
        self.store = Store(pool, self.keys)
        self.sessions = Sessions(pool)
        self.clock = ManualClock(NOW)
        self.verifier, self.issuer, self.openid = Verifier(), Issuer(), OpenId()
        #: Stub of the registry's service, from the next :meth:`restart` on; None: nobody says what adds up.
        self.registry: Any = None
        #: EMREX clients and data providers, as files; they count from the next :meth:`restart` on.
        self.clients_file: Path | None = None
        self.providers_file: Path | None = None
        self.restart()

    def restart(self) -> None:
        """Another process over the same database, files and keys."""
        sharing = Sharing.assemble(
            self.pool,
            self.keys,
            self.verifier,
            hub=HUB,
            public_url=self.url,
            state_dir=self.folder,
            certificates=None,
            development=True,
            clock=self.clock,
        )
        parts = Parts(
            store=self.store,
            sessions=self.sessions,
            keys=self.keys,
            openid=[self.openid],  # type: ignore[list-item]
            issuer=self.issuer,
            rights=None,
            holdings=Holdings(self.pool, self.keys, (), self.clock),
            registry=self.registry,
            clock=self.clock,
            public_url=self.url,
            session=timedelta(days=500),
            sharing=sharing,
            employers=Employers(self.pool, self.store),
            offers=Offers(self.pool),
            emrex=Emrex.assemble(
                self.pool,
                self.keys,
                hub=HUB,
                public_url=self.url,
                state_dir=self.folder,
                certificates=None,
                clients_file=self.clients_file,
                providers_file=self.providers_file,
                development=True,
                clock=self.clock,
            ),
        )
        self.app = application(*site(parts))

    async def learner(self, number: str = "") -> Learner:
        """A learner who is registered and logged in; with a national identity number the one who has it."""
        name = uuid4().hex
        lookup = self.keys.lookup(LearnerId(NORWEGIAN_NATIONAL_ID, number)) if number else name.encode()
        await self.store.register(lookup, f"{name}{'p' * 11}", self.clock.now())
        secret = await self.sessions.open(lookup, "id-porten", self.clock.now(), timedelta(days=500))
        return Learner(self, lookup, f"{name}{'p' * 11}", secret)

    def cookie(self, plain: str) -> str:
        """The name of a cookie of the portal's."""
        return f"__Host-{plain}" if self.url.startswith("https:") else plain


class Browser:
    """Keeps cookies; nobody is logged in."""

    def __init__(self, portal: Portal, **cookies: str) -> None:
        self.portal = portal
        self.cookies: dict[str, str] = cookies
        self.language = "nb"

    async def get(self, path: str) -> Answer:
        return self._kept(await call(self.portal.app, path, headers=self._headers()))

    async def post(self, path: str, form: Mapping[str, str] | list[tuple[str, str]]) -> Answer:
        body = urlencode(form).encode()
        return self._kept(await call(self.portal.app, path, form=body, headers=self._headers()))

    def _headers(self) -> dict[str, str]:
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": jar, "Accept-Language": self.language}

    def _kept(self, answer: Answer) -> Answer:
        for cookie in answer.cookies():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


class Learner(Browser):
    """A learner's browser, and her credentials."""

    def __init__(self, portal: Portal, lookup: bytes, pseudonym: str, secret: str) -> None:
        super().__init__(portal, **{portal.cookie("vitne_session"): secret})
        self.lookup = lookup
        self.pseudonym = pseudonym

    async def hold(self, title: str = "Klimaregnskap", **changes: Any) -> str:
        """Give her a credential; answers its handle."""
        id_ = uuid4()
        handle = f"{id_.hex}{'h' * 11}"
        achievement = sample_achievement(title=texts(nb=title))
        credential = sample_credential(id=UUID(str(id_)), achievement=achievement, **changes)
        prepared = sd_jwt_vc.prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
        artefact = prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))
        now, store = self.portal.clock.now(), self.portal.store
        async with self.portal.pool.acquire() as conn, conn.transaction():
            await store.want(conn, [Told(handle, self.pseudonym, achievement.kind, PROVIDER)], now)
        wanted = [one for one in await store.claim(now, 100) if one.handle == handle]
        await store.keep([Fetched(wanted[0], artefact, "valid")], [], now)
        return handle

    async def press(self, path: str, form: Mapping[str, str] | list[tuple[str, str]] | None = None) -> Answer:
        """Send a form of her own page."""
        token = _CSRF.search((await self.get("/me")).text)
        assert token is not None
        fields = list(form.items() if isinstance(form, Mapping) else form or [])
        return await self.post(path, [("csrf_token", html.unescape(token[1])), *fields])
