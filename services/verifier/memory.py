"""Keeps what a verifier remembers of the log in a file, so that the log is held to it after a restart, too."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from services.verifier.evidence import Inclusions
from vitne.clock import Clock
from vitne.runtime.objects.folder import replace_file

#: What was seen in the seconds before a sudden end is not remembered.
SAVE_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


class KeptMemory:
    """Writes the file where there is something new.

    Args:
        file: the form of :class:`~vitne.inspection.log_memory.LogMemory`; ``vitne-audit --remember`` reads it, too.
        log: remembers.
        clock: waits between two looks.
    """

    def __init__(self, file: Path, log: Inclusions, clock: Clock) -> None:
        self._file = file
        self._log = log
        self._clock = clock
        self._kept = b""

    async def run(self) -> None:
        """Keep it until cancelled."""
        while True:
            await self._clock.sleep(SAVE_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        """Write what is new; what can't be written is told, and tried again: verifying goes on."""
        memory = self._log.memory.to_bytes()
        if memory == self._kept:
            return
        try:
            await asyncio.to_thread(replace_file, self._file, memory)
        except OSError as error:
            _log.error("what the log showed can't be remembered in %s: %s", self._file, error.strerror)
            return
        self._kept = memory
