"""What a record of a hub's topic says, checked (``docs/events.md``)."""

from __future__ import annotations

from typing import Final

from vitne.canonical import from_b64url
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.messaging.event_types import HUB_NOTICE
from vitne.messaging.headers import Message
from vitne_api.events.v1 import events_pb2

#: ``ce_source`` of everything in a hub's topic.
ISSUER_SOURCE: Final = "/vitne/issuer"
#: Bytes of a pseudonym or handle.
DIGEST_BYTES: Final = 32
#: What each notice that is known here is about, beside the learner.
_ABOUT: Final = {
    events_pb2.HUB_NOTICE_ISSUED: ("handle", "provider"),
    events_pb2.HUB_NOTICE_STATUS_CHANGED: ("handle", "provider"),
    events_pb2.HUB_NOTICE_WITHDRAWN: ("handle",),
    events_pb2.HUB_NOTICE_REGISTRATION_ENDED: (),
}


def read_notice(message: Message) -> events_pb2.HubCredentialNotice:
    """The notice that a record carries.

    Raises:
        InvalidArgument: ``UNKNOWN_EVENT``, ``UNKNOWN_NOTICE``, ``BAD_NOTICE``, ``BAD_BASE64URL``,
            ``BAD_ORGANISATION``: it can't be handled, however often it is tried.
    """
    if message.type != HUB_NOTICE:
        raise InvalidArgument("UNKNOWN_EVENT", f"{message.type} does not belong in a hub's topic", field="ce_type")
    notice = events_pb2.HubCredentialNotice.FromString(message.value)
    about = _ABOUT.get(notice.notice)
    if about is None:
        raise InvalidArgument("UNKNOWN_NOTICE", f"notice {notice.notice} is not known here", field="notice")
    for name in ("pseudonym", *(field for field in about if field == "handle")):
        if len(from_b64url(getattr(notice, name), field=name)) != DIGEST_BYTES:
            raise bad_notice(name, f"not {DIGEST_BYTES} bytes")
    if notice.pseudonym != message.key:
        raise bad_notice("pseudonym", "not the record's key")
    if "provider" in about:
        OrganisationId.parse(notice.provider, field="provider")
    return notice


def bad_notice(field: str, what: str) -> InvalidArgument:
    """The refusal of a notice that contradicts itself, or what is known."""
    return InvalidArgument("BAD_NOTICE", f"the notice's {field} is {what}", field=field, rule="docs/events.md: hubs")
