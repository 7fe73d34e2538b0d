"""The witness itself: one request after the other, each compared with what was cosigned last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.witness.memory import Memory, origin_hash
from vitne.clock import Clock
from vitne.merkle.cosignatures import Cosigner, cosign
from vitne.merkle.notes import NoteKey, keep_signatures
from vitne.merkle.succession import Lineage
from vitne.merkle.witnessing import AddCheckpoint, examine


class Witness:
    """Cosigns what follows from what it cosigned before.

    Args:
        cosigner: its key.
        logs: keys of the logs that it looks after; a log that rotates its key has several.
        memory: what it cosigned last.
        clock: dates cosignatures.
        statements: of succession, by which one of these keys follows another.

    Raises:
        InvalidArgument: a statement is none.
        DataLoss: ``LOG_FORKED``: two contradict each other.
    """

    def __init__(
        self,
        cosigner: Cosigner,
        logs: Sequence[NoteKey],
        memory: Memory,
        clock: Clock,
        statements: Sequence[str] = (),
    ) -> None:
        # What a statement leads to beyond the keys that were given is nothing that this witness looks after.
        self._lineage = Lineage.follow(logs, statements)
        self._cosigner = cosigner
        self._logs = logs
        self._memory = memory
        self._clock = clock
        # Comparing and replacing must not be parted by another request (tlog-witness, add-checkpoint).
        self._one_at_a_time = asyncio.Lock()

    async def add_checkpoint(self, body: bytes) -> str:
        """Answer a request with a signature line.

        Raises:
            VitneError: as :func:`~vitne.merkle.witnessing.examine`; ``STORAGE_UNAVAILABLE``.
        """
        request = AddCheckpoint.parse(body)
        origin = request.origin
        async with self._one_at_a_time:
            self._memory.last(origin)  # refuses a memory that is damaged
            checkpoint = examine(request, self._logs, self._memory.note(origin), self._lineage)
            note = keep_signatures(request.note, [key for key in self._logs if key.name == origin])
            line = cosign(note.partition("\n\n")[0] + "\n", self._cosigner, self._clock.now())
            await asyncio.to_thread(self._memory.replace, checkpoint.origin, note + line)
        return line

    def checkpoint(self, hashed: str) -> str | None:
        """The last cosigned checkpoint of a log, by the hash of its origin; None: there is none."""
        for key in self._logs:
            if origin_hash(key.name) == hashed:
                return self._memory.note(key.name)
        return None

    @property
    def logs(self) -> Sequence[NoteKey]:
        """The logs that it looks after."""
        return self._logs

    @property
    def key(self) -> str:
        """Its verifier key."""
        return self._cosigner.key.text
