"""Remove the embedded stack's state, unless a stack is running on it; called by make, standard library only.

Usage: ``python3 tools/clean.py FOLDER``
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Remove ``folder``; stop with a plain reason where something still uses it."""
    for path in folder.glob("*/lock"):
        with path.open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SystemExit(f"clean: a stack is running in {path.parent}: end it first (Ctrl-C)") from None
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
