"""Is its issuance in the append-only log, under a checkpoint that the operator signed?

A leaf is integrated within a second or two. For :data:`GRACE` after issuance its
absence is only noted. Later it is *not determinable*, since absence can't be
proved to us: a log that lags or hides a leaf must not make a true credential
false, nor may anything unlogged be called valid. Where the issuer's key may be
known to others, what is not in the log is invalid: the log alone tells a
credential of before from one that was dated back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from services.verifier.checks.names import FAILED, LOG_INCLUSION, NOT_DETERMINABLE, NOTE, PASSED, Check, told
from vitne.canonical import from_b64url
from vitne.credentials.artefact import sd_jwt_digest
from vitne.credentials.jose import ED25519, PublicKey
from vitne.credentials.sd_jwt_vc import Presentation
from vitne.errors import InvalidArgument, NotFound, VitneError
from vitne.merkle.leaves import Issued
from vitne.merkle.notes import Checkpoint, NoteKey, open_checkpoint
from vitne.merkle.proofs import verify_inclusion
from vitne_api.ledger.v1 import ledger_pb2

#: How long after issuance a leaf may still be on its way.
GRACE: Final = timedelta(minutes=1)


def leaf_of(presentation: Presentation) -> bytes:
    """The leaf hash by which the log knows an issuance; whatever is disclosed, it is the same."""
    return Issued(from_b64url(sd_jwt_digest(presentation.sd_jwt.issuer_signed))).leaf_hash()


def check_log_inclusion(
    presentation: Presentation,
    found: ledger_pb2.GetInclusionProofResponse | VitneError,
    checkpoint_keys: Iterable[PublicKey],
    now: datetime,
    *,
    compromised: bool,
) -> Check:
    """Verify the proof against the signed checkpoint that came with it."""
    leaf = leaf_of(presentation)
    evidence = f"leaf {leaf.hex()}"
    if isinstance(found, NotFound):
        return _absent(presentation.credential.issued_at, now, evidence, compromised=compromised)
    if isinstance(found, VitneError):
        return Check(LOG_INCLUSION, NOT_DETERMINABLE, f"the log gave no proof: {told(found)}", evidence)
    try:
        checkpoint = _open(found.checkpoint, checkpoint_keys)
        if checkpoint.size != found.tree_size:
            raise InvalidArgument("BAD_INCLUSION_PROOF", "the proof is for another tree than the checkpoint's")
        verify_inclusion(
            leaf=leaf,
            index=found.leaf_index,
            size=checkpoint.size,
            path=list(found.path),
            root=checkpoint.root,
        )
    except VitneError as error:
        return Check(LOG_INCLUSION, NOT_DETERMINABLE, f"the log's proof does not hold: {told(error)}", evidence)
    where = f"{checkpoint.origin}, {checkpoint.size} leaves, root {checkpoint.root.hex()}"
    return Check(LOG_INCLUSION, PASSED, f"its issuance is leaf {found.leaf_index} of the log", where)


def _absent(issued: datetime, now: datetime, evidence: str, *, compromised: bool) -> Check:
    if compromised:
        detail = "its issuance is not in the log, and others may know the key: it may have been dated back"
        return Check(LOG_INCLUSION, FAILED, detail, evidence)
    if now - issued <= GRACE:
        return Check(LOG_INCLUSION, NOTE, "its issuance is not in the log yet: it is less than a minute old", evidence)
    return Check(LOG_INCLUSION, NOT_DETERMINABLE, "its issuance is not in the log, where it should be by now", evidence)


def _open(note: str, keys: Iterable[PublicKey]) -> Checkpoint:
    """Open a checkpoint by whichever of the operator's keys signed it; a log's name is its key's (tlog-checkpoint)."""
    origin, _, _ = note.partition("\n")
    refusal: VitneError = InvalidArgument("CHECKPOINT_KEY_UNKNOWN", "the registry knows no key for checkpoints")
    for key in keys:
        if key.algorithm == ED25519:
            try:
                return open_checkpoint(note, NoteKey(origin, key.raw()))
            except VitneError as error:
                refusal = error
    raise refusal
