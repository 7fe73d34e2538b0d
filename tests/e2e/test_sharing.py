"""Sharing on the whole stack: a stranger reads what the verifier says, of a real credential, now. Wallets likewise."""

from __future__ import annotations

import json

import pytest

from services.portal.texts import TEXTS
from vitne.credentials import sd_jwt_vc
from vitne.credentials.elm import seal
from vitne.credentials.elmo import signature as elmo
from vitne.credentials.w3c import baking_png
from vitne.dev.demo import Demo, new_id, until
from vitne.dev.learner import LearnerBrowser, VisitorBrowser
from vitne.dev.stack import Stack
from vitne.dev.wallet import take
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2

VERDICTS = TEXTS["nb"]["verdicts"]


@pytest.mark.changes_something
async def test_a_share_is_checked_live_and_a_revocation_is_seen(world: Demo, stack: Stack) -> None:
    learner, case = world.others[5], world.cases.achievements["minikvalifikasjon"]
    institution = world.actors.organisation(world.cases.providers[case.provider].message.id)
    credential = await world.issue_when_known(learner, case)
    async with LearnerBrowser(stack.portal_url) as browser:
        await browser.log_in(learner.value)
        await browser.register()
        handles: list[str] = []

        async def fetched() -> bool:
            held = [one for one in await browser.credentials() if one["id"] == credential.id]
            handles[:] = [one["handle"] for one in held if one["state"] == "fetched"]
            return bool(handles)

        await until(fetched, "the credential in the portal", world.narrator)
        shared = await browser.share(handles, ["family_name"])
        async with VisitorBrowser(shared) as visitor:
            await visitor.open()

            async def valid() -> bool:  # its leaf is integrated within a second or two
                return f"<strong>{VERDICTS['valid']}</strong>" in await visitor.look()

            await until(valid, "a valid verdict", world.narrator)
            presented = sd_jwt_vc.parse(await visitor.credential())
            assert presented.credential.learner.family_name == learner.family_name
            assert presented.credential.learner.given_name is None
            await institution.issuer.ChangeStatus(
                issuer_pb2.ChangeStatusRequest(
                    request_id=new_id(),
                    credential_id=credential.id,
                    change=ledger_pb2.STATUS_CHANGE_REVOKE,
                    reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
                )
            )

            async def revoked() -> bool:
                return f"<strong>{VERDICTS['revoked']}</strong>" in await visitor.look()

            await until(revoked, "the revocation on the shared page", world.narrator)
        assert (await browser.document(shared)).startswith(b"%PDF-")


async def test_a_learner_downloads_what_the_issuer_signed(world: Demo, stack: Stack) -> None:
    async with LearnerBrowser(stack.portal_url) as browser:
        await browser.log_in(world.learner.value)
        handle = next(one["handle"] for one in await browser.credentials() if one["status"] == "valid")
        assert sd_jwt_vc.parse((await browser.file(handle, "sd-jwt")).decode()).credential.learner.family_name
        assert seal.parse((await browser.file(handle, "edc")).decode()).credential()
        assert elmo.parse_signed(await browser.file(handle, "elmo")).document.digest
        badge = json.loads(baking_png.extract(await browser.file(handle, "badge")))
    assert "OpenBadgeCredential" in badge["type"]


@pytest.mark.changes_something
async def test_a_wallet_takes_what_its_provider_offers_and_nothing_else(world: Demo, stack: Stack) -> None:
    # Of institutions that are accredited still: at the demonstration's end all that UCL issued is revoked.
    learner, cases = world.others[7], world.cases.achievements
    offered = await world.issue_when_known(learner, cases["minikvalifikasjon"])
    not_offered = await world.issue_when_known(learner, cases["eldrehelse-modul"])
    async with LearnerBrowser(stack.portal_url) as browser:
        await browser.log_in(learner.value)
        await browser.register()
        handles: dict[str, str] = {}

        async def fetched() -> bool:
            held = await browser.credentials()
            handles.update({one["id"]: one["handle"] for one in held if one["status"] == "valid"})
            return {offered.id, not_offered.id} <= set(handles)

        await until(fetched, "the credentials in the portal", world.narrator)
        offer = await browser.offer_to_wallet(handles[offered.id])
        assert offer is not None
        assert await browser.offer_to_wallet(handles[not_offered.id]) is None
    assert await take(offer) == offered.artefact
