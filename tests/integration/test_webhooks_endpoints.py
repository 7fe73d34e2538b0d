"""What organisations do with their endpoints: only their own, each request once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from services.issuer.webhooks.endpoints import MAX_ENDPOINTS, WEBHOOK_KEY
from services.issuer.webhooks.settings import WebhookSettings
from tests.integration.issuer_harness import HUB, OTHER_HUB, refusal
from tests.integration.webhooks_world import Hooks, make_hooks, receiving, status
from tests.unit.accreditation_samples import UCL
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from vitne_api.issuer.v1 import webhooks_pb2

URL = "https://hooks.hub.example/vitne?token=abc"
ISSUED = webhooks_pb2.WEBHOOK_EVENT_KIND_HUB_ISSUED


@pytest.fixture
async def hooks(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Hooks]:
    async with make_hooks(postgres, tmp_path, clock) as made:
        yield made


async def test_an_endpoint_is_registered_once_and_shown_without_its_secret(hooks: Hooks, clock: ManualClock) -> None:
    request_id = str(uuid4())
    made = await hooks.register(URL, kinds=[ISSUED, ISSUED], request_id=request_id)
    assert made.secret.startswith("whsec_")
    assert await hooks.register(URL, kinds=[ISSUED, ISSUED], request_id=request_id) == made
    error = await refusal(hooks.register("https://other.hub.example/", request_id=request_id))
    assert isinstance(error, AlreadyExists)
    answer = await hooks.caller(HUB).ListWebhooks(webhooks_pb2.ListWebhooksRequest())
    (endpoint,) = answer.endpoints
    assert (endpoint.id, endpoint.url, list(endpoint.kinds)) == (made.endpoint_id, URL, [ISSUED])
    assert endpoint.state == webhooks_pb2.WEBHOOK_STATE_ACTIVE
    assert made.secret.encode() not in answer.SerializeToString()
    # What was replaced is not shown any more.
    await hooks.rotate(made.endpoint_id, now=True)
    assert (await hooks.register(URL, kinds=[ISSUED, ISSUED], request_id=request_id)).secret == ""


async def test_a_secret_is_rotated_once_a_request(hooks: Hooks) -> None:
    made = await hooks.register(URL)
    request_id = str(uuid4())
    first = await hooks.rotate(made.endpoint_id, request_id=request_id)
    assert await hooks.rotate(made.endpoint_id, request_id=request_id) == first
    assert await hooks.world.pool.fetchval("SELECT count(*) FROM webhook_secret") == 2
    assert isinstance(await refusal(hooks.rotate(made.endpoint_id, request_id=request_id, now=True)), AlreadyExists)


async def test_nobody_sees_or_touches_anothers_endpoint(hooks: Hooks, clock: ManualClock) -> None:
    async with receiving() as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register(receiver.url, OTHER_HUB)
        await hooks.register_learner()
        await hooks.issue()
        await hooks.pump()
        assert len(receiver.calls) == 1
        for call in (
            hooks.deliveries(made.endpoint_id, OTHER_HUB),
            hooks.rotate(made.endpoint_id, OTHER_HUB),
            hooks.replay(made.endpoint_id, OTHER_HUB),
            hooks.delete(made.endpoint_id, OTHER_HUB),
            hooks.delete(str(uuid4())),
        ):
            error = await refusal(call)
            assert isinstance(error, NotFound)
            assert error.reason == "WEBHOOK_UNKNOWN"
        (other,) = (await hooks.caller(OTHER_HUB).ListWebhooks(webhooks_pb2.ListWebhooksRequest())).endpoints
        assert other.id != made.endpoint_id
        # An event of another organisation's is no point to replay from.
        error = await refusal(hooks.replay(other.id, OTHER_HUB, event_id=receiver.calls[0].id))
        assert error.reason == "WEBHOOK_EVENT_UNKNOWN"
        assert await hooks.replay(other.id, OTHER_HUB, time=clock.now()) == 0


async def test_what_is_deleted_is_told_nothing_more(hooks: Hooks) -> None:
    async with receiving(status(500)) as receiver:
        made = await hooks.register(receiver.url, UCL)
        await hooks.issue()
        await hooks.pump()
        await hooks.issue()
        await hooks.delete(made.endpoint_id, UCL)
        await hooks.issue()
        await hooks.pump()
        assert len(receiver.calls) == 1
    assert not (await hooks.caller(UCL).ListWebhooks(webhooks_pb2.ListWebhooksRequest())).endpoints
    for table in ("webhook_secret", "webhook_lane", "webhook_delivery"):
        assert await hooks.world.pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_urls_that_are_not_posted_to(hooks: Hooks) -> None:
    for url, reason in (
        ("http://hooks.hub.example/", "WEBHOOK_URL_REFUSED"),
        ("https://169.254.169.254/latest/meta-data", "WEBHOOK_URL_REFUSED"),
        ("https://hooks.hub.example:6379/", "WEBHOOK_URL_REFUSED"),
        ("https://user:password@hooks.hub.example/", "BAD_URI"),
        ("hooks.hub.example", "BAD_URI"),
        ("https://hooks.hub.example/" + "a" * 2000, "TOO_LONG"),
        ("", "FIELD_REQUIRED"),
    ):
        error = await refusal(hooks.register(url))
        assert isinstance(error, InvalidArgument)
        assert (error.reason, error.field) == (reason, "url")
    assert not (await hooks.caller(HUB).ListWebhooks(webhooks_pb2.ListWebhooksRequest())).endpoints


async def test_kinds_are_named(hooks: Hooks) -> None:
    assert (await refusal(hooks.register(URL, kinds=[0]))).reason == "WEBHOOK_KIND_UNSPECIFIED"
    assert (await refusal(hooks.register(URL, kinds=[99]))).reason == "UNDEFINED_ENUM_VALUE"


async def test_there_is_an_end_to_endpoints(hooks: Hooks) -> None:
    made = [await hooks.register(URL) for _ in range(MAX_ENDPOINTS)]
    error = await refusal(hooks.register(URL))
    assert isinstance(error, ResourceExhausted)
    assert error.reason == "TOO_MANY_WEBHOOKS"
    await hooks.register(URL, OTHER_HUB)
    await hooks.delete(made[0].endpoint_id)
    await hooks.register(URL)


async def test_deliveries_are_paged_newest_first(hooks: Hooks) -> None:
    async with receiving() as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        for _ in range(5):
            await hooks.issue()
        await hooks.pump()
    pages, token = [], ""
    while True:
        answer = await hooks.caller(HUB).ListWebhookDeliveries(
            webhooks_pb2.ListWebhookDeliveriesRequest(endpoint_id=made.endpoint_id, page_size=2, page_token=token)
        )
        pages.append([delivery.event_id for delivery in answer.deliveries])
        token = answer.next_page_token
        if not token:
            break
    assert pages == [receiver.ids[:2:-1], receiver.ids[2:0:-1], receiver.ids[:1]]
    waiting = webhooks_pb2.WEBHOOK_DELIVERY_STATE_WAITING
    assert await hooks.deliveries(made.endpoint_id, state=waiting) == []
    for token in ("nonsense!", "AAAA", "__________8"):
        error = await refusal(hooks.deliveries(made.endpoint_id, page_token=token))
        assert error.reason == "BAD_PAGE_TOKEN"


async def test_the_key_file_is_needed_and_kept_to_oneself(hooks: Hooks, tmp_path: Path) -> None:
    path = tmp_path / WEBHOOK_KEY
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(FailedPrecondition) as caught:
        hooks.make()
    assert caught.value.reason == "SECRET_EXPOSED"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITNE_WEBHOOK_PORTS", "[443, 8443]")
    monkeypatch.setenv("VITNE_WEBHOOK_SCHEDULE_SCALE", "0.5")
    settings = WebhookSettings()
    assert settings.webhook_ports == (443, 8443)
    assert settings.webhook_schedule_scale == 0.5
    assert settings.webhook_retention.days == 30
