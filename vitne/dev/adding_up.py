"""The demonstration's second act: what small units add up to, what is recognised, and a part that is revoked."""

from __future__ import annotations

from typing import Any, Final

from vitne.dev.cases import AchievementCase
from vitne.dev.demo import Demo
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import qualification_pb2, registry_pb2, stacking_pb2

#: Mikromeriter of Skellefteå Kraft's qualification: it needs the whole set.
SET: Final = 24


class AddingUp:
    """The act. It follows the first one: the learner has her credentials, and is registered with the portal.

    Args:
        demo: whose actors, learner and published achievements it goes on with.
    """

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._narrator = demo.narrator

    async def run(self) -> None:
        """All of it."""
        self._narrator.step("What small units add up to")
        await self._whole_set()
        await self._education()

    async def _whole_set(self) -> None:
        """Skellefteå Kraft: all 24, then the certificate; one of them is revoked, and the certificate is flagged."""
        demo = self._demo
        merits = [
            await self._publish("kompetanseattest", "skelleftea-kraft", f"Drifttekniker, mikromerit {number} av {SET}",
                                kind="se.mikromerit", part_of="kraft.vattenkraft")
            for number in range(1, SET + 1)
        ]  # fmt: skip
        certificate = await self._publish(
            "kompetanseattest", "skelleftea-kraft", "Drifttekniker i beredskap, vattenkraft",
            kind="se.kvalifikationsbevis", part_of="kraft.vattenkraft",
        )  # fmt: skip
        everything = _all_of("set", [_one(f"m{number}", self._id(case)) for number, case in enumerate(merits, start=1)])
        await self._qualification(certificate, everything)
        issued = [await demo.issue_when_known(demo.learner, case) for case in merits]
        found = await self._evaluate(certificate, [_held(one) for one in issued[1:]])
        self._narrator.expect(
            (found.outcome, len(found.missing)) == (stacking_pb2.STACKING_OUTCOME_INCOMPLETE, 1),
            f"Skellefteå Kraft: {SET - 1} of {SET} mikromeriter are {found.percent} %,"
            " and its certificate needs them all",
        )
        found = await self._evaluate(certificate, [_held(one) for one in issued])
        self._narrator.expect(
            found.outcome == stacking_pb2.STACKING_OUTCOME_COMPLETE,
            f"all {SET} of them are complete, and the certificate is issued",
            detail=True,
        )
        parts = [
            issuer_pb2.CountedPart(
                digest=one.digest,
                status_list=one.status_reference.list,
                status_index=one.status_reference.index,
            )
            for one in issued
        ]
        whole = await demo.issue_when_known(demo.learner, certificate, parts=parts)
        await self._revoke_part(whole, issued[6])

    async def _revoke_part(self, whole: issuer_pb2.IssuedCredential, part: issuer_pb2.IssuedCredential) -> None:
        kraft = self._demo.actors.organisation(whole.provider)
        await kraft.change_status(
            issuer_pb2.ChangeStatusRequest(
                request_id=self._demo.fresh_id(),
                credential_id=part.id,
                change=ledger_pb2.STATUS_CHANGE_REVOKE,
                reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
            )
        )
        flags: list[issuer_pb2.CredentialFlag] = []

        async def flagged() -> bool:
            flags[:] = (await kraft.issuer.ListFlags(issuer_pb2.ListFlagsRequest())).flags
            return bool(flags)

        await self._demo.wait(flagged, "the flag of the certificate")
        flag = flags[0]
        self._narrator.expect(
            (flag.credential_id, flag.status) == (whole.id, credential_pb2.STATUS_VALID)
            and [one.part.digest for one in flag.revoked_parts] == [part.digest],
            f"then mikromerit 7 is revoked: the certificate stands, and is flagged to its issuer, to look at by "
            f"{flag.answer_by.ToDatetime():%Y-%m-%d}",
        )

    async def _education(self) -> None:
        """Eldrehelse: three mandatory modules, three electives; a kompetanseattest counts once it is recognised."""
        demo = self._demo
        module, attest = demo.issued["eldrehelse-modul"], demo.issued["kompetanseattest"]
        modules = [
            await self._publish("eldrehelse-modul", "fvt", f"Eldrehelse, {name}")
            for name in ("modul 2", "modul 3", "valgmodul 1", "valgmodul 2", "valgmodul 3", "valgmodul 4")
        ]
        ids = [self._id(case) for case in modules]
        whole = await self._publish(
            "eldrehelse-modul", "fvt", "Eldrehelse",
            kind="no.vitnemal",
            level=credential_pb2.Level(framework="no.nkr", level="5.1"),
            workload=credential_pb2.Workload(unit="no.fagskolepoeng", points="60"),
        )  # fmt: skip
        electives = [_one(f"v{number}", one) for number, one in enumerate(ids[2:], start=1)]
        mandatory = [_one("m1", module.achievement_id), _one("m2", ids[0]), _one("m3", ids[1])]
        asked = _n_of("electives", 3, [*electives, _one("attest", attest.achievement_id)])
        await self._qualification(whole, _all_of("eldrehelse", [*mandatory, asked]))
        found = await self._evaluate(whole, [_held(module), _held(attest)])
        self._narrator.expect(
            [one.reason for one in found.uncounted] == ["NOT_RECOGNISED"],
            "Eldrehelse has four parts, three modules and a set of three electives: her one module is"
            f" {found.percent} %, and her kompetanseattest does not count: NOT_RECOGNISED",
        )
        assessed = await self._publish(
            "eldrehelse-modul", "fvt", "Realkompetansevurdering, Eldrehelse",
            kind="no.realkompetansevurdering",
            assessment=credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING,
        )  # fmt: skip
        recognised = await demo.issue_when_known(
            demo.learner,
            assessed,
            recognition=credential_pb2.Recognition(
                purpose=credential_pb2.RECOGNITION_PURPOSE_EXEMPTION,
                methods=[credential_pb2.RECOGNITION_METHOD_DOCUMENTS, credential_pb2.RECOGNITION_METHOD_INTERVIEW],
                evidence=[attest.digest],
                assessor="Fagskolens klagenemnd for realkompetanse",
                achievement_id=ids[2],
                achievement_version=1,
            ),
        )
        self._narrator.detail(f"rule of the recognition: {recognised.decision.rule}", under=True)
        shown: list[dict[str, Any]] = []

        async def counted() -> bool:
            stacks = await demo.browser.stacks()
            shown[:] = [
                one for one in stacks if one["awards"]["title"] == "Eldrehelse" and one["percent"] > found.percent
            ]
            return bool(shown)

        await demo.wait(counted, "the stack on the learner's page")
        by_recognition = [one for part in shown[0]["parts"] for one in part["counted"] if one["by_recognition"]]
        self._narrator.expect(
            len(by_recognition) == 1,
            f"the fagskole recognises it as one of the three electives:"
            f" on her page Eldrehelse is {shown[0]['percent']} %",
        )

    async def _publish(self, like: str, provider: str, title: str, **changes: Any) -> AchievementCase:
        """Publish an achievement like one of the data file's."""
        demo = self._demo
        message = credential_pb2.Achievement()
        message.CopyFrom(demo.cases.achievements[like].message)
        message.provider = demo.cases.providers[provider].message.id
        message.ClearField("title")
        language = {"NO": "nb", "SE": "sv"}[demo.cases.providers[provider].message.country]
        message.MergeFrom(
            credential_pb2.Achievement(title=[credential_pb2.LocalisedText(language=language, text=title)], **changes)
        )
        case = AchievementCase(title, provider, message, credential_pb2.RETENTION_CLASS_ERASABLE)
        await demo.publish_case(case)
        return case

    def _id(self, case: AchievementCase) -> str:
        return self._demo.published[case.key]

    async def _qualification(self, awards: AchievementCase, requirement: qualification_pb2.Requirement) -> None:
        registry = self._demo.actors.organisation(awards.message.provider).registry
        said = qualification_pb2.Qualification(
            id=self._demo.fresh_id(),
            version=1,
            provider=awards.message.provider,
            awards=qualification_pb2.AchievementVersion(id=self._id(awards), version=1),
            requirement=requirement,
        )
        await registry.PublishQualification(
            registry_pb2.PublishQualificationRequest(request_id=self._demo.fresh_id(), qualification=said)
        )

    async def _evaluate(
        self, awards: AchievementCase, held: list[stacking_pb2.StackedCredential]
    ) -> stacking_pb2.StackingAnswer:
        registry = self._demo.actors.organisation(awards.message.provider).registry
        answer = await registry.EvaluateStacking(stacking_pb2.EvaluateStackingRequest(credentials=held))
        return next(one for one in answer.answers if one.awards.id == self._id(awards))


def _held(issued: issuer_pb2.IssuedCredential) -> stacking_pb2.StackedCredential:
    return stacking_pb2.StackedCredential(
        reference=issued.id,
        achievement=qualification_pb2.AchievementVersion(id=issued.achievement_id, version=issued.achievement_version),
        awarded_on=f"{issued.issued_at.ToDatetime():%Y-%m-%d}",
        status=issued.status,
    )


def _one(key: str, achievement: str) -> qualification_pb2.Requirement:
    return qualification_pb2.Requirement(key=key, achievement=qualification_pb2.AchievementRange(id=achievement))


def _all_of(key: str, parts: list[qualification_pb2.Requirement]) -> qualification_pb2.Requirement:
    return qualification_pb2.Requirement(key=key, all_of=qualification_pb2.AllOf(requirements=parts))


def _n_of(key: str, count: int, parts: list[qualification_pb2.Requirement]) -> qualification_pb2.Requirement:
    return qualification_pb2.Requirement(key=key, n_of=qualification_pb2.NOf(count=count, requirements=parts))
