"""An institution from end to end: publish an achievement, issue a credential for it, suspend and reinstate it.

Run it against `make up`, after `. .vitne/up/environment`:

    python docs/examples/issue.py
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

from vitne.clock import SystemClock
from vitne.dev.cases import synthetic_learners
from vitne.dev.examples import run_example
from vitne.identifiers import UuidFactory
from vitne.runtime.channel import open_channel
from vitne.runtime.identity import ClientKey, TokenSource
from vitne.runtime.settings import CommonSettings, load
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import registry_pb2, registry_pb2_grpc

clock = SystemClock()
new_id = UuidFactory(clock)

CREDENTIAL_FILE = Path(os.environ.get("CREDENTIAL_FILE", "credential.sd-jwt"))


async def main() -> str:
    """Everything that an institution does, in the order in which it does it; answers the credential."""
    tokens = TokenSource(
        os.environ["VITNE_IDENTITY_URL"],
        ClientKey.read(os.environ["VITNE_PROVIDER_CLIENT"], Path(os.environ["VITNE_PROVIDER_KEY_FILE"])),
        ["vitne:credentials.issue", "vitne:credentials.status", "vitne:registry.achievements"],
        clock,
        resource=os.environ["VITNE_AUDIENCE"],
        allow_http=True,  # The development issuer is on loopback; Maskinporten is not.
    )
    tls = load(CommonSettings).channel_tls  # VITNE_CHANNEL_…; plain text where they are not set
    registry_channel = open_channel(os.environ["VITNE_REGISTRY"], tokens, tls=tls)
    issuer_channel = open_channel(os.environ["VITNE_ISSUER"], tokens, tls=tls)
    registry = registry_pb2_grpc.RegistryServiceStub(registry_channel)
    issuer = issuer_pb2_grpc.IssuerServiceStub(issuer_channel)

    achievement = credential_pb2.Achievement(
        id=str(new_id()),
        version=1,
        provider=os.environ["VITNE_PROVIDER"],
        kind="no.micro_credential",
        title=[credential_pb2.LocalisedText(language="nb", text="Åpne data i praksis")],
        outcomes=[
            credential_pb2.LearningOutcome(
                category="skills",
                text=[credential_pb2.LocalisedText(language="nb", text="Kan publisere et datasett.")],
            )
        ],
        workload=credential_pb2.Workload(unit="ects", points="2.5"),
        level=credential_pb2.Level(framework="no.nkr", level="7"),
        assessment=credential_pb2.ASSESSMENT_TYPE_PROJECT,
        participation=credential_pb2.PARTICIPATION_FORM_ONLINE,
        quality_assurance=credential_pb2.QualityAssurance(
            internal=[credential_pb2.LocalisedText(language="nb", text="Universitetets kvalitetssystem.")]
        ),
    )
    published = await registry.PublishAchievement(
        registry_pb2.PublishAchievementRequest(request_id=str(new_id()), achievement=achievement)
    )
    print(
        f"published  {published.fact.achievement.title[0].text}, registry revision {published.fact.registry_revision}"
    )
    print(f"achievement {achievement.id}, version {achievement.version}")
    await asyncio.sleep(1)  # The issuer hears of it from the registry's events.

    issued = await issuer.Issue(
        issuer_pb2.IssueRequest(
            request_id=str(new_id()),  # Sent again after a lost answer, it is answered with the same credential.
            issuance=issuer_pb2.Issuance(
                learner=synthetic_learners(1)[0],
                achievement_id=achievement.id,
                achievement_version=1,
                awarded_on=datetime.now(UTC).date().isoformat(),
                retention=credential_pb2.RETENTION_CLASS_ARCHIVE,
            ),
        )
    )
    credential: issuer_pb2.IssuedCredential = issued.credential
    print(f"issued     {credential.id}, by rule {credential.decision.rule}")

    for change, reason in (
        (ledger_pb2.STATUS_CHANGE_SUSPEND, ledger_pb2.STATUS_REASON_UNDER_REVIEW),
        (ledger_pb2.STATUS_CHANGE_REINSTATE, ledger_pb2.STATUS_REASON_REVIEW_ENDED),
    ):
        changed = await issuer.ChangeStatus(
            issuer_pb2.ChangeStatusRequest(
                request_id=str(new_id()), credential_id=credential.id, change=change, reason=reason
            )
        )
        print(f"now        {credential_pb2.Status.Name(changed.status).removeprefix('STATUS_').lower()}")

    await registry_channel.close()
    await issuer_channel.close()
    return credential.artefact


CREDENTIAL_FILE.write_text(run_example(main))
