"""Signatures and bodies, checked by an implementation that is not ours."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.issuer.webhooks.payload import TYPES, UNKNOWN, body, credential_value, kind_of
from services.issuer.webhooks.signature import SECRET_BYTES, new_secret, secret_text, signed_headers
from vitne.messaging.event_types import HUB_NOTICE
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import webhooks_pb2

EVENT = UUID("01930f6e-7a00-7000-8000-00000000e001")
T0 = datetime(2026, 11, 21, 10, tzinfo=UTC)
NOTICE_VALUE = events_pb2.HubCredentialNotice(
    notice=events_pb2.HUB_NOTICE_ISSUED,
    handle="HkKRvnGZIndUFrvOE7u8E1r-qBMc4P0AjzJMVG_ksws",
    pseudonym="-c-IUoHAZEl23ATtghyOxtHKFCia6e-e_gcSMk-FoTk",
    kind="dk.micro_credential",
    provider="0184:30859480",
).SerializeToString()


def test_a_secret_is_written_as_receivers_read_it() -> None:
    secret = new_secret()
    assert len(secret) == SECRET_BYTES
    text = secret_text(secret)
    assert text.startswith("whsec_")
    assert b64decode(text.removeprefix("whsec_"), validate=True) == secret
    assert new_secret() != secret


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
def test_signatures_hold_for_any_secret_and_body(secret: bytes, text: str) -> None:
    payload = json.dumps({"text": text}).encode()
    headers = signed_headers(EVENT, datetime.now(UTC), payload, [secret])
    assert Webhook(secret_text(secret)).verify(payload, headers) == {"text": text}


def test_what_was_changed_does_not_hold() -> None:
    secret, now = new_secret(), datetime.now(UTC)
    receiver = Webhook(secret_text(secret))
    headers = signed_headers(EVENT, now, b'{"a":1}', [secret])
    wrongs: tuple[Callable[[], object], ...] = (
        lambda: receiver.verify(b'{"a":2}', headers),
        lambda: receiver.verify(b'{"a":1}', headers | {"webhook-id": str(UUID(int=EVENT.int + 1))}),
        lambda: receiver.verify(b'{"a":1}', headers | {"webhook-timestamp": str(int(now.timestamp()) - 1)}),
        lambda: Webhook(secret_text(new_secret())).verify(b'{"a":1}', headers),
        lambda: receiver.verify(b"{}", signed_headers(EVENT, now - timedelta(minutes=6), b"{}", [secret])),
    )
    for wrong in wrongs:
        with pytest.raises(WebhookVerificationError):
            wrong()


def test_while_a_secret_is_rotated_both_hold() -> None:
    secrets = [new_secret() for _ in range(3)]
    headers = signed_headers(EVENT, datetime.now(UTC), b"{}", secrets[:2])
    for secret in secrets[:2]:
        assert Webhook(secret_text(secret)).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(secrets[2])).verify(b"{}", headers)
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_a_hub_reads_what_its_topic_says_and_the_revision() -> None:
    kind = kind_of(HUB_NOTICE, NOTICE_VALUE)
    assert body(kind, T0 + timedelta(milliseconds=214), NOTICE_VALUE, 7) == (
        b'{"type":"hub.credential.issued","timestamp":"2026-11-21T10:00:00.214Z","data":{'
        b'"notice":"HUB_NOTICE_ISSUED","handle":"HkKRvnGZIndUFrvOE7u8E1r-qBMc4P0AjzJMVG_ksws",'
        b'"pseudonym":"-c-IUoHAZEl23ATtghyOxtHKFCia6e-e_gcSMk-FoTk","kind":"dk.micro_credential",'
        b'"provider":"0184:30859480","revision":7}}'
    )


def test_an_institution_reads_an_id_and_nothing_else() -> None:
    kind = kind_of("credential.status_changed", credential_value(EVENT))
    assert kind == webhooks_pb2.WEBHOOK_EVENT_KIND_CREDENTIAL_STATUS_CHANGED
    assert json.loads(body(kind, T0, credential_value(EVENT), None)) == {
        "type": "credential.status_changed",
        "timestamp": "2026-11-21T10:00:00Z",
        "data": {"credentialId": str(EVENT)},
    }


def test_every_kind_and_every_notice_has_a_type() -> None:
    assert set(TYPES) == set(webhooks_pb2.WebhookEventKind.values()) - {UNKNOWN}
    assert len(set(TYPES.values())) == len(TYPES)
    for number in events_pb2.HubNotice.values():
        value = events_pb2.HubCredentialNotice(notice=number).SerializeToString()
        assert (kind_of(HUB_NOTICE, value) == UNKNOWN) == (number == events_pb2.HUB_NOTICE_UNSPECIFIED)


@pytest.mark.parametrize(
    ("type_", "value"),
    [(HUB_NOTICE, b"\xff"), (HUB_NOTICE, b"\x08\x63"), ("vitne.hub.notice.v2", NOTICE_VALUE), ("", b"")],
)
def test_what_is_not_known_is_told_to_nobody(type_: str, value: bytes) -> None:
    assert kind_of(type_, value) == UNKNOWN
