"""Remove the embedded stacks' state, and nothing else, unless one is running; called by make, standard library only.

Usage: ``python3 tools/clean.py FOLDER``
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Remove the stacks below ``folder``, and it too if nothing else is in it; stop where one still runs."""
    # A stack locks its folder by this file: what has none is not a stack's, whatever VITNE_HOME says.
    locks = list(folder.glob("*/lock"))
    for path in locks:
        with path.open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SystemExit(f"clean: a stack is running in {path.parent}: end it first (Ctrl-C)") from None
    for path in locks:
        shutil.rmtree(path.parent, ignore_errors=True)
    left = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if left:
        print(f"clean: what is no stack's stays in {folder}: {', '.join(left[:5])}")
    elif folder.is_dir():
        folder.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
