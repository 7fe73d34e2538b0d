"""Public keys: who may enter which, from when to when they count, and their compromise."""

from __future__ import annotations

from typing import Final

from services.registry.desk import Desk
from vitne.accreditation import instant, timestamp
from vitne.canonical import canonical_bytes, instant_text
from vitne.credentials.jose import ED25519, ES256, parse_public_jwk
from vitne.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from vitne_api.registry.v1 import facts_pb2, registry_pb2

#: What each use is signed with: checkpoints are C2SP signed notes, credentials may have Data Integrity proofs, all else
#: is JWS.
_ALGORITHMS: Final = {
    facts_pb2.KEY_USE_CREDENTIAL: (ES256, ED25519),
    facts_pb2.KEY_USE_STATUS_LIST: (ES256,),
    facts_pb2.KEY_USE_CHECKPOINT: (ED25519,),
    facts_pb2.KEY_USE_TRUST_LIST: (ES256,),
    facts_pb2.KEY_USE_ACCREDITATION: (ES256,),
}


def register_key(desk: Desk, request: registry_pb2.RegisterKeyRequest) -> facts_pb2.Fact:
    """Enter a key of the caller's own.

    Providers enter keys for credentials, authorities keys for their accreditations; keys for
    status lists, checkpoints and the trust list are the operator's.

    Raises:
        PermissionDenied: ``FOREIGN_KEY``, ``NOT_AN_AUTHORITY``, ``NOT_THE_OPERATOR``.
        NotFound: ``PROVIDER_UNKNOWN``.
        FailedPrecondition: ``PROVIDER_CLOSED``.
        AlreadyExists: ``KEY_EXISTS``.
        InvalidArgument: ``BAD_JWK``, ``BAD_JSON``, ``PRIVATE_KEY_SENT``, ``KEY_TYPE_WRONG``,
            ``KEY_ID_CONTRADICTS``, ``DATES_CONTRADICT``.
    """
    asked = request.key
    if asked.owner != desk.caller:
        raise _foreign("key.owner")
    if asked.use == facts_pb2.KEY_USE_CREDENTIAL:
        desk.open_provider(asked.owner, field="key.owner")
    elif asked.use == facts_pb2.KEY_USE_ACCREDITATION:
        desk.authority()
    else:
        desk.require_operator("keys for status lists, checkpoints and the trust list are the operator's")
    public = parse_public_jwk(asked.public_jwk, field="key.public_jwk")
    algorithms = _ALGORITHMS.get(asked.use, ())
    if public.algorithm not in algorithms:
        raise InvalidArgument(
            "KEY_TYPE_WRONG",
            f"a key for {public.algorithm} does not serve {facts_pb2.KeyUse.Name(asked.use)}",
            field="key.public_jwk",
            rule="P-256 for credentials, accreditations, status lists and the trust list; Ed25519 for credentials and "
            "checkpoints",
            remedy=f"make a key for {' or '.join(algorithms)}",
        )
    if asked.id and asked.id != public.key_id:
        raise InvalidArgument(
            "KEY_ID_CONTRADICTS",
            "the id is not the key's thumbprint",
            field="key.id",
            rule="RFC 7638, SHA-256",
            remedy="leave it out: the registry computes it",
        )
    if desk.projection.key(public.key_id) is not None:
        raise AlreadyExists(
            "KEY_EXISTS",
            "this key is entered already",
            field="key.public_jwk",
            rule="a key has one owner and one use, for ever",
            remedy="make a new key",
        )
    key = facts_pb2.Key(
        id=public.key_id,
        revision=1,
        owner=asked.owner,
        use=asked.use,
        # Only the members that define it, in one spelling.
        public_jwk=canonical_bytes(public.jwk).decode(),
        valid_from=timestamp(instant(asked.valid_from)),
    )
    if asked.HasField("valid_until"):
        if instant(asked.valid_until) <= instant(asked.valid_from):
            raise InvalidArgument(
                "DATES_CONTRADICT",
                "the key stops counting before it starts",
                field="key.valid_until",
                rule="valid_until is after valid_from",
                remedy="correct the dates",
            )
        key.valid_until.CopyFrom(timestamp(instant(asked.valid_until)))
    return facts_pb2.Fact(subject=key.owner, key=key)


def retire_key(desk: Desk, request: registry_pb2.RetireKeyRequest) -> facts_pb2.Fact:
    """End a key's validity, or state its compromise; the owner's own.

    Raises:
        NotFound: ``KEY_UNKNOWN``.
        PermissionDenied: ``FOREIGN_KEY``.
        FailedPrecondition: ``KEY_ENDS_EARLIER``, ``COMPROMISE_STATED_EARLIER``.
        InvalidArgument: ``DATES_CONTRADICT``, ``RETIRED_BACKWARDS``.
    """
    known = desk.projection.key(request.key_id)
    if known is None:
        raise NotFound(
            "KEY_UNKNOWN",
            "no such key is entered",
            field="key_id",
            rule="a key is named by its RFC 7638 thumbprint",
            remedy="name a key that was registered",
        )
    if known.owner != desk.caller:
        raise _foreign("key_id")
    starts = instant(known.valid_from)
    ends = instant(request.valid_until) if request.HasField("valid_until") else max(desk.now, starts)
    already = instant(known.valid_until) if known.HasField("valid_until") else None
    if already is not None:
        if request.HasField("valid_until") and ends > already:
            raise FailedPrecondition(
                "KEY_ENDS_EARLIER",
                f"the key already stops counting at {instant_text(already)}",
                field="valid_until",
                rule="a key's end is never put off",
                remedy="register a new key",
            )
        ends = min(ends, already)
    if ends < starts:
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "the key would stop counting before it starts",
            field="valid_until",
            rule="valid_until is not before valid_from",
            remedy="name an instant not before " + instant_text(starts),
        )
    stated = [instant(key.compromised_from) for key in (known, request) if key.HasField("compromised_from")]
    if ends < desk.now and ends != already and not any(moment <= ends for moment in stated):
        raise InvalidArgument(
            "RETIRED_BACKWARDS",
            "the end is in the past: what was signed since would stop counting",
            field="valid_until",
            rule="only a compromise reaches back, and no further than its own instant",
            remedy="leave it out for now, or state compromised_from, not after it",
        )
    key = facts_pb2.Key()
    key.CopyFrom(known)
    key.revision += 1
    key.valid_until.CopyFrom(timestamp(ends))
    if request.HasField("compromised_from"):
        compromised = instant(request.compromised_from)
        if known.HasField("compromised_from") and compromised > instant(known.compromised_from):
            raise FailedPrecondition(
                "COMPROMISE_STATED_EARLIER",
                f"the key was said to be compromised from {instant_text(instant(known.compromised_from))}",
                field="compromised_from",
                rule="a compromise is never moved to a later instant",
                remedy="state an earlier instant, or leave it out",
            )
        if compromised > desk.now:
            raise InvalidArgument(
                "DATES_CONTRADICT",
                "a compromise is not foreseen",
                field="compromised_from",
                rule="compromised_from is not in the future",
                remedy="name the first instant at which the key may have been known to others",
            )
        key.compromised_from.CopyFrom(timestamp(compromised))
    return facts_pb2.Fact(subject=key.owner, key=key)


def _foreign(field: str) -> PermissionDenied:
    return PermissionDenied(
        "FOREIGN_KEY",
        "the key is another organisation's",
        field=field,
        rule="an organisation enters and retires keys of its own only",
        remedy="let the key's owner do it",
    )
