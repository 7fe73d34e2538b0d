"""Which keys sign a log's checkpoint: its own, and for a while the one before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

from vitne.errors import InvalidArgument, Unavailable
from vitne.merkle.notes import Checkpoint, NoteSigner, open_note, sign_checkpoint

#: What signs for a log of an origin with the key of a number; raises ``Unavailable`` where that key is not here.
Signers: TypeAlias = Callable[[str, int], NoteSigner]


def sign_tree(signers: Signers, log: Any, size: int, root: bytes, now: datetime) -> str:
    """The signed checkpoint of a tree.

    Args:
        signers: has the keys.
        log: the row of ``log``: its ``origin``, ``key_number`` and ``former_until``.
        size: of the tree.
        root: of the tree, 32 bytes.
        now: which keys sign at this instant.

    Raises:
        Unavailable: ``LOG_KEY_MISSING``.
    """
    origin, number, until = log["origin"], log["key_number"], log["former_until"]
    signing = [signers(origin, number)]
    if until is not None and now < until:
        signing.append(signers(origin, number - 1))
    return sign_checkpoint(Checkpoint(origin, size, root), *signing)


def require_key(signer: NoteSigner, note: str) -> None:
    """A log's key changes by a statement of succession only: whoever remembers the log would refuse it else.

    Args:
        signer: by the number that the log says signs.
        note: the log's checkpoint; empty: it has none yet.

    Raises:
        Unavailable: ``LOG_KEY_CHANGED``.
    """
    if not note:
        return
    try:
        open_note(note, [signer.key])
    except InvalidArgument as error:
        raise Unavailable(
            "LOG_KEY_CHANGED",
            "the key in custody is not the one that signed the log's checkpoint",
            rule="a key is replaced by a statement that both sign (docs/decisions/0021)",
            remedy="give the log its key back; to replace it, run rotate-key while both are in custody",
        ) from error
