"""Tells what it was given, as JSON; ends with what it is told, or never."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Final

#: The process that imported this.
IMPORTED_BY: Final = os.getpid()


def main(arguments: list[str]) -> int:
    """``tell CODE``, ``echo`` or ``wait``."""
    if arguments[0] == "echo":
        sys.stdout.write(sys.stdin.read())
        return 0
    own = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "imported_by": IMPORTED_BY,
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "parent": os.getppid(),
    }
    sys.stdout.write(f"{json.dumps(own)}\n")
    sys.stdout.flush()
    while arguments[0] == "wait":
        time.sleep(60)
    sys.stderr.write("this goes wrong\n")
    return int(arguments[1])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
