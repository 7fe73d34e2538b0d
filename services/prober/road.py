"""The road, once: what is asked, in which order, how long each step took, and which one failed.

A round leaves nothing behind: what it issued it revokes. Where it could not, the next
round does so first, with the same request ids, and issues nothing new before that is
done; so there is one credential at most, and that one expires by itself within two days.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol, TypeVar
from uuid import UUID

from services.prober.settings import ProberSettings
from vitne.clock import Clock
from vitne.credentials.status_list import INVALID, VALID
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unavailable, VitneError
from vitne.identifiers import NORWEGIAN_NATIONAL_ID
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2

#: Steps in their order, as metrics and logs name them.
STEPS: Final = (
    "clean_up",
    "registry",
    "hub",
    "issue",
    "gathered",
    "inclusion",
    "verify",
    "status",
    "revoke",
    "published",
    "told",
)
#: Seconds between two looks at what is not there yet: small beside the second that publishing may take.
LOOK_SECONDS: Final = 0.1

_T = TypeVar("_T")

_VALID: Final = ("valid", "valid_with_notes")
#: These say that no credential was issued; after any other error nobody knows.
_REFUSED: Final = (FailedPrecondition, InvalidArgument, NotFound, PermissionDenied)


class WorldProtocol(Protocol):
    """The public contracts, as :class:`~services.prober.world.World` has them."""

    async def read_registry(self) -> None: ...
    async def issue(self, request: issuer_pb2.IssueRequest) -> issuer_pb2.IssuedCredential: ...
    async def change_status(self, request: issuer_pb2.ChangeStatusRequest) -> None: ...
    async def prove_inclusion(self, credential: issuer_pb2.IssuedCredential) -> None: ...
    async def verdict(self, credential: issuer_pb2.IssuedCredential) -> tuple[str, str]: ...
    async def published_status(self, credential: issuer_pb2.IssuedCredential) -> int: ...
    async def listen(self) -> None: ...
    async def gathered_status(
        self, credential: issuer_pb2.IssuedCredential
    ) -> credential_pb2.Status.ValueType | None: ...
    async def stop_listening(self) -> None: ...


@dataclass(slots=True)
class Round:
    """How a round went.

    Attributes:
        seconds: of each step that was reached, the failed one included.
        failed: the step that failed; empty when none did.
        error: why.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    error: VitneError | None = None


@dataclass(slots=True)
class _Unfinished:
    """An issuance that has to be revoked, with the requests that may be repeated.

    Attributes:
        issue: what was asked for.
        revoke_id: request id of the revocation.
        credential: what was issued, once that is known: from then on no refusal says that there is none.
    """

    issue: issuer_pb2.IssueRequest
    revoke_id: str
    credential: issuer_pb2.IssuedCredential | None = None

    def revoke(self, credential: issuer_pb2.IssuedCredential) -> issuer_pb2.ChangeStatusRequest:
        return issuer_pb2.ChangeStatusRequest(
            request_id=self.revoke_id,
            credential_id=credential.id,
            change=ledger_pb2.STATUS_CHANGE_REVOKE,
            reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
        )


class Road:
    """Runs rounds, one at a time.

    Args:
        settings: the learner, the achievement, and what a step may take.
        world: what is asked.
        clock: tells and measures time.
        new_id: makes ids of requests.
    """

    def __init__(
        self, settings: ProberSettings, world: WorldProtocol, clock: Clock, new_id: Callable[[], UUID]
    ) -> None:
        self._settings = settings
        self._world = world
        self._clock = clock
        self._new_id = new_id
        self._unfinished: _Unfinished | None = None

    async def run(self) -> Round:
        """One round; what fails is in the answer."""
        done = Round()
        try:
            if self._unfinished is not None:
                await self._step(done, "clean_up", self._clean_up)
            await self._step(done, "registry", self._world.read_registry)
            try:
                if self._settings.hub is not None:
                    await self._step(done, "hub", self._world.listen)
                await self._through(done)
            finally:
                await self._world.stop_listening()
        except VitneError as error:
            done.error = error
            if self._unfinished is not None:
                with suppress(VitneError, TimeoutError):  # the next round tries again, and says so
                    async with asyncio.timeout(self._settings.step_seconds):
                        await self._clean_up()
        return done

    async def _through(self, done: Round) -> None:
        world = self._world
        credential = await self._step(done, "issue", self._issue)
        # At once: what is not there yet is waited for, and the time is that of a hub.
        await self._at_the_hub(done, "gathered", credential, credential_pb2.STATUS_VALID)
        await self._step(done, "inclusion", lambda: self._until(lambda: self._included(credential)))
        await self._step(done, "verify", lambda: self._until(lambda: self._is_valid(credential)))
        await self._step(done, "status", lambda: self._until(lambda: self._says(credential, VALID)))
        unfinished = self._unfinished
        assert unfinished is not None  # noqa: S101 - _issue made it
        await self._step(done, "revoke", lambda: world.change_status(unfinished.revoke(credential)))
        self._unfinished = None
        await self._step(done, "published", lambda: self._until(lambda: self._says(credential, INVALID)))
        await self._at_the_hub(done, "told", credential, credential_pb2.STATUS_REVOKED)

    async def _at_the_hub(
        self,
        done: Round,
        name: str,
        credential: issuer_pb2.IssuedCredential,
        wanted: credential_pb2.Status.ValueType,
    ) -> None:
        if self._settings.hub is not None:
            await self._step(done, name, lambda: self._until(lambda: self._is_gathered(credential, wanted)))

    async def _step(self, done: Round, name: str, act: Callable[[], Awaitable[_T]]) -> _T:
        started = self._clock.monotonic()
        done.failed = name
        try:
            async with asyncio.timeout(self._settings.step_seconds):
                answer = await act()
        except TimeoutError:
            raise Unavailable(
                "STEP_TIMED_OUT",
                f"the step {name} took longer than {self._settings.step_seconds:g} s",
                remedy="docs/operating/probing.md",
            ) from None
        finally:
            done.seconds[name] = self._clock.monotonic() - started
        done.failed = ""
        return answer

    async def _issue(self) -> issuer_pb2.IssuedCredential:
        today = self._clock.now().date()
        request = issuer_pb2.IssueRequest(
            request_id=str(self._new_id()),
            issuance=issuer_pb2.Issuance(
                learner=issuer_pb2.Learner(
                    scheme=NORWEGIAN_NATIONAL_ID,
                    value=self._settings.learner,
                    given_name="Syntetisk",
                    family_name="Prøve",
                ),
                achievement_id=self._settings.achievement,
                achievement_version=self._settings.achievement_version,
                awarded_on=today.isoformat(),
                # Should all else fail, it ends by itself.
                expires_on=(today + timedelta(days=2)).isoformat(),
                retention=credential_pb2.RETENTION_CLASS_ERASABLE,
            ),
        )
        self._unfinished = _Unfinished(request, str(self._new_id()))
        return await self._issued(self._unfinished)

    async def _issued(self, unfinished: _Unfinished) -> issuer_pb2.IssuedCredential:
        if unfinished.credential is None:
            try:
                unfinished.credential = await self._world.issue(unfinished.issue)
            except _REFUSED:
                self._unfinished = None
                raise
        return unfinished.credential

    async def _clean_up(self) -> None:
        unfinished = self._unfinished
        assert unfinished is not None  # noqa: S101 - whoever calls has looked
        try:
            credential = await self._issued(unfinished)
        except _REFUSED:
            return  # there is nothing to revoke
        await self._world.change_status(unfinished.revoke(credential))
        self._unfinished = None

    async def _until(self, look: Callable[[], Awaitable[VitneError | None]]) -> None:
        """Look until nothing is missing; shortly before the step's time is up, what is missing is the error."""
        started = self._clock.monotonic()
        while (missing := await look()) is not None:
            if self._clock.monotonic() - started + 2 * LOOK_SECONDS > self._settings.step_seconds:
                raise missing
            await self._clock.sleep(LOOK_SECONDS)

    async def _included(self, credential: issuer_pb2.IssuedCredential) -> VitneError | None:
        try:
            await self._world.prove_inclusion(credential)
        except NotFound as error:
            return error
        return None

    async def _is_valid(self, credential: issuer_pb2.IssuedCredential) -> VitneError | None:
        verdict, headline = await self._world.verdict(credential)
        return None if verdict in _VALID else FailedPrecondition("NOT_VERIFIED", f"{verdict}: {headline}")

    async def _says(self, credential: issuer_pb2.IssuedCredential, wanted: int) -> VitneError | None:
        found = await self._world.published_status(credential)
        if found == wanted:
            return None
        return FailedPrecondition("STATUS_NOT_PUBLISHED", f"the published list says {found}, not {wanted}")

    async def _is_gathered(
        self, credential: issuer_pb2.IssuedCredential, wanted: credential_pb2.Status.ValueType
    ) -> VitneError | None:
        found = await self._world.gathered_status(credential)
        if found == wanted:
            return None
        said = "nothing" if found is None else credential_pb2.Status.Name(found)
        return FailedPrecondition("HUB_NOT_TOLD", f"the hub was told {said}, not {credential_pb2.Status.Name(wanted)}")
