"""Bodies: ``type``, ``timestamp`` and ``data`` (Standard Webhooks 1.0.0, "Payload structure").

An event's body is made from what is stored, each time anew, and always of the same bytes.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from vitne.canonical import instant_text
from vitne.messaging.event_types import HUB_NOTICE
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks

#: What an event tells of.
Kind: TypeAlias = webhooks.WebhookEventKind.ValueType

#: Kind of a row whose message this release does not know: it is kept, and told to nobody.
UNKNOWN: Final = webhooks.WEBHOOK_EVENT_KIND_UNSPECIFIED
#: ``type`` of the body for each kind.
TYPES: Final[dict[Kind, str]] = {
    webhooks.WEBHOOK_EVENT_KIND_HUB_ISSUED: "hub.credential.issued",
    webhooks.WEBHOOK_EVENT_KIND_HUB_STATUS_CHANGED: "hub.credential.status_changed",
    webhooks.WEBHOOK_EVENT_KIND_HUB_WITHDRAWN: "hub.credential.withdrawn",
    webhooks.WEBHOOK_EVENT_KIND_HUB_REGISTRATION_ENDED: "hub.registration.ended",
    webhooks.WEBHOOK_EVENT_KIND_CREDENTIAL_ISSUED: "credential.issued",
    webhooks.WEBHOOK_EVENT_KIND_CREDENTIAL_STATUS_CHANGED: "credential.status_changed",
}
_OF_TYPE: Final = {type_: kind for kind, type_ in TYPES.items()}
_OF_NOTICE: Final = {
    events_pb2.HUB_NOTICE_ISSUED: webhooks.WEBHOOK_EVENT_KIND_HUB_ISSUED,
    events_pb2.HUB_NOTICE_STATUS_CHANGED: webhooks.WEBHOOK_EVENT_KIND_HUB_STATUS_CHANGED,
    events_pb2.HUB_NOTICE_WITHDRAWN: webhooks.WEBHOOK_EVENT_KIND_HUB_WITHDRAWN,
    events_pb2.HUB_NOTICE_REGISTRATION_ENDED: webhooks.WEBHOOK_EVENT_KIND_HUB_REGISTRATION_ENDED,
}


def credential_value(credential: UUID) -> bytes:
    """What a row about an institution's credential stores as its value."""
    return webhooks.CredentialWebhook(credential_id=str(credential)).SerializeToString()


def kind_of(type_: str, value: bytes) -> Kind:
    """What a stored row tells of; :data:`UNKNOWN` where this release can't read it."""
    if type_ != HUB_NOTICE:
        return _OF_TYPE.get(type_, UNKNOWN)
    try:
        return _OF_NOTICE.get(events_pb2.HubCredentialNotice.FromString(value).notice, UNKNOWN)
    except DecodeError:
        return UNKNOWN


def body(kind: Kind, time: datetime, value: bytes, revision: int | None) -> bytes:
    """The body of an event.

    Args:
        kind: what it tells of.
        time: when it happened.
        value: the message that its row stores.
        revision: of a hub's notice.
    """
    data: Message
    if revision is None:
        data = webhooks.CredentialWebhook.FromString(value)
    else:
        notice = events_pb2.HubCredentialNotice.FromString(value)
        data = webhooks.HubCredentialWebhook(
            notice=notice.notice,
            handle=notice.handle,
            pseudonym=notice.pseudonym,
            kind=notice.kind,
            provider=notice.provider,
            revision=revision,
        )
    envelope = {
        "type": TYPES[kind],
        "timestamp": instant_text(time),
        "data": MessageToDict(data, always_print_fields_with_no_presence=True),
    }
    return json.dumps(envelope, separators=(",", ":")).encode("ascii")
