"""The portal's pages with one learner, parts of the test's own around them, and a registry that adds up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc
from fastapi import FastAPI

from services.portal.emrex.assembly import Emrex
from services.portal.emrex.clients import Clients
from services.portal.emrex.providers import DataProviders
from services.portal.sharing.assembly import Sharing
from services.portal.store import Kept, Registration
from services.portal.wallet.terms import Offer
from services.portal.web.application import application
from services.portal.web.learner import CHOICES_SHOWN
from services.portal.web.site import Parts, site
from tests.unit.accreditation_samples import uuid
from tests.unit.credential_samples import PROVIDER, texts
from tests.unit.test_portal_presentation import FETCHED_AT
from vitne.clock import ManualClock
from vitne.runtime.rules import check_rules
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2, qualification_pb2, registry_pb2, stacking_pb2

M1, M2, WHOLE = uuid(1), uuid(2), uuid(9)
AUTHORITY = "0184:29634750"
ELECTIVES = [uuid(100 + number) for number in range(CHOICES_SHOWN + 2)]


#: The cookie of a browser that is logged in.
LOGGED_IN = {"Cookie": "__Host-vitne_session=secret"}


class Sessions:
    """One learner is logged in."""

    async def whose(self, _secret: str, _now: Any) -> bytes:
        return b"learner"


class Store:
    """Her credentials."""

    def __init__(self, credentials: list[Kept], *, registered: bool = True) -> None:
        self._credentials = credentials
        self._registered = registered

    async def pseudonym(self, _lookup: bytes) -> str | None:
        return "pseudonym" if self._registered else None

    async def registration(self, _lookup: bytes) -> Registration | None:
        return Registration("pseudonym", None) if self._registered else None

    async def credentials(self, _lookup: bytes) -> list[Kept]:
        return self._credentials

    async def credential(self, _lookup: bytes, handle: str) -> Kept | None:
        return next((one for one in self._credentials if one.handle == handle), None)


class Registry:
    """The registry at the service boundary."""

    def __init__(self, answer: stacking_pb2.EvaluateStackingResponse | None) -> None:
        self._answer = answer
        self.asked: list[stacking_pb2.EvaluateStackingRequest] = []
        self.cases: list[str] = []

    async def EvaluateStacking(self, request: Any, *, timeout: float) -> Any:  # noqa: N802 - the contract's
        check_rules(request)
        assert timeout > 0
        self.asked.append(request)
        await asyncio.sleep(0)
        if self._answer is None:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "down")
        return self._answer

    async def GetAchievement(self, request: Any, *, timeout: float) -> Any:  # noqa: N802 - the contract's
        check_rules(request)
        assert timeout > 0
        await asyncio.sleep(0)
        information = credential_pb2.CatalogueInformation(wallet_transfer=True)
        achievement = credential_pb2.Achievement(id=request.id, provider=PROVIDER, catalogue=information)
        return registry_pb2.GetAchievementResponse(achievement=achievement)

    async def GetCase(self, request: Any, *, timeout: float) -> Any:  # noqa: N802 - the contract's
        check_rules(request)
        assert timeout > 0
        await asyncio.sleep(0)
        self.cases.append(request.accreditation_id)
        if self._answer is None:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "down")
        return registry_pb2.GetCaseResponse(case=registry_pb2.Case(authority=AUTHORITY))

    async def ListFacts(self, request: Any, *, timeout: float) -> Any:  # noqa: N802
        check_rules(request)
        assert (request.subject, timeout > 0) == (AUTHORITY, True)
        await asyncio.sleep(0)
        names = [texts(nb="Et gammelt navn"), texts(nb="Akkrediteringen <1>", en="The Accreditor <1>")]
        return registry_pb2.ListFactsResponse(
            facts=[facts_pb2.Fact(authority=facts_pb2.Authority(id=AUTHORITY, name=name)) for name in names]
        )


class NoOffers:
    """Nothing was taken over to a wallet."""

    async def of_learner(self, _lookup: bytes, _handle: str) -> list[Offer]:
        return []


class OpenId:
    """A provider that is only chosen: nobody logs in here."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def origins(self) -> list[str]:
        return []


def named(achievement: str, kind: str, title: str, **changes: Any) -> stacking_pb2.NamedAchievement:
    return stacking_pb2.NamedAchievement(id=achievement, version=1, kind=kind, title=texts(nb=title), **changes)


def answer() -> stacking_pb2.EvaluateStackingResponse:
    """An industry's qualification of a module that is there, one that is not, and electives."""

    def one(key: str, achievement: str) -> qualification_pb2.Requirement:
        return qualification_pb2.Requirement(key=key, achievement=qualification_pb2.AchievementRange(id=achievement))

    electives = qualification_pb2.NOf(
        count=2, requirements=[one(f"e{number}", elective) for number, elective in enumerate(ELECTIVES)]
    )
    parts = [
        one("m1", M1),
        one("m2", M2),
        qualification_pb2.Requirement(key="electives", n_of=electives),
    ]
    return stacking_pb2.EvaluateStackingResponse(
        answers=[
            stacking_pb2.StackingAnswer(
                qualification_id=uuid(50),
                version=1,
                awards=qualification_pb2.AchievementVersion(id=WHOLE, version=1),
                outcome=stacking_pb2.STACKING_OUTCOME_INCOMPLETE,
                percent=33,
                counted=[stacking_pb2.CountedCredential(reference="0", requirement="m1", by_recognition=True)],
                uncounted=[stacking_pb2.UncountedCredential(reference="1", reason="NOT_RECOGNISED")],
                missing=[
                    stacking_pb2.MissingRequirement(requirement="m2", have="0", need="1"),
                    stacking_pb2.MissingRequirement(
                        requirement="electives",
                        have="0",
                        need="2",
                        any_of=[f"e{number}" for number in range(len(ELECTIVES))],
                    ),
                ],
            )
        ],
        qualifications=[
            qualification_pb2.Qualification(
                id=uuid(50),
                version=1,
                requirement=qualification_pb2.Requirement(
                    key="all", all_of=qualification_pb2.AllOf(requirements=parts)
                ),
            )
        ],
        achievements=[
            named(WHOLE, "se.kvalifikationsbevis", "Drifttekniker",
                  level=credential_pb2.Level(framework="se.seqf", level="4")),
            named(M1, "se.mikromerit", "Turbin <1>"),
            named(M2, "no.fagskole.module", "Elektro"),
            *(named(one, "se.mikromerit", f"Valg {number}") for number, one in enumerate(ELECTIVES)),
        ],
    )  # fmt: skip


def learner_site(
    credentials: Sequence[Kept], registry: Registry | None, *, registered: bool = True, emrex: Emrex | None = None
) -> FastAPI:
    """The portal as an ASGI application; whoever has a session's cookie is the learner."""
    parts: dict[str, Any] = {
        "store": Store(list(credentials), registered=registered),
        "sessions": Sessions(),
        "keys": None,
        "openid": [OpenId("id-porten"), OpenId("feide")],
        "issuer": None,
        "rights": None,
        "holdings": None,
        "registry": registry,
        "clock": ManualClock(FETCHED_AT),
        "public_url": "https://portal.test",
        "session": timedelta(hours=1),
        # What is shared is in a database: tests/integration/portal_pages.py.
        "sharing": Sharing(None, None, None),  # type: ignore[arg-type]
        "employers": None,
        "offers": NoOffers(),
        # Nobody asks, and nobody is asked.
        "emrex": emrex or Emrex(Clients([]), DataProviders([]), None, None),  # type: ignore[arg-type]
    }
    return application(*site(Parts(**parts)))
