"""The witness itself: one request after the other, each compared with what was cosigned last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from services.witness.memory import Memory, origin_hash
from vitne.canonical import instant_text
from vitne.clock import Clock
from vitne.errors import Aborted, InvalidArgument, Unavailable, VitneError
from vitne.merkle.cosignatures import Cosigner, cosign, cosignatures
from vitne.merkle.notes import NoteKey, keep_signatures
from vitne.merkle.succession import Lineage
from vitne.merkle.witnessing import AddCheckpoint, Inconsistent, examine

#: How far a clock is put back when it is kept right. A cosignature bears the time that was said last, meanwhile.
CORRECTED_BY: Final = timedelta(minutes=1)

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
#: No clock that is right says less.
_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)

_log = logging.getLogger(__name__)


class Witness:
    """Cosigns what follows from what it cosigned before.

    Its times never go back, since whoever has a cosignature believes that the log was there by then. Where its clock
    says much less than it said last, one of the two is wrong: it cosigns nothing until that is past, or its operator
    says which (docs/decisions/0049).

    Args:
        cosigner: its key.
        logs: keys of the logs that it looks after; a log that rotates its key has several.
        memory: what it cosigned last.
        clock: dates cosignatures.
        statements: of succession, by which one of these keys follows another.
        was_ahead: the times that it said last were of a clock that was ahead: it goes on from what the clock says now.

    Raises:
        InvalidArgument: a statement is none.
        DataLoss: ``LOG_FORKED``: two contradict each other; ``WITNESS_MEMORY_DAMAGED``.
        Unavailable: ``STORAGE_UNAVAILABLE``; ``CLOCK_UNSET``: from such a time nothing goes on.
    """

    def __init__(
        self,
        cosigner: Cosigner,
        logs: Sequence[NoteKey],
        memory: Memory,
        clock: Clock,
        statements: Sequence[str] = (),
        *,
        was_ahead: bool = False,
    ) -> None:
        # What a statement leads to beyond the keys that were given is nothing that this witness looks after.
        self._lineage = Lineage.follow(logs, statements)
        self._cosigner = cosigner
        self._logs = logs
        self._memory = memory
        self._clock = clock
        # Comparing and replacing must not be parted by another request (tlog-witness, add-checkpoint).
        self._one_at_a_time = asyncio.Lock()
        #: The latest time that it said, of whichever log.
        self._said = self._remembered()
        if was_ahead:
            self._go_on_from_now()

    async def add_checkpoint(self, body: bytes) -> str:
        """Answer a request with a signature line.

        Raises:
            VitneError: as :func:`~vitne.merkle.witnessing.examine`; ``STORAGE_UNAVAILABLE``.
            Unavailable: ``CLOCK_WENT_BACK``.
        """
        try:
            request = AddCheckpoint.parse(body)
            async with self._one_at_a_time:
                return await self._cosign(request)
        except VitneError as error:
            # What was signed, and does not follow, is what a witness is there for.
            level = logging.ERROR if isinstance(error, Inconsistent) else logging.WARNING
            _log.log(logging.INFO if isinstance(error, Aborted) else level, "nothing is cosigned: %s", error)
            raise

    async def _cosign(self, request: AddCheckpoint) -> str:
        origin = request.origin
        self._memory.last(origin)  # refuses a memory that is damaged
        checkpoint = examine(request, self._logs, self._memory.note(origin), self._lineage)
        note = keep_signatures(request.note, [key for key in self._logs if key.name == origin])
        self._said = self._time()
        line = cosign(note.partition("\n\n")[0] + "\n", self._cosigner, self._said)
        await asyncio.to_thread(self._remember, checkpoint.origin, note + line)
        _log.info("%s: %d leaves are cosigned", origin, checkpoint.size)
        return line

    def checkpoint(self, hashed: str) -> str | None:
        """The last cosigned checkpoint of a log, by the hash of its origin; None: there is none."""
        for key in self._logs:
            if origin_hash(key.name) == hashed:
                return self._memory.note(key.name)
        return None

    def _remember(self, origin: str, note: str) -> None:
        self._memory.say(self._said)
        self._memory.replace(origin, note)

    def _time(self) -> datetime:
        """Now; while the clock is being corrected, what was said last."""
        now = self._now()
        if self._said - now > CORRECTED_BY:
            raise Unavailable(
                "CLOCK_WENT_BACK",
                f"the clock says {now:%Y-%m-%dT%H:%M:%SZ}, and the last cosignature {self._said:%Y-%m-%dT%H:%M:%SZ}",
                rule="a witness's times never go back: a cosignature says by when the log was there",
                remedy="set the clock right; if it was ahead when that cosignature was made, and is right now, start "
                "the witness once with --clock-was-ahead",
            )
        return max(now, self._said)

    def _now(self) -> datetime:
        """What the clock says.

        Raises:
            Unavailable: ``CLOCK_UNSET``.
        """
        now = self._clock.now()
        if now < _SINCE:
            raise Unavailable(
                "CLOCK_UNSET",
                f"the clock says {now:%Y-%m-%dT%H:%M:%SZ}",
                rule="a cosignature's time is not zero (C2SP tlog-witness), and that of its making",
                remedy="set the clock",
            )
        return now

    def _remembered(self) -> datetime:
        """The latest time that it said.

        A release of before keeps no time but in its notes, and may have run since this one did. Notes are of all logs
        that it ever looked after.

        Raises:
            DataLoss: ``WITNESS_MEMORY_DAMAGED``.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        lifted = self._memory.lifted()
        times = [time for digest, time in self._times().items() if digest not in lifted]
        return max([self._memory.said() or _NEVER, *times])

    def _times(self) -> dict[str, datetime]:
        """The times in its notes, by the SHA-256 of each."""
        own, times = self._cosigner.key, {}
        for digest, note in self._memory.notes().items():
            with suppress(InvalidArgument):  # what is none is told once it is asked for
                times[digest] = cosignatures(note, [own]).get(own, _NEVER)
        return times

    def _go_on_from_now(self) -> None:
        """What its operator decides is remembered: notes keep the times of then, which count no longer."""
        now, said = self._now(), self._said
        if said <= now:
            return
        self._memory.lift(self._memory.notes(), now)
        self._said = now
        _log.error(
            "the clock was ahead, says the operator: from %s on, which is %s before what was said last",
            instant_text(now),
            said - now,
        )

    @property
    def logs(self) -> Sequence[NoteKey]:
        """The logs that it looks after."""
        return self._logs

    @property
    def key(self) -> str:
        """Its verifier key."""
        return self._cosigner.key.text
