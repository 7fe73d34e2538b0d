"""A portal in its smallest form: read the hub's topic, fetch by handle.

Run it against `make up`, after `. .vitne/up/environment`:

    python docs/examples/subscribe.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from vitne.clock import SystemClock
from vitne.credentials import sd_jwt_vc
from vitne.dev.examples import run_example
from vitne.runtime.channel import open_channel
from vitne.runtime.identity import ClientKey, TokenSource
from vitne.runtime.settings import CommonSettings, load
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc

#: What is told of a topic that is not there.
NO_TOPIC = (
    "rule: vitne.hub.<hub>.v1, with a hyphen for the hub's colon, and a client that may read it (docs/events.md); "
    "remedy: . .vitne/up/environment, which names the demo's hub"
)


async def main() -> None:
    """Everything in the topic so far; a real subscriber goes on, and keeps its offset with its data."""
    topic = os.environ["VITNE_HUB_TOPIC"]
    # Without a group: all partitions, from their beginning.
    consumer = AIOKafkaConsumer(bootstrap_servers=os.environ["VITNE_KAFKA"], auto_offset_reset="earliest")
    handles: dict[str, None] = {}
    try:
        await consumer.start()
        # Looked up first: where it is missing, a subscription waits for it, or a cluster makes it.
        if topic not in await consumer.topics():
            sys.exit(f"{os.environ['VITNE_KAFKA']} shows no topic {topic} (VITNE_HUB_TOPIC); {NO_TOPIC}")
        consumer.subscribe([topic])
        while records := await consumer.getmany(timeout_ms=1000):
            for record in (record for batch in records.values() for record in batch):
                notice = events_pb2.HubCredentialNotice.FromString(record.value)
                if notice.notice == events_pb2.HUB_NOTICE_WITHDRAWN:
                    handles.pop(notice.handle, None)
                elif notice.notice != events_pb2.HUB_NOTICE_REGISTRATION_ENDED:  # nothing is held but credentials
                    handles[notice.handle] = None
    finally:
        await consumer.stop()
    print(f"{len(handles)} credentials are there to fetch")
    if not handles:
        return

    tokens = TokenSource(
        os.environ["VITNE_IDENTITY_URL"],
        ClientKey.read(os.environ["VITNE_HUB_CLIENT"], Path(os.environ["VITNE_HUB_KEY_FILE"])),
        ["vitne:hub.fetch"],
        SystemClock(),
        resource=os.environ["VITNE_AUDIENCE"],
        allow_http=True,
    )
    channel = open_channel(os.environ["VITNE_ISSUER"], tokens, tls=load(CommonSettings).channel_tls)
    issuer = issuer_pb2_grpc.IssuerServiceStub(channel)
    answer = await issuer.FetchCredentials(issuer_pb2.FetchCredentialsRequest(handles=list(handles)[:500]))
    for fetched in answer.credentials:
        credential = fetched.credential
        status = credential_pb2.Status.Name(credential.status).removeprefix("STATUS_").lower()
        title = sd_jwt_vc.parse(credential.artefact).credential.achievement.title[0].text
        print(f"{fetched.handle[:8]}…  {status:<10} {title}, from {credential.provider}")
    await channel.close()


run_example(main)
