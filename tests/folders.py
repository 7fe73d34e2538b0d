"""Where tests keep what servers write: in memory, where there is room, since much of it is thousands of small files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

#: Linux's file system in memory.
MEMORY: Final = Path("/dev/shm")
#: What has to be free there, and of memory: many times what the servers of all tests that run at once write.
ROOM_BYTES: Final = 8 * 1024**3


def server_folder(prefix: str) -> Path:
    """A new folder. What is killed leaves there what it wrote; nobody crashes this machine."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if _has_room() else None))


def _has_room() -> bool:
    try:
        (available,) = re.findall(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        room = min(int(available) * 1024, shutil.disk_usage(MEMORY).free)
        return os.access(MEMORY, os.W_OK) and room >= ROOM_BYTES
    except (OSError, ValueError):  # another system
        return False
