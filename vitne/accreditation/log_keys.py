"""Which checkpoints the registry's facts make believable: the operator's keys, and what follows from them.

The registry says which keys count now. A key that counts no longer (its log ended, it was replaced, or others may
know it) still leads to those that followed it, and what it signed up to its end stands by *their* word: both signed
the statement of succession that names that end (docs/decisions/0021, 0032).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from vitne.accreditation.facts import key_counts_at
from vitne.accreditation.projection import Projection
from vitne.credentials.jose import ED25519, PublicKey, parse_public_jwk
from vitne.errors import VitneError
from vitne.merkle.notes import NoteKey
from vitne.merkle.policy import Policy
from vitne.merkle.succession import Lineage
from vitne_api.registry.v1 import facts_pb2


@dataclass(frozen=True, slots=True)
class RegisteredLog:
    """What the registry's facts say of a log and those that followed it.

    Attributes:
        policy: for their checkpoints; nobody need have cosigned them.
        vouchers: the thumbprint of the key that counts now by whose word each of the policy's keys does.
    """

    policy: Policy
    vouchers: Mapping[NoteKey, str]


@dataclass(frozen=True, slots=True)
class _Registered:
    """A key as it is registered, at an instant."""

    public: PublicKey
    counts: bool
    #: Others may know it: it leads on, and vouches for nothing.
    compromised: bool


def registered_log(
    projection: Projection, operator: str, origin: str, at: datetime, statements: Sequence[str]
) -> RegisteredLog:
    """What an operator's registered keys say of a log and of those that followed it.

    Args:
        projection: the registry's facts.
        operator: organisation whose keys for checkpoints they are.
        origin: of the first log, which each of these keys may have signed.
        at: which keys count at this instant.
        statements: of succession, in their order.

    Raises:
        VitneError: as :meth:`~vitne.merkle.succession.Lineage.follow`.
    """
    known = _registered_keys(projection, operator, at)
    lineage = Lineage.follow([NoteKey(origin, raw) for raw in known], statements)
    vouchers: dict[NoteKey, str] = {}
    for key in lineage.keys:
        voucher = _voucher(key, lineage, known)
        if voucher is not None:
            vouchers[key] = voucher.public.key_id
    retired = frozenset(key for key in vouchers if not known[key.public_key].counts)
    return RegisteredLog(Policy(tuple(vouchers), {}, {}, "none", {}, lineage, retired), vouchers)


def _registered_keys(projection: Projection, operator: str, at: datetime) -> dict[bytes, _Registered]:
    """All that were ever registered for checkpoints, by the key itself."""
    known = {}
    for key in projection.keys_of(operator, facts_pb2.KEY_USE_CHECKPOINT):
        try:
            public = parse_public_jwk(key.public_jwk)
        except VitneError:
            continue  # a key that can't be read verifies nothing
        if public.algorithm == ED25519:
            known[public.raw()] = _Registered(public, key_counts_at(key, at), key.HasField("compromised_from"))
    return known


def _voucher(key: NoteKey, lineage: Lineage, known: Mapping[bytes, _Registered]) -> _Registered | None:
    """The key that counts now and by whose word another does: itself, or the first that followed it and counts.

    Between the two are only keys that were given up in good order: one that others may know could be made to state
    another end of the one before it.
    """
    own = known.get(key.public_key)
    if own is None:
        return None  # it followed, and is nobody's whom the registry knows
    seen = {key}
    while not own.counts:
        following = lineage.followed.get(key)
        if following is None or following in seen:
            return None
        key = following
        seen.add(key)
        own = known.get(key.public_key)
        if own is None or (own.compromised and not own.counts):
            return None
    return own
