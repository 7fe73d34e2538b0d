"""The whole road, once: accredit, issue, refuse, aggregate, verify, revoke.

Everything goes through the public contracts: gRPC with access tokens, events, HTTP
pages. The job stops at the first expectation that does not hold.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from vitne.canonical import b64url, from_b64url
from vitne.clock import SystemClock
from vitne.dev.actors import Actors, Organisation
from vitne.dev.cases import AchievementCase, Cases, synthetic_learners
from vitne.dev.learner import LearnerBrowser
from vitne.dev.narrator import Narrator
from vitne.dev.observation import observe
from vitne.dev.stack import Stack
from vitne.errors import VitneError
from vitne.identifiers import UuidFactory
from vitne.inspection.installation import settle
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2, registry_pb2
from vitne_api.verifier.v1 import verifier_pb2

#: Learners of the batch, besides the one whom the demonstration follows.
BATCH: Final = 500
#: What the learner of the demonstration gets: five of UCL's, one of the fagskole's, one of the private provider's.
CREDENTIALS: Final = 7
#: Most seconds until something that follows from an event has to show.
PATIENCE: Final = 30.0
#: Seconds within which a change of status is promised to be published. A benchmark holds us to it, not this job: it
#: is to end well on a machine that does other things, too.
PROMISED: Final = 1.0
#: Seconds between two looks while waiting.
LOOK: Final = 0.01

_new_id = UuidFactory(SystemClock())


def new_id() -> str:
    """A fresh UUIDv7 as text."""
    return str(_new_id())


async def until(look: Callable[[], Awaitable[bool]], what: str, narrator: Narrator, every: float = LOOK) -> float:
    """Wait until ``look`` answers true; the seconds it took. Fails the job after :data:`PATIENCE`."""
    started = time.monotonic()
    while not await look():
        if time.monotonic() - started > PATIENCE:
            narrator.fail(f"waited {PATIENCE:.0f} s in vain for: {what}")
        await asyncio.sleep(every)
    return time.monotonic() - started


class Demo:
    """The job. Its parts are called in order (:mod:`vitne.dev.story`), and by ``make up`` only some of them."""

    browser: LearnerBrowser

    def __init__(self, stack: Stack, actors: Actors, narrator: Narrator, exits: AsyncExitStack) -> None:
        self.exits = exits
        self.stack = stack
        self.actors = actors
        self.narrator = narrator
        self.cases: Cases = stack.cases
        self.learner, self.stranger, *self.others = synthetic_learners(BATCH + 2)
        #: Ids of published achievements by their names in the data file.
        self.published: dict[str, str] = {}
        #: The learner's credentials by the same names.
        self.issued: dict[str, issuer_pb2.IssuedCredential] = {}
        self.accreditations: dict[str, facts_pb2.Accreditation] = {}
        #: Credentials that UCL issued to her after its accreditation was withdrawn, before the issuer had heard of it.
        self.meanwhile = 0

    async def fill(self) -> None:
        """What the pages of a running stack should show."""
        await self.accredit()
        await self.issue()
        await self._issue_case("kompetanseattest")
        async with self.stack.browser() as browser:
            await browser.log_in(self.learner.value)
            await browser.register()

    def fresh_id(self) -> str:
        """A UUID for a request."""
        return new_id()

    async def wait(self, look: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until ``look`` answers true, as :func:`until`."""
        await until(look, what, self.narrator)

    # -- 1 ----------------------------------------------------------------------------

    async def accredit(self) -> None:
        """Set up authorities, providers, keys and accreditations."""
        self.narrator.step("Authorities, providers and what each may issue")
        operator = self.actors.organisation(self.cases.operator)
        for authority in self.cases.authorities:
            await operator.registry.RegisterAuthority(
                registry_pb2.RegisterAuthorityRequest(request_id=new_id(), authority=authority)
            )
            if self.stack.release is None:  # the release before has no keys for accreditations
                await self._give_authority_key(self.actors.organisation(authority.id))
            self.narrator.detail(
                f"authority  {_name(authority.name)}, for {', '.join(authority.remit.accreditation_kinds)}"
            )
        await self._register_service_keys(operator)
        for provider in self.cases.providers.values():
            await self.actors.organisation(provider.authority).registry.RegisterProvider(
                registry_pb2.RegisterProviderRequest(request_id=new_id(), provider=provider.message)
            )
            await self._give_key(self.actors.organisation(provider.message.id))
        for case in self.cases.accreditations:
            provider = self.cases.providers[case.provider]
            proposing, _ = self.actors.officers(case.authority)
            answer = await proposing.registry.GrantAccreditation(
                registry_pb2.GrantAccreditationRequest(
                    request_id=new_id(),
                    provider=provider.message.id,
                    kind=case.kind,
                    scope=case.scope,
                    ground=case.ground,
                )
            )
            granted = await self.actors.confirmed(answer.fact, new_id())
            self.accreditations[case.provider] = granted.accreditation
            self.narrator.detail(
                f"accredited {_name(provider.message.name)}: {case.kind} for {', '.join(case.scope.credential_kinds)}"
                f" ({case.standing.replace('_', ' ')})"
            )
        nobody = self.cases.providers["unaccredited"].message
        self.narrator.say(
            f"{len(self.cases.authorities)} authorities, {len(self.cases.accreditations)} accreditations;"
            f" nobody accredited {_name(nobody.name)}"
        )

    async def _register_service_keys(self, operator: Organisation) -> None:
        for key in await self.stack.service_keys():
            await operator.registry.RegisterKey(
                registry_pb2.RegisterKeyRequest(
                    request_id=new_id(),
                    key=facts_pb2.Key(
                        owner=self.cases.operator,
                        use=facts_pb2.KeyUse.Value(key.use),
                        public_jwk=json.dumps(key.public_jwk),
                        valid_from=_now(),
                    ),
                )
            )

    async def _give_authority_key(self, authority: Organisation) -> None:
        request = registry_pb2.CreateAccreditationKeyRequest(request_id=new_id())
        made = await authority.registry.CreateAccreditationKey(request)
        await self._enter_key(authority, facts_pb2.KEY_USE_ACCREDITATION, made.public_jwk)

    async def _give_key(self, provider: Organisation) -> None:
        # Credentials are signed with the one; badges and documents have proofs of the other.
        for algorithm in (issuer_pb2.SIGNING_ALGORITHM_ES256, issuer_pb2.SIGNING_ALGORITHM_ED25519):
            asked = issuer_pb2.CreateSigningKeyRequest(request_id=new_id(), algorithm=algorithm)
            made = await provider.issuer.CreateSigningKey(asked)
            await self._enter_key(provider, facts_pb2.KEY_USE_CREDENTIAL, made.public_jwk)

    async def _enter_key(self, owner: Organisation, use: facts_pb2.KeyUse.ValueType, public_jwk: str) -> None:
        key = facts_pb2.Key(owner=owner.id, use=use, public_jwk=public_jwk, valid_from=_now())
        await owner.registry.RegisterKey(registry_pb2.RegisterKeyRequest(request_id=new_id(), key=key))

    # -- 2 ----------------------------------------------------------------------------

    async def issue(self) -> None:
        """Publish the achievements; UCL and the fagskole issue theirs to the learner."""
        self.narrator.step("Klimaregnskaber in five parts and a module of Eldrehelse, issued to one learner")
        await self.publish()
        for key, case in self.cases.achievements.items():
            if case.provider in ("ucl", "fvt"):
                await self._issue_case(key)
        points = sum(
            Decimal(self.cases.achievements[key].message.workload.points) for key in self.issued if "klima" in key
        )
        self.narrator.expect(
            points == 5, f"Klimaregnskaber: five micro-credentials add up to {points} ECTS; with Eldrehelse she has six"
        )
        await self.issue_when_known(self.stranger, self.cases.achievements["klimaregnskaber-1"])
        self.narrator.say("another learner gets the first of the five, too; she will not register with the portal")

    async def publish(self) -> None:
        """Publish the achievements."""
        for case in self.cases.achievements.values():
            await self.publish_case(case)

    async def _issue_case(self, key: str) -> None:
        case = self.cases.achievements[key]
        self.issued[key] = await self.issue_when_known(self.learner, case)
        provider = self.cases.providers[case.provider].message
        self.narrator.detail(f"{_name(provider.name)}: {_name(case.message.title)}, {_size(case.message.workload)}")

    async def publish_case(self, case: AchievementCase) -> None:
        """Publish one achievement, under a fresh id."""
        achievement = credential_pb2.Achievement()
        achievement.CopyFrom(case.message)
        achievement.id = new_id()
        provider = self.actors.organisation(achievement.provider)
        await provider.registry.PublishAchievement(
            registry_pb2.PublishAchievementRequest(request_id=new_id(), achievement=achievement)
        )
        self.published[case.key] = achievement.id

    def issuance(self, learner: issuer_pb2.Learner, case: AchievementCase) -> issuer_pb2.Issuance:
        """What is to be issued to a learner for a published achievement."""
        return issuer_pb2.Issuance(
            learner=learner,
            achievement_id=self.published[case.key],
            achievement_version=1,
            awarded_on=datetime.now(UTC).date().isoformat(),
            grade=_PASSED[case.message.provider.partition(":")[0]],
            retention=case.retention,
        )

    async def issue_when_known(
        self, learner: issuer_pb2.Learner, case: AchievementCase, **more: Any
    ) -> issuer_pb2.IssuedCredential:
        """Issue to a learner; what the issuer does not know yet is waited for. ``more``: further fields."""
        provider = self.actors.organisation(case.message.provider)
        request = issuer_pb2.IssueRequest(request_id=new_id(), issuance=self.issuance(learner, case))
        request.issuance.MergeFrom(issuer_pb2.Issuance(**more))
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return (await provider.issue(request)).credential
            except VitneError as error:
                # The issuer decides on its own projection of the registry: what was recorded a moment ago
                # arrives there a moment later. Anything else is an answer.
                if error.reason not in _NOT_YET_KNOWN or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    # -- 3 ----------------------------------------------------------------------------

    async def issue_batch(self) -> None:
        """A batch for learners who are not registered anywhere, answered item by item."""
        self.narrator.step(f"A batch of {BATCH} other learners, answered item by item")
        case = self.cases.achievements["minikvalifikasjon"]
        provider = self.actors.organisation(case.message.provider)
        await self.issue_when_known(self.stranger, case)
        self.narrator.say("first one alone, to the other learner")
        items = [
            issuer_pb2.BatchItem(item_id=f"row-{row}", issuance=self.issuance(learner, case))
            for row, learner in enumerate(self.others, start=1)
        ]
        items[6].issuance.awarded_on = "2999-01-01"
        request_id = new_id()
        started = time.monotonic()
        answers: dict[str, issuer_pb2.BatchResult] = {}
        async for result in provider.issue_batch(request_id, items):
            answers[result.item_id] = result
            self.narrator.progress(f"{len(answers)} of {BATCH} answered")
        seconds = time.monotonic() - started
        refused = [item for item, result in answers.items() if result.WhichOneof("outcome") == "error"]
        self.narrator.expect(len(answers) == BATCH, f"{BATCH} answers, one an item, in {seconds:.2f} s")
        self.narrator.expect(
            refused == ["row-7"], f"one bad item (an award date in 2999) fails alone: {BATCH - 1} are issued"
        )
        again = {result.item_id: result async for result in provider.issue_batch(request_id, items)}
        self.narrator.expect(
            all(again[item].credential.id == result.credential.id for item, result in answers.items()),
            "the same batch sent again is answered with the same credentials",
            detail=True,
        )

    # -- 4 ----------------------------------------------------------------------------

    async def refuse(self) -> None:
        """Four refusals, each with its reason and the rule that it rests on."""
        self.narrator.step("Four refusals")
        for refusal in self.cases.refusals:
            case = refusal.achievement
            await self.publish_case(case)
            try:
                await self.issue_when_known(self.learner, case)
            except VitneError as error:
                self.narrator.expect(error.reason == refusal.reason, f"{refusal.title}: {error.reason}")
                self.narrator.detail(error.message, under=True)
                self.narrator.detail(f"rule: {error.rule}", under=True)
                if basis := error.metadata.get("basis"):
                    standing = error.metadata.get("standing", "?").replace("_", " ")
                    self.narrator.detail(f"{standing}, as described in {basis}", under=True)
            else:
                self.narrator.fail(f"{refusal.title} was issued")

    # -- 5 ----------------------------------------------------------------------------

    async def aggregate(self) -> None:
        """The learner registers with the portal; it shows her credentials, gathered from events."""
        self.narrator.step("The portal gathers the learner's credentials from events")
        browser = self.browser = await self.exits.enter_async_context(self.stack.browser())
        await browser.log_in(self.learner.value)
        nothing = await browser.credentials() == []
        self.narrator.expect(nothing, "before she registers, the portal shows nothing", detail=True)
        await browser.register()
        seconds = await until(self._portal_shows(CREDENTIALS - 1), "the backfill in the portal", self.narrator)
        self.narrator.expect(
            True, f"backfill: her six earlier credentials are shown {seconds:.2f} s after she registered"
        )
        await self._issue_case("kompetanseattest")
        seconds = await until(self._portal_shows(CREDENTIALS), "the live event in the portal", self.narrator)
        self.narrator.expect(
            True, f"live: her seventh, a kompetanseattest of a course provider's, {seconds:.2f} s after it was issued"
        )
        shown = await browser.credentials()
        for entry in shown:
            line = f"{entry['provider_name']:<42.42} {entry['title']:<38.38} {entry['size']}"
            self.narrator.detail(line, under=True)
        institutions, countries = ({entry[of] for entry in shown} for of in ("provider", "country"))
        self.narrator.expect(
            (len(shown), len(institutions), len(countries)) == (7, 3, 2),
            f"{len(shown)} credentials from {len(institutions)} institutions in {len(countries)} countries",
        )
        records = await self.stack.read_hub_topic()
        self.narrator.expect(
            len({record.key for record in records}) == 1 and len(records) == CREDENTIALS,
            f"the hub's topic has {len(records)} notices, all for her: of the other learner, and of the {BATCH} of the"
            " batch, who did not register, there is nothing",
        )
        async with self.stack.browser() as other:
            await other.log_in(self.stranger.value)
            nothing = await other.credentials() == []
            self.narrator.expect(nothing, "a learner who did not register finds nothing there", detail=True)

    def _portal_shows(self, count: int) -> Callable[[], Awaitable[bool]]:
        async def look() -> bool:
            shown = await self.browser.credentials()
            return len(shown) == count and all(entry["state"] == "fetched" for entry in shown)

        return look

    # -- 6 ----------------------------------------------------------------------------

    async def verify(self) -> None:
        """A verifier that knows nothing but public endpoints checks one credential."""
        self.narrator.step("A verifier that knows only public endpoints checks one of them")
        credential = self.issued["klimaregnskaber-1"]

        async def integrated() -> bool:
            answer = await self.actors.verifier.Verify(verifier_pb2.VerifyRequest(credential=credential.artefact))
            passed = {check.name for check in answer.checks if check.outcome == credential_pb2.Check.OUTCOME_PASSED}
            return {"log_inclusion", "registry_logged"} <= passed

        await until(integrated, "the leaves of credential, accreditation and key in the log", self.narrator, every=0.1)
        code, output = await self.stack.verify_publicly(credential.artefact)
        headline, *checks = output.splitlines()
        self.narrator.expect(code == 0, headline)
        self.narrator.detail("\n".join(checks))
        broken = _with_another_title(credential.artefact)
        code, output = await self.stack.verify_publicly(broken)
        self.narrator.expect(code == 1, f"tampered with: {output.splitlines()[0]}")
        code, output = await self.stack.verify_bundle(credential.artefact)
        self.narrator.expect(code == 0, f"authority, provider, credential from one file: {output.splitlines()[0]}")

    async def _verdict(self, key: str) -> verifier_pb2.VerifyResponse:
        credential = self.issued[key]
        return await self.actors.verifier.Verify(verifier_pb2.VerifyRequest(credential=credential.artefact))

    # -- 7 ----------------------------------------------------------------------------

    async def revoke_and_suspend(self) -> None:
        """Revoke one, suspend and reinstate another; how long until everybody can see it."""
        self.narrator.step("One credential is revoked, one suspended and reinstated")
        await self._change(
            "klimaregnskaber-2", ledger_pb2.STATUS_CHANGE_REVOKE, ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR
        )
        await self._change("eldrehelse-modul", ledger_pb2.STATUS_CHANGE_SUSPEND, ledger_pb2.STATUS_REASON_UNDER_REVIEW)
        await self._change(
            "eldrehelse-modul", ledger_pb2.STATUS_CHANGE_REINSTATE, ledger_pb2.STATUS_REASON_REVIEW_ENDED
        )
        try:
            await self._change(
                "klimaregnskaber-2", ledger_pb2.STATUS_CHANGE_REINSTATE, ledger_pb2.STATUS_REASON_REVIEW_ENDED
            )
        except VitneError as error:
            self.narrator.expect(
                error.reason == "STATUS_FINAL", f"reinstating the revoked one is refused: {error.reason}"
            )
            self.narrator.detail(error.message, under=True)
            self.narrator.detail(f"rule: {error.rule}", under=True)
        else:
            self.narrator.fail("a revoked credential was reinstated")

    async def _change(
        self, key: str, change: ledger_pb2.StatusChange.ValueType, reason: ledger_pb2.StatusReason.ValueType
    ) -> None:
        credential = self.issued[key]
        provider = self.actors.organisation(credential.provider)
        answer = await provider.change_status(
            issuer_pb2.ChangeStatusRequest(
                request_id=new_id(), credential_id=credential.id, change=change, reason=reason
            )
        )
        committed = time.monotonic()
        word = _DONE[change]
        wanted = credential_pb2.Status.Name(answer.status).removeprefix("STATUS_").lower()

        async def published() -> bool:
            return await self.stack.published_status(credential.status_reference) == answer.status

        async def portal_says_so() -> bool:
            shown = await self.browser.credentials()
            return any(entry["id"] == credential.id and entry["status"] == wanted for entry in shown)

        async def seen_at(look: Callable[[], Awaitable[bool]], what: str) -> float:
            await until(look, what, self.narrator)
            return time.monotonic() - committed

        in_list, in_portal = await asyncio.gather(
            seen_at(published, "the status in the published list"), seen_at(portal_says_so, "the status in the portal")
        )
        self.narrator.expect(
            True,
            f"{_name(self.cases.achievements[key].message.title)}: {word}; the published, signed list said so after"
            f" {in_list * 1000:.0f} ms,"
            f" the portal after {in_portal * 1000:.0f} ms",
        )
        if in_list > PROMISED:
            self.narrator.say(
                f"that is more than the {PROMISED:.0f} s that is promised: is this machine busy?", under=True
            )
        verdict = await self._verdict_within(key, wanted)
        self.narrator.detail(f"verifier: {verdict}", under=True)

    async def _verdict_within(self, key: str, wanted: str) -> str:
        """The verifier's line once its cached list (at most ``ttl`` old) shows the status."""
        headline = ""

        async def look() -> bool:
            nonlocal headline
            answer = await self._verdict(key)
            headline = answer.headline
            return verifier_pb2.Verdict.Name(answer.verdict) in _VERDICTS[wanted]

        await until(look, f"the verdict {wanted}", self.narrator, every=0.1)
        return headline

    # -- 9 ----------------------------------------------------------------------------

    async def withdraw_accreditation(self) -> None:
        """UCL loses its accreditation from now on."""
        self.narrator.step("UCL's accreditation is withdrawn from now on")
        proposal = await self._propose_withdrawal("Demonstration: withdrawn for the time to come.")
        self.accreditations["ucl"] = (await self.actors.confirmed(proposal, new_id())).accreditation
        case = self.cases.achievements["klimaregnskaber-1"]
        reason = ""

        async def refused() -> bool:
            nonlocal reason
            try:
                await self.issue_when_known(self.learner, case)
            except VitneError as error:
                reason = error.reason
                return True
            self.meanwhile += 1
            return False

        seconds = await until(refused, "the refusal of UCL's next issuance", self.narrator)
        self.narrator.expect(
            reason == "ACCREDITATION_WITHDRAWN",
            f"the issuer refuses its issuances {seconds * 1000:.0f} ms after the decision: {reason}",
        )
        if self.meanwhile:
            self.narrator.say(f"before it had heard, it issued {self.meanwhile} more to her, counted below", under=True)
        answer = await self._verdict_becomes("klimaregnskaber-1", verifier_pb2.VERDICT_VALID_WITH_NOTES)
        noted = [check.detail for check in answer.checks if check.outcome == credential_pb2.Check.OUTCOME_NOTE]
        self.narrator.expect(bool(noted), f"what it issued before is valid, with a note: {'; '.join(noted)}")

    async def _verdict_becomes(self, key: str, wanted: verifier_pb2.Verdict.ValueType) -> verifier_pb2.VerifyResponse:
        """The verifier's answer once it knows what the registry said a moment ago."""
        answers: list[verifier_pb2.VerifyResponse] = []

        async def look() -> bool:
            answers[:] = [await self._verdict(key)]
            return answers[0].verdict == wanted

        await until(look, f"the verdict {verifier_pb2.Verdict.Name(wanted)}", self.narrator, every=0.1)
        return answers[0]

    async def _propose_withdrawal(self, ground: str, effective_from: Timestamp | None = None) -> facts_pb2.Fact:
        """One officer's proposal about UCL's accreditation."""
        accreditation = self.accreditations["ucl"]
        officer, _ = self.actors.officers(accreditation.authority)
        answer = await officer.registry.WithdrawAccreditation(
            registry_pb2.WithdrawAccreditationRequest(
                request_id=new_id(),
                accreditation_id=accreditation.id,
                base_revision=accreditation.revision,
                effective_from=effective_from,
                ground=ground,
            )
        )
        return answer.fact

    # -- 10 ---------------------------------------------------------------------------

    async def withdraw_backwards(self) -> None:
        """What follows is shown first; two officers decide; what no longer counts is flagged, then revoked by order."""
        self.narrator.step("Then backwards: shown before, decided by two officers, flagged, revoked in one operation")
        accreditation = self.accreditations["ucl"]
        one, other = self.actors.officers(accreditation.authority)
        preview = await one.issuer.PreviewEffects(
            issuer_pb2.PreviewEffectsRequest(
                accreditation_id=accreditation.id,
                state=facts_pb2.ACCREDITATION_STATE_WITHDRAWN,
                effective_from=accreditation.valid_from,
            )
        )
        ucl = self.actors.organisation(accreditation.provider)
        issued = (await ucl.issuer.ListCredentials(issuer_pb2.ListCredentialsRequest())).credentials
        self.narrator.expect(preview.credentials == len(issued), f"before: {preview.summary}")
        hers = sum(one.provider == accreditation.provider for one in self.issued.values())
        parts = [f"her first {hers}", f"{len(issued) - hers - self.meanwhile} of the other learner's"]
        parts += [f"{self.meanwhile} from before the issuer had heard"] * bool(self.meanwhile)
        self.narrator.say(f"these are {', '.join(parts)}", under=True)
        proposal = await self._propose_withdrawal("Demonstration: granted in error.", accreditation.valid_from)
        try:
            await one.confirm(proposal, new_id())
        except VitneError as error:
            self.narrator.expect(
                error.reason == "OWN_PROPOSAL", f"an officer can't confirm her own proposal: {error.reason}"
            )
        else:
            self.narrator.fail("an officer confirmed a proposal of their own")
        withdrawn = self.accreditations["ucl"] = (await other.confirm(proposal, new_id())).accreditation
        flags: list[issuer_pb2.CredentialFlag] = []

        async def flagged() -> bool:
            answer = await one.issuer.ListAccreditationFlags(issuer_pb2.ListAccreditationFlagsRequest())
            flags[:] = [flag for flag in answer.flags if flag.subject_revision == withdrawn.revision]
            return len(flags) == preview.credentials

        await until(flagged, "the flags", self.narrator)
        self.narrator.expect(
            True, f"another officer confirms; {len(flags)} credentials are flagged, and nothing else happens to them"
        )
        ordered = await one.registry.OrderRevocation(
            registry_pb2.OrderRevocationRequest(
                request_id=new_id(),
                accreditation_id=withdrawn.id,
                base_revision=withdrawn.revision,
                ground="Demonstration: they shall not be used.",
            )
        )
        order = await other.confirm(ordered.fact, new_id())
        summary = await self._revoke_flagged(one, order)
        self.narrator.expect(
            summary.revoked + summary.revoked_before == len(flags) and not summary.unfinished,
            f"on the officers' order {summary.revoked} are revoked; {summary.revoked_before} was revoked above",
        )
        again = await self._revoke_flagged(one, order)
        self.narrator.expect(again == summary, "the operation resumed answers the same", detail=True)
        answer = await self._verdict_becomes("klimaregnskaber-1", verifier_pb2.VERDICT_INVALID)
        self.narrator.expect(
            "as known at issuance" in answer.headline,
            "the verifier says both: rightfully issued as known then, and that it no longer counts",
        )

    async def _revoke_flagged(self, officer: Organisation, order: facts_pb2.Fact) -> issuer_pb2.RevocationSummary:
        """Carry an order out, once the issuer knows of it."""
        summary = issuer_pb2.RevocationSummary()

        async def carried_out() -> bool:
            try:
                async for answer in officer.revoke_flagged(order):
                    summary.CopyFrom(answer.summary)
            except VitneError as error:
                if error.reason != "REVOCATION_NOT_ORDERED":
                    raise
                return False
            return True

        await until(carried_out, "the order at the issuer", self.narrator)
        return summary

    # -- 11 ---------------------------------------------------------------------------

    async def show_outsiders(self) -> None:
        """What somebody can check who trusts neither us nor the network; a stack without witnesses has none of it."""
        if not self.stack.witnesses:
            return
        self.narrator.step("What can be checked without trusting us: the log, its witnesses, a credential years later")
        *found, agree = (await self.stack.audit_publicly()).splitlines()
        for line in found:
            self.narrator.detail(f"vitne-audit   {line}")
        self.narrator.say(f"vitne-audit   {agree}")
        file = self.stack.folder / "bundle.zip"
        await self.stack.collect_bundle(self.issued["eldrehelse-modul"].artefact, file)
        told, isolated = await self.stack.verify_offline(file)
        headline, *_, instant = told.splitlines()
        where = "where there is no network" if isolated else "nothing fetched"
        self.narrator.say(f"vitne-verify  one file of {file.stat().st_size} bytes, {where}: {headline}")
        self.narrator.detail(
            "it ran in a network namespace of its own, in which even loopback is down"
            if isolated
            else "this machine permits no namespace without a network to run it in"
        )
        self.narrator.expect("seen by the policy's witnesses" in instant, f"the file proves it {instant}")

    # -- 12 ---------------------------------------------------------------------------

    async def audit(self) -> None:
        """The checker of the fault harness, over all that happened."""
        self.narrator.step("What its operator can check, too: all databases, topics and lists against the log")
        found = await settle(lambda: observe(self.stack), PATIENCE, SystemClock())
        if found.world is None or found.disagreements:
            self.narrator.fail(f"checker: {found.disagreements[0]} ({len(found.disagreements)} disagreements)")
        credentials, leaves = len(found.world.issuer.credentials), len(found.world.ledger.log.leaves)
        self.narrator.expect(
            True,
            f"issuer, log, lists, topics and portal agree on {credentials} credentials and {leaves} leaves",
        )
        issued = Counter(each.provider for each in found.world.issuer.credentials)
        names = {each.message.id: _name(each.message.name) for each in self.cases.providers.values()}
        by_provider = ", ".join(f"{count} by {names[provider]}" for provider, count in issued.most_common())
        self.narrator.say(f"the credentials were issued {by_provider}", under=True)
        self.narrator.say(
            f"the leaves are one for each of them, and {leaves - credentials} for keys, accreditations,"
            " changes of status and published lists",
            under=True,
        )


#: Reasons that pass by themselves, within moments of a change in the registry.
_NOT_YET_KNOWN: Final = {
    "NO_PROVIDER",
    "NO_ACHIEVEMENT",
    "NO_SIGNING_KEY",
    "REGISTRY_STALE",
    "STATUS_INDEXES_EXHAUSTED",
}
#: What a passed result is called, by the register of organisations.
_PASSED: Final = {"0192": "Bestått", "0184": "Bestået", "0007": "Godkänd"}
#: What a change has done.
_DONE: Final = {
    ledger_pb2.STATUS_CHANGE_REVOKE: "revoked",
    ledger_pb2.STATUS_CHANGE_SUSPEND: "suspended",
    ledger_pb2.STATUS_CHANGE_REINSTATE: "reinstated",
}
#: Verdicts that show a status.
_VERDICTS: Final = {
    "revoked": {"VERDICT_REVOKED"},
    "suspended": {"VERDICT_SUSPENDED"},
    "valid": {"VERDICT_VALID", "VERDICT_VALID_WITH_NOTES"},
}


def _with_another_title(artefact: str) -> str:
    """The credential with a word of its title changed, as somebody would who wants to have more than she got."""
    token, tilde, disclosures = artefact.partition("~")
    header, payload, signature = token.split(".")
    forged = from_b64url(payload).replace(b"del 1 af 5", b"del 1-5 af")
    return f"{header}.{b64url(forged)}.{signature}{tilde}{disclosures}"


def _now() -> Timestamp:
    now = Timestamp()
    now.FromDatetime(SystemClock().now())
    return now


def _name(texts: Iterable[credential_pb2.LocalisedText]) -> str:
    return next(iter(texts)).text


def _size(workload: credential_pb2.Workload) -> str:
    return f"{workload.points} {workload.unit.rsplit('.', 1)[-1]}" if workload.points else f"{workload.hours} hours"
